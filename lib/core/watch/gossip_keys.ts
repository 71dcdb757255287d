/** Reports gossip keys that do not fit. */
import type { Turn } from "../state/turn.ts";
import { codes, keyReasons } from "../rules/gossip_keys.ts";

/** Keeps the standing problems in step, of a node that serves, too: a newcomer with another key knocks at it. */
export function reportKeys(turn: Turn): void {
  const { gossip: { gossipKeys }, reports: { waitingFor } } = turn.node;
  // Anybody can send a packet in anybody's name: that alone is no reason to wake an operator.
  const mismatches = gossipKeys.mismatches.filter(({ evidence }) => evidence !== "packet");
  const reasons = keyReasons({ ...gossipKeys, mismatches });
  for (const code of Object.values(codes)) {
    const reason = reasons.find((each) => each.code === code);
    if (reason === undefined) turn.resolve(code);
    else if (waitingFor?.code !== code) turn.report("warn", reason);
  }
}
