/**
 * Gossip as e2d uses it, on top of one memberlist node: this node's record and status, the list of e2d members, and
 * notes (application data over streams) between nodes of this e2d. Legacy (Go) peers read the same record and the same
 * status messages, so the encoding of both must not change.
 */
import { describeError, isE2dError } from "../../errors.ts";
import { addressToText } from "../address.ts";
import { type E2dMember, E2dMembers } from "./members.ts";
import { type Gossip, type GossipOptions, startGossip } from "../gossip.ts";
import { encodeMemberMeta, ownGeneration } from "./member_meta.ts";
import type { NodeStatus } from "./node_status.ts";
import { decodeStatusMessage, encodeStatusMessage } from "./status_message.ts";
import type { Endpoint } from "../swim/types.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface E2dGossipOptions
  extends Omit<GossipOptions, "meta" | "onMember" | "onMessage" | "onProblemsChange" | "versions"> {
  clientUrl: string;
  /** Exactly as etcd reports it: scheme, host, port. */
  peerUrl: string;
  /** Called after a change of the members, of one member's state or status, of the conflicts or of the key mismatches. */
  onChange?: () => void;
  /** Called with each note of another node of this e2d. The sender of a note is not authenticated beyond the gossip key. */
  onNote?: (note: Bytes) => void;
}

export interface E2dGossip {
  /** The memberlist node: keys, metrics, shunned members, seeds, leave. */
  readonly memberlist: Gossip;
  /** All e2d nodes that gossip knows, including this node and dead and left ones, sorted by name. */
  members(): E2dMember[];
  status(): NodeStatus;
  /** Announces the status of this node and repeats it every {@link statusRepeatMs}. */
  setStatus(status: NodeStatus): void;
  /**
   * Sends a note of up to 2 MiB to one live member over a stream; the member must not be a legacy peer. Throws E2dError
   * `gossip_no_member`, or the stream's error.
   */
  sendNote(name: string, note: Bytes): Promise<void>;
  /** Names that two live addresses claim; the first address is the one in this node's list of members. */
  conflicts(): { name: string; addresses: [string, string] }[];
  /** Stops at once and frees the sockets. */
  close(): Promise<void>;
}

/**
 * A legacy peer that missed a status message uses the previous one until the next message, whatever the record contains.
 * The Go original sends each message once; the repetition corrects such peers.
 */
export const statusRepeatMs = 10_000;

/** Precedes a note. As the first byte of a gob it is an invalid length, so a legacy peer ignores the message. */
const noteMark = 0x80;

/** Starts gossip with the status `unknown`. Throws what {@link startGossip} throws. */
export async function startE2dGossip(options: E2dGossipOptions): Promise<E2dGossip> {
  const { name, clock, onChange, onNote } = options;
  const members = new E2dMembers();
  const closing = new AbortController();
  let status: NodeStatus = "unknown";
  const meta = (port: number) => metaOf(options, port, status);

  const memberlist = await startGossip({
    ...options,
    onProblemsChange: () => onChange?.(),
    meta: meta(options.advertise.port || options.bind.port),
    onMember: (change, member) => {
      const isForgotten = change === "forgotten";
      const changed = isForgotten ? members.forget(member.name) : members.applyRecord(member, clock.monotonicMs());
      // A new member gets this node's status at once: its copy of the record may be older than the last status message.
      if (change === "joined" && member.name !== name) announceStatus();
      if (changed) onChange?.();
    },
    onMessage: (data) => {
      if (data[0] === noteMark) onNote?.(data.slice(1));
      else if (applyMessage(members, data, options)) onChange?.();
    },
  });

  function announceStatus(): void {
    if (closing.signal.aborted) return;
    memberlist.broadcast(encodeStatusMessage({ name, status }), "status");
  }
  function applyOwnRecord(): void {
    const own = memberlist.members().find((member) => member.name === name);
    if (own && members.applyRecord(own, clock.monotonicMs())) onChange?.();
  }

  // With port 0 the advertised port is known only now.
  if (options.advertise.port === 0) memberlist.setMeta(meta(memberlist.local.port));
  applyOwnRecord();
  announceStatus();
  const repeating = repeatStatus(announceStatus, options, closing.signal);

  return {
    memberlist,
    members: () => members.list(),
    status: () => status,
    setStatus(next) {
      if (next !== status) {
        status = next;
        memberlist.setMeta(meta(options.advertise.port || memberlist.local.port));
        applyOwnRecord();
      }
      announceStatus();
    },
    sendNote: async (to, note) => await memberlist.send(to, marked(note)),
    conflicts: () => conflictsOf(memberlist),
    async close() {
      closing.abort();
      await memberlist.close();
      await repeating;
    },
  };
}

function metaOf({ name, clientUrl, peerUrl, advertise }: E2dGossipOptions, port: number, status: NodeStatus): Bytes {
  const gossipAddr = `${advertise.host}:${port}`;
  return encodeMemberMeta({ name, clientUrl, peerUrl, gossipAddr, status, generation: ownGeneration });
}

function conflictsOf(memberlist: Gossip): ReturnType<E2dGossip["conflicts"]> {
  return memberlist.conflicts().map(({ name, holder, claimer }) => ({
    name,
    addresses: [endpointText(holder), endpointText(claimer)],
  }));
}

async function repeatStatus(
  announce: () => void,
  { clock, log }: Pick<E2dGossipOptions, "clock" | "log">,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await clock.sleep(statusRepeatMs, signal);
      announce();
    } catch (error) {
      if (!signal.aborted) log.warn("Cannot repeat the gossip status", { error: describeError(error) });
    }
  }
}

/** Applies the status message of another node; true: a status changed. */
function applyMessage(members: E2dMembers, data: Bytes, { name, clock, log }: E2dGossipOptions): boolean {
  try {
    const message = decodeStatusMessage(data);
    return message.name !== name && members.applyStatus(message, clock.monotonicMs());
  } catch (error) {
    if (!isE2dError(error)) throw error;
    log.debug("Cannot decode a gossip user message", { error: describeError(error) });
    return false;
  }
}

function marked(note: Bytes): Bytes {
  const marked = new Uint8Array(note.length + 1);
  marked[0] = noteMark;
  marked.set(note, 1);
  return marked;
}

function endpointText({ address, port }: Endpoint): string {
  const host = addressToText(address);
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
