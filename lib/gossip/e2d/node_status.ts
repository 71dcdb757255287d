/** The state of a node in the bootstrap protocol of the Go original: 0, 1, 2 on the wire. */
export const nodeStatuses = ["unknown", "pending", "running"] as const;
export type NodeStatus = typeof nodeStatuses[number];

/** An unassigned number counts as `unknown`. */
export function nodeStatusFromNumber(value: bigint): NodeStatus {
  return nodeStatuses[Number(value)] ?? "unknown";
}
