/** The interface of the gossip core: its events, its effects, its records and its counters. */
import type { HostPort } from "../../ports.ts";
import type { MemberState, Message, Ping, PushPull, Versions } from "../wire/message.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The destination of packets: a raw address of 4 or 16 bytes, and a port. */
export interface Endpoint {
  address: Bytes;
  port: number;
}

export interface Member extends Endpoint {
  name: string;
  meta: Bytes;
  versions: Versions;
  incarnation: number;
  state: MemberState;
  /** Monotonic time of the last change of state. */
  sinceMs: number;
}

export type SwimEvent =
  /** The time `wakeAtMs` has come. Early or late is allowed. */
  | { kind: "wake" }
  | { kind: "packet"; messages: readonly Message[]; from: Endpoint }
  /** A peer's state, from an exchange that either side started. `seed`: the contacted seed, if any. */
  | { kind: "pushPull"; state: PushPull; seed?: HostPort }
  | { kind: "pushPullFailed"; seed?: HostPort }
  | { kind: "streamPingAnswered"; sequence: number }
  | { kind: "setMeta"; meta: Bytes }
  /** Application data for all members; replaces a waiting broadcast with the same key. */
  | { kind: "broadcast"; data: Bytes; key: string }
  | { kind: "setSeeds"; seeds: readonly HostPort[] }
  /** All members, by name, that belong to another cluster (membership.ts). Replaces the previous list. */
  | { kind: "shun"; names: readonly string[] }
  | { kind: "leave" };

export type SwimEffect =
  /** One packet of encoded messages. */
  | { kind: "send"; to: Endpoint; messages: readonly Bytes[] }
  /** Exchange states over a stream with a member or a seed; answered with `pushPull` or `pushPullFailed`. */
  | { kind: "pushPull"; to: Endpoint; join: boolean }
  | { kind: "pushPullSeed"; to: HostPort; join: boolean }
  /** Ping over a stream; answered with `streamPingAnswered` or not at all. */
  | { kind: "streamPing"; to: Endpoint; ping: Ping; timeoutMs: number }
  | { kind: "member"; change: MemberChange; member: Member }
  | { kind: "user"; data: Bytes }
  /** The names that two live addresses claim have changed. */
  | { kind: "conflicts" }
  /** A log line for an operator; at most one a minute for each pair of `code` and `about`. */
  | { kind: "log"; level: "debug" | "info" | "warn"; code: string; text: string; about: string }
  /** This node's leave has been sent often enough, or there is no live member to send it to. */
  | { kind: "leaveBroadcast" };

export type MemberChange =
  /** New, or alive again after it was dead or had left. */
  | "joined"
  /** Its metadata has changed. */
  | "updated"
  | "suspected"
  /** A suspicion was refuted. */
  | "trusted"
  | "failed"
  | "left"
  /** Dead or left for so long that its record is dropped; or a silent member of another cluster. */
  | "forgotten";

export interface SwimMetrics {
  /** Started probe rounds, and those without any answer. */
  probes: number;
  probeFailures: number;
  /** Rounds that needed other members. */
  indirectProbes: number;
  /** Rounds that were answered over the stream only: UDP is blocked. */
  streamOnlyProbes: number;
  suspicions: number;
  refutations: number;
  failures: number;
  joins: number;
  conflicts: number;
  refusedMerges: number;
  /** Ignored records: invalid versions, too large, or beyond the maximum number of members. */
  refusedRecords: number;
  /** Times this process woke up more than a second late: it was paused or starved of CPU. */
  pauses: number;
}
