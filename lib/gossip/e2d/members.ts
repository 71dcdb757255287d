/**
 * The list of e2d nodes on top of gossip's member list: which members are e2d nodes, the URLs of their etcd, and their
 * status (unknown, pending, running). Pure: the caller passes in the records and status messages of gossip.
 *
 * A node's status arrives in two ways that can overtake each other: in its metadata, which a legacy (Go) peer changes
 * without an announcement, and in status messages, which can be lost. The rules keep the newer one:
 * - a status message applies when it arrives, because it is sent at the moment of the change and repeated by this e2d;
 * - metadata of this e2d applies whenever it changes, because each change has a higher incarnation;
 * - metadata of a legacy peer may be older than the last message, so it can only raise the status;
 * - a legacy peer sends its waiting messages in one packet, newest first and three times each, so an older "pending"
 *   follows "running": for `echoWindowMs` a lower status of a legacy peer is ignored;
 * - when a node is dead or has left, the status from its messages is dropped: a node that returns sends its metadata.
 */
import { isE2dError } from "../../errors.ts";
import { decodeMemberMeta, type MemberMeta } from "./member_meta.ts";
import type { MemberState } from "../wire/message.ts";
import { type NodeStatus, nodeStatuses } from "./node_status.ts";
import type { StatusMessage } from "./status_message.ts";

export interface E2dMember {
  name: string;
  /** Exactly as etcd reports it: scheme, host, port. */
  peerUrl: string;
  clientUrl: string;
  /** host:port */
  gossipAddr: string;
  state: MemberState;
  /** Monotonic time of gossip's last change of the state. */
  sinceMs: number;
  status: NodeStatus;
  /** True for a legacy peer (the Go original). */
  isLegacy: boolean;
}

/** Gossip's record of a member. */
export interface GossipRecord {
  name: string;
  meta: Uint8Array;
  state: MemberState;
  sinceMs: number;
}

/** Copies of older messages of a legacy peer stop arriving after this time. */
const echoWindowMs = 3000;

/** Kept statuses of nodes whose gossip record has not arrived yet. */
const statusesBeforeRecordMax = 64;

/** A status and the monotonic time at which it was last received. */
interface HeardStatus {
  status: NodeStatus;
  heardMs: number;
}

interface Entry extends E2dMember, HeardStatus {
  metaStatus: NodeStatus;
}

export class E2dMembers {
  readonly #members = new Map<string, Entry>();
  readonly #statusesBeforeRecord = new Map<string, HeardStatus>();

  /** All e2d nodes that gossip knows, including dead and left ones, sorted by name. */
  list(): E2dMember[] {
    return [...this.#members.values()]
      .map(({ metaStatus: _, heardMs: __, ...member }) => member)
      .sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
  }

  /**
   * Applies a member's record; returns true when the list has changed. A member without the metadata of an e2d node is
   * not in the list: the first record of a legacy peer has none yet, and other programs may take part in the gossip.
   */
  applyRecord({ name, meta, state, sinceMs }: GossipRecord, nowMs: number): boolean {
    const record = readMeta(meta);
    const known = this.#members.get(name);
    if (record === undefined) return this.#members.delete(name);
    const isLegacy = record.generation === 0;
    const next: Entry = {
      name,
      peerUrl: record.peerUrl,
      clientUrl: record.clientUrl,
      gossipAddr: record.gossipAddr,
      state,
      sinceMs,
      isLegacy,
      metaStatus: record.status,
      status: record.status,
      heardMs: nowMs,
    };
    if (!isGone(state)) {
      const heard = known !== undefined && !isGone(known.state) ? known : this.#statusesBeforeRecord.get(name);
      const unchanged = known?.metaStatus === record.status;
      if (heard !== undefined && (unchanged || (isLegacy && statusRank(heard.status) > statusRank(record.status)))) {
        next.status = heard.status;
        next.heardMs = heard.heardMs;
      }
      this.#statusesBeforeRecord.delete(name);
    }
    this.#members.set(name, next);
    return known === undefined || !sameMember(known, next);
  }

  /** Drops a member whose record gossip has dropped; returns true when it was in the list. */
  forget(name: string): boolean {
    return this.#members.delete(name);
  }

  /** Applies a status message; returns true when the list has changed. */
  applyStatus({ name, status }: StatusMessage, nowMs: number): boolean {
    const member = this.#members.get(name);
    if (member === undefined || isGone(member.state)) {
      this.#keepUntilRecord(name, status, nowMs);
      return false;
    }
    if (member.isLegacy && isEcho(member, status, nowMs)) return false;
    this.#members.set(name, { ...member, status, heardMs: nowMs });
    return member.status !== status;
  }

  #keepUntilRecord(name: string, status: NodeStatus, nowMs: number): void {
    const heard = this.#statusesBeforeRecord.get(name);
    if (heard !== undefined && isEcho(heard, status, nowMs)) return;
    // The new entry goes to the end: the map drops its oldest entry first.
    this.#statusesBeforeRecord.delete(name);
    this.#statusesBeforeRecord.set(name, { status, heardMs: nowMs });
    if (this.#statusesBeforeRecord.size > statusesBeforeRecordMax) {
      this.#statusesBeforeRecord.delete(this.#statusesBeforeRecord.keys().next().value!);
    }
  }
}

/** True for a lower status so soon after a higher one that its message is an older one. */
function isEcho(heard: HeardStatus, status: NodeStatus, nowMs: number): boolean {
  return statusRank(status) < statusRank(heard.status) && nowMs - heard.heardMs < echoWindowMs;
}

const isGone = (state: MemberState) => state === "dead" || state === "left";

const statusRank = (status: NodeStatus) => nodeStatuses.indexOf(status);

function readMeta(meta: Uint8Array): MemberMeta | undefined {
  if (meta.length === 0) return undefined;
  try {
    return decodeMemberMeta(meta);
  } catch (error) {
    if (isE2dError(error)) return undefined;
    throw error;
  }
}

/** Equal in everything but the time of the last status. */
function sameMember(a: Entry, b: Entry): boolean {
  return (Object.keys(b) as (keyof Entry)[]).every((key) => key === "heardMs" || a[key] === b[key]);
}
