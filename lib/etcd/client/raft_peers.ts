/**
 * Reads from etcd's metrics how many bytes its raft has received from each other member
 * (`etcd_network_peer_received_bytes_total`, the same in etcd 3.4 to 3.7). lib/core/evidence/raft_evidence.ts evaluates
 * it.
 */
import { describeError, E2dError } from "../../errors.ts";
import type { RaftReceipts } from "../../facts/etcd.ts";
import type { Http } from "../../ports.ts";

/** etcd's metrics have some 100 KB. */
const metricsMaxChars = 8_000_000;
/** Names this member and every member that it was ever connected to. */
const connection = /^etcd_network_active_peers\{Local="([0-9a-f]+)",Remote="([0-9a-f]+)"\} /gm;
const received = /^etcd_network_peer_received_bytes_total\{From="([0-9a-f]+)"\} ([0-9.e+]+)$/gm;

/** Undefined when the text names no connection: a single member, or not etcd's metrics. */
export function readRaftPeers(text: string): RaftReceipts | undefined {
  const locals = new Set<string>();
  const bytes = new Map<string, number>();
  for (const [, local, remote] of text.matchAll(connection)) {
    locals.add(local!);
    bytes.set(remote!, 0);
  }
  const [memberId] = locals;
  if (memberId === undefined || locals.size > 1) return undefined;
  for (const [, from, value] of text.matchAll(received)) if (bytes.has(from!)) bytes.set(from!, Number(value));
  return { memberId, peers: [...bytes].map(([id, receivedBytes]) => ({ memberId: id, receivedBytes })) };
}

/** `http` presents the client certificate that etcd requires. Throws E2dError `etcd_metrics`. */
export async function fetchRaftPeers(endpoint: string, http: Http, signal: AbortSignal): Promise<RaftReceipts> {
  const refuse = (state: string, cause?: unknown) =>
    new E2dError("etcd_metrics", `Cannot read the metrics of etcd "${endpoint}": ${state}`, { cause });
  let text: string;
  try {
    const response = await http(`${endpoint}/metrics`, { signal });
    text = await response.text();
    if (!response.ok) throw refuse(`it answers ${response.status}`);
  } catch (cause) {
    if (cause instanceof E2dError) throw cause;
    throw refuse(describeError(cause), cause);
  }
  const peers = text.length > metricsMaxChars ? undefined : readRaftPeers(text);
  if (peers === undefined) throw refuse("they name no raft connection");
  return peers;
}
