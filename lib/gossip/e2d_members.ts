/**
 * e2d's own list on top of gossip's: which members are e2d nodes, where their etcd is, and how far they are (unknown,
 * pending, running). Pure; the caller hands in what gossip says.
 *
 * A node's status comes on two ways that overtake each other: in its metadata, which a Go node changes without telling
 * anybody, and in status messages, which may be lost. The rules keep what is known to be newer:
 * - a message counts as it comes, for it is sent at the moment of the change and repeated by this e2d;
 * - metadata of this e2d counts whenever it changes, because each change has a higher incarnation;
 * - metadata of a Go node may be older than the last message, so it only ever raises the status;
 * - a Go node sends what waits in one packet with the newest first, and each three times, so that "running" is followed
 *   by an older "pending": for a moment a lower status of a Go node is not believed;
 * - when a node is gone, what its messages said is forgotten: who comes back brings its present metadata along.
 */
import { isE2dError } from "../errors.ts";
import { decodeMemberMeta, type MemberMeta } from "./member_meta.ts";
import type { MemberState } from "./message.ts";
import { type NodeStatus, nodeStatuses } from "./node_status.ts";
import type { StatusMessage } from "./status_message.ts";

export interface E2dMember {
  name: string;
  /** Text exactly as etcd has it: scheme, host, port. */
  peerUrl: string;
  clientUrl: string;
  /** host:port */
  gossipAddr: string;
  state: MemberState;
  /** Monotonic time at which gossip last changed its mind about the state. */
  sinceMs: number;
  status: NodeStatus;
  /** True for a node of the Go original. */
  go: boolean;
}

/** What gossip knows of a member. */
export interface MemberNews {
  name: string;
  meta: Uint8Array;
  state: MemberState;
  sinceMs: number;
}

/** Go's copies of older messages have died out after this long. */
const declineAfterMs = 3000;

/** Messages of nodes that gossip does not know yet. A status may come in before its sender's record. */
const earlyMax = 64;

/** A status and when it was last heard of. */
interface Told {
  status: NodeStatus;
  toldMs: number;
}

export class E2dMembers {
  readonly #members = new Map<string, E2dMember & Told & { metaStatus: NodeStatus }>();
  readonly #early = new Map<string, Told>();

  /** All e2d nodes that gossip knows, dead and left ones too, by name. */
  list(): E2dMember[] {
    return [...this.#members.values()]
      .map(({ metaStatus: _, toldMs: __, ...member }) => member)
      .sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
  }

  /**
   * Takes in a member's record. True when the list has changed. A member whose metadata is not an e2d node's is not (or
   * no longer) in the list: the first record of a Go node has none yet, and other programs may gossip along.
   */
  update({ name, meta, state, sinceMs }: MemberNews, nowMs: number): boolean {
    const record = readMeta(meta);
    const known = this.#members.get(name);
    if (record === undefined) return this.#members.delete(name);
    const go = record.generation === 0;
    const next = {
      name,
      peerUrl: record.peerUrl,
      clientUrl: record.clientUrl,
      gossipAddr: record.gossipAddr,
      state,
      sinceMs,
      go,
      metaStatus: record.status,
      status: record.status,
      toldMs: nowMs,
    };
    const gone = state === "dead" || state === "left";
    if (!gone) {
      const told = known !== undefined && known.state !== "dead" && known.state !== "left"
        ? known
        : this.#early.get(name);
      const unchanged = known?.metaStatus === record.status;
      if (told !== undefined && (unchanged || (go && rank(told.status) > rank(record.status)))) {
        next.status = told.status;
        next.toldMs = told.toldMs;
      }
      this.#early.delete(name);
    }
    this.#members.set(name, next);
    return known === undefined || !same(known, next);
  }

  /** Gossip has forgotten a member that was dead for long. True when it was in the list. */
  forget(name: string): boolean {
    return this.#members.delete(name);
  }

  /** Takes in a status message. True when the list has changed. */
  tell({ name, status }: StatusMessage, nowMs: number): boolean {
    const member = this.#members.get(name);
    const gone = member?.state === "dead" || member?.state === "left";
    if (member === undefined || gone) {
      const early = this.#early.get(name);
      if (early !== undefined && isEcho(early, status, nowMs)) return false;
      this.#early.delete(name);
      this.#early.set(name, { status, toldMs: nowMs });
      if (this.#early.size > earlyMax) this.#early.delete(this.#early.keys().next().value!);
      return false;
    }
    if (member.go && isEcho(member, status, nowMs)) return false;
    this.#members.set(name, { ...member, status, toldMs: nowMs });
    return member.status !== status;
  }
}

/** True for what an older message says, so soon after a newer one that it must have overtaken it. */
function isEcho(told: Told, status: NodeStatus, nowMs: number): boolean {
  return rank(status) < rank(told.status) && nowMs - told.toldMs < declineAfterMs;
}

const rank = (status: NodeStatus) => nodeStatuses.indexOf(status);

function readMeta(meta: Uint8Array): MemberMeta | undefined {
  if (meta.length === 0) return undefined;
  try {
    return decodeMemberMeta(meta);
  } catch (error) {
    if (isE2dError(error)) return undefined;
    throw error;
  }
}

function same(a: E2dMember, b: E2dMember & Partial<Told>): boolean {
  return (Object.keys(b) as (keyof E2dMember | "toldMs")[]).every((key) => key === "toldMs" || a[key] === b[key]);
}
