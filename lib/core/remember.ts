/** What a node has seen run outlives its process: `NodeRecord.seen`. */
import type { Turn } from "./turn.ts";

/** Writes down the last cluster that was seen with a quorum, when the record knows another one or other voters. */
export function rememberCluster(turn: Turn): void {
  const { lastCluster, record, settings } = turn.node;
  if (lastCluster === undefined) return;
  const { clusterId, voters } = lastCluster;
  const known = record.seen?.clusterId === clusterId;
  const newCluster = known ? record.seen?.newCluster : settings.newCluster;
  const seen = { clusterId, voters, ...(newCluster === undefined ? {} : { newCluster }) };
  if (known && JSON.stringify(record.seen?.voters) === JSON.stringify(voters)) return;
  turn.ask("local", { kind: "writeRecord", record: { ...record, seen } });
}
