/** Reports another life that saves to the same store. */
import type { Turn } from "../state/turn.ts";
import type { SnapshotLookup } from "../facts/snapshot_lookup.ts";
import { ownLineage } from "../evidence/lineage.ts";
import { otherLife } from "../evidence/two_lives.ts";

/** Called with the result of each lookup; a store that cannot be read changes nothing. */
export function reportOtherLife(turn: Turn, lookup: SnapshotLookup): void {
  const { node, now } = turn;
  const own = ownLineage(node.disk);
  if (own === undefined || lookup.kind !== "newest") return;
  const reason = otherLife(own, lookup, now.wallMs);
  if (reason === undefined) turn.resolve("two_lives_saved");
  // The cluster serves as before: a restore drill elsewhere must not take it out of a load balancer.
  else turn.report("error", reason, { keepsReady: true });
}
