/** What may happen to the gossip core, what it may ask for, and what it knows: the seam between core and loop. */
import type { HostPort } from "../ports.ts";
import type { MemberState, Message, Ping, PushPull, Versions } from "./message.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Where packets go: a raw address, 4 or 16 bytes. */
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
  /** The time that `wakeAtMs` names has come. Early or late is fine. */
  | { kind: "wake" }
  | { kind: "packet"; messages: readonly Message[]; from: Endpoint }
  /** A peer's state, whoever of the two has dialled. `seed` is the one that was asked, where one was. */
  | { kind: "pushPull"; state: PushPull; seed?: HostPort }
  | { kind: "pushPullFailed"; seed?: HostPort }
  | { kind: "streamPingAnswered"; sequence: number }
  | { kind: "setMeta"; meta: Bytes }
  /** Application data for everybody; it replaces what waits under the same key. */
  | { kind: "broadcast"; data: Bytes; key: string }
  | { kind: "setSeeds"; seeds: readonly HostPort[] }
  | { kind: "leave" };

export type SwimEffect =
  /** One packet of encoded messages. */
  | { kind: "send"; to: Endpoint; messages: readonly Bytes[] }
  /** Exchange states over a stream with a member or a seed; comes back as `pushPull` or `pushPullFailed`. */
  | { kind: "pushPull"; to: Endpoint; join: boolean }
  | { kind: "pushPullSeed"; to: HostPort; join: boolean }
  /** Ping over a stream; comes back as `streamPingAnswered` or not at all. */
  | { kind: "streamPing"; to: Endpoint; ping: Ping; timeoutMs: number }
  | { kind: "member"; change: MemberChange; member: Member }
  | { kind: "user"; data: Bytes }
  /** Something an operator may have to look at; of one code about one thing, one a minute. */
  | { kind: "note"; level: "debug" | "info" | "warn"; code: string; text: string; about: string }
  /** The own leave has gone out as often as it has to, or there is nobody to tell. */
  | { kind: "leaveTold" };

export type MemberChange =
  /** New, or back after it was dead or had left. */
  | "joined"
  /** Other metadata. */
  | "updated"
  | "suspected"
  /** A suspicion is off the table. */
  | "trusted"
  | "failed"
  | "left"
  /** Dead or gone for long enough that its record is dropped. */
  | "forgotten";

export interface SwimMetrics {
  /** Probe rounds begun, and those that ended without a sign of life. */
  probes: number;
  probeFailures: number;
  /** Rounds that had to ask other members. */
  indirectProbes: number;
  /** Rounds in which the stream answered and no packet did: UDP does not get through. */
  streamOnlyProbes: number;
  suspicions: number;
  refutations: number;
  failures: number;
  joins: number;
  conflicts: number;
  refusedMerges: number;
  /** Records of members that were ignored: without sound versions, too large, one too many. */
  refusedRecords: number;
  /** Times this process was late by more than a second: it was paused or starved. */
  pauses: number;
}
