/** Reports gossip keys that do not match. */
import type { Turn } from "../state/turn.ts";
import { codes, keyReasons } from "../rules/gossip_keys.ts";

/** Updates the reports; also on a serving node, because a new node with another key contacts it. */
export function reportKeys(turn: Turn): void {
  const { gossip: { gossipKeys }, reports: { waitingFor } } = turn.node;
  // The sender of a packet may be forged: packets alone do not raise a report.
  const mismatches = gossipKeys.mismatches.filter(({ evidence }) => evidence !== "packet");
  const reasons = keyReasons({ ...gossipKeys, mismatches });
  for (const code of Object.values(codes)) {
    const reason = reasons.find((each) => each.code === code);
    if (reason === undefined) turn.resolve(code);
    else if (waitingFor?.code !== code) turn.report("warn", reason);
  }
}
