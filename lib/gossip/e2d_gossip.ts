/**
 * Gossip as e2d uses it: this node's record and status, the list of e2d members, and notes between nodes of this e2d.
 * Nodes of the Go original take part: they read the same record and the same status messages.
 */
import { describeError, isE2dError } from "../errors.ts";
import { type E2dMember, E2dMembers } from "./e2d_members.ts";
import { type Gossip, type GossipMetrics, type GossipOptions, startGossip } from "./gossip.ts";
import type { Keyring } from "./keyring.ts";
import { encodeMemberMeta, ownGeneration } from "./member_meta.ts";
import type { NodeStatus } from "./node_status.ts";
import { decodeStatusMessage, encodeStatusMessage } from "./status_message.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface E2dGossipOptions extends Omit<GossipOptions, "meta" | "onMember" | "onMessage" | "versions"> {
  clientUrl: string;
  /** Text exactly as etcd has it: scheme, host, port. */
  peerUrl: string;
  /** Called after the list of members, or what is known of one of them, has changed. */
  onChange?: () => void;
  /** Called with the notes of other nodes of this e2d; `note` is as it was sent, and nobody vouches for its sender. */
  onNote?: (note: Bytes) => void;
}

export interface E2dGossip {
  /** All e2d nodes that gossip knows, this one, the dead and those that have left among them, by name. */
  members(): E2dMember[];
  status(): NodeStatus;
  /** Tells the others how far this node is, and repeats it from then on. */
  setStatus(status: NodeStatus): void;
  /**
   * Hands a note to one living member that is no node of the Go original, over a stream, up to 2 MiB.
   * Throws E2dError `gossip_no_member` or of the stream.
   */
  sendNote(name: string, note: Bytes): Promise<void>;
  readonly gossip: Gossip;
  readonly keyring: Keyring | undefined;
  metrics(): GossipMetrics;
  /** Who is new among the seeds is asked at once. */
  seedsChanged(): void;
  /** Tells the others that this node goes on purpose. */
  leave(timeoutMs?: number): Promise<void>;
  close(): Promise<void>;
}

/**
 * A Go node that has missed a status message believes the one before it until the next comes, whatever the record says.
 * The original sends each once; repeating it heals them.
 */
export const statusRepeatMs = 10_000;

/** Stands before a note. As the first byte of gob it is an impossible number, so a Go node that gets one says no more. */
const noteMark = 0x80;

/** Starts gossip with the status `unknown`. Throws what {@link startGossip} throws. */
export async function startE2dGossip(options: E2dGossipOptions): Promise<E2dGossip> {
  const { name, clientUrl, peerUrl, clock, log, onChange, onNote } = options;
  const members = new E2dMembers();
  const closing = new AbortController();
  let status: NodeStatus = "unknown";
  const meta = (port: number) =>
    encodeMemberMeta({
      name,
      clientUrl,
      peerUrl,
      gossipAddr: `${options.advertise.host}:${port}`,
      status,
      generation: ownGeneration,
    });

  const gossip = await startGossip({
    ...options,
    meta: meta(options.advertise.port || options.bind.port),
    onMember: (change, member) => {
      const changed = change === "forgotten"
        ? members.forget(member.name)
        : members.update(member, clock.monotonicMs());
      // Who comes new hears this node's status at once, not only with its record, which may overtake nothing.
      if (change === "joined" && member.name !== name) announce();
      if (changed) onChange?.();
    },
    onMessage: (data) => {
      if (data[0] === noteMark) return onNote?.(data.slice(1));
      try {
        const message = decodeStatusMessage(data);
        if (message.name !== name && members.tell(message, clock.monotonicMs())) onChange?.();
      } catch (error) {
        if (!isE2dError(error)) throw error;
        log.debug("gossip: a message of the application makes no sense", { error: describeError(error) });
      }
    },
  });

  function announce(): void {
    if (closing.signal.aborted) return;
    gossip.broadcast(encodeStatusMessage({ name, status }), "status");
  }
  function updateOwn(): void {
    const own = gossip.members().find((member) => member.name === name);
    if (own && members.update(own, clock.monotonicMs())) onChange?.();
  }
  async function repeat(): Promise<void> {
    while (!closing.signal.aborted) {
      try {
        await clock.sleep(statusRepeatMs, closing.signal);
        announce();
      } catch (error) {
        if (!closing.signal.aborted) log.warn("gossip: cannot repeat the status", { error: describeError(error) });
      }
    }
  }

  // With port 0 the record is only now complete.
  if (options.advertise.port === 0) gossip.setMeta(meta(gossip.local.port));
  updateOwn();
  announce();
  const repeating = repeat();

  return {
    gossip,
    keyring: gossip.keyring,
    members: () => members.list(),
    status: () => status,
    setStatus(next) {
      const changed = next !== status;
      status = next;
      if (changed) {
        gossip.setMeta(meta(options.advertise.port || gossip.local.port));
        updateOwn();
      }
      announce();
    },
    async sendNote(to, note) {
      const marked = new Uint8Array(note.length + 1);
      marked[0] = noteMark;
      marked.set(note, 1);
      await gossip.send(to, marked);
    },
    metrics: () => gossip.metrics(),
    seedsChanged: () => gossip.seedsChanged(),
    leave: (timeoutMs) => gossip.leave(timeoutMs),
    async close() {
      closing.abort();
      await gossip.close();
      await repeating;
    },
  };
}
