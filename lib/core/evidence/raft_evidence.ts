/**
 * Whether the leader's raft hears a member: the evidence that neither gossip nor the client port can give. A member whose
 * gossip and client ports are blocked while raft works replicates and votes, and must not be removed.
 *
 * Source: `etcd_network_peer_received_bytes_total{From}` in the leader's /metrics (rafthttp/stream.go and http.go, the
 * same from etcd 3.4 to 3.7). A follower answers the leader's heartbeats ten times a second, so the counter of a member
 * whose raft works grows each second; heartbeats of the connection alone carry no member id and do not count. The gauge
 * `etcd_network_active_peers` cannot be used: measured with etcd 3.5 to 3.7, it stays 1 for minutes after a process
 * was stopped (SIGSTOP) and its machine would have been gone. A leader whose metrics cannot be read leaves the fact
 * unknown, and then the other evidence decides alone.
 */
import { withoutUndefined } from "../../without_undefined.ts";
import type { View } from "../facts/view.ts";
import type { EtcdAnswer, RaftFacts, RaftProbe } from "../facts/cluster.ts";

export type RaftContact =
  /** Raft messages of that member arrive. */
  | "active"
  /** None arrived while the leader's metrics were read for long enough. */
  | "inactive"
  /** The present leader's metrics were not read long enough yet: a removal waits. */
  | "unasked"
  /** They were asked for and could not be read. */
  | "unreadable";

/** An older reading says nothing about now, nor is a counter compared with one from before. */
export const raftFreshMs = 5_000;
/** Many heartbeats: a member that is heard no more for so long is silent. */
const silentMs = 2_000;

/** With one more reading. */
export function withReading(before: RaftFacts | undefined, probe: RaftProbe, atMs: number): RaftFacts {
  if (probe.kind === "unreachable") return { kind: "unreadable", atMs };
  const same = before?.kind === "read" && before.memberId === probe.memberId && atMs - before.atMs <= raftFreshMs
    ? before
    : undefined;
  const members = new Map(probe.peers.map(({ memberId, receivedBytes }) => {
    const known = same?.members.get(memberId);
    const grew = known !== undefined && receivedBytes > known.receivedBytes;
    const heardAtMs = grew ? atMs : known?.heardAtMs;
    return [memberId, { receivedBytes, ...withoutUndefined({ heardAtMs }) }];
  }));
  return { kind: "read", memberId: probe.memberId, sinceMs: same?.sinceMs ?? atMs, atMs, members };
}

/** `cluster` is an answer of the cluster that knows its leader. */
export function raftContact(memberId: string, cluster: EtcdAnswer, { raft, nowMs }: View): RaftContact {
  if (raft === undefined || nowMs - raft.atMs > raftFreshMs) return "unasked";
  if (raft.kind === "unreadable") return "unreadable";
  if (raft.memberId !== cluster.leaderId) return "unasked";
  const heardAtMs = raft.members.get(memberId)?.heardAtMs;
  if (heardAtMs !== undefined && raft.atMs - heardAtMs < silentMs) return "active";
  // It was heard before the last two seconds, if ever, and never before the first reading.
  return raft.atMs - raft.sinceMs >= silentMs ? "inactive" : "unasked";
}
