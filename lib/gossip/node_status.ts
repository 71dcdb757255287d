/** Where a node is in the founding protocol of the original: 0, 1, 2 on the wire. */
export const nodeStatuses = ["unknown", "pending", "running"] as const;
export type NodeStatus = typeof nodeStatuses[number];

/** A number nobody has given a meaning is as good as no status. */
export function nodeStatusFromNumber(value: bigint): NodeStatus {
  return nodeStatuses[Number(value)] ?? "unknown";
}
