/**
 * Adapter between lib/core and gossip: the peers and their facts, and this node's own status and facts. Each change
 * becomes one `gossip` event with the complete present state. It decides nothing.
 */
import type { Clock, HostPort, Logger } from "../../ports.ts";
import type { Event } from "../../core/facts/event.ts";
import { gossipKeyFingerprint } from "../../pki/key_fingerprint.ts";
import { type E2dGossip, type E2dGossipOptions, startE2dGossip } from "../../gossip/e2d/gossip.ts";
import type { GossipMetrics } from "../../gossip/gossip.ts";
import { hostText } from "../addresses.ts";
import { withoutUndefined } from "../../without_undefined.ts";
import { FactsChannel } from "./facts_channel.ts";
import type { GossipKeys, GossipPeer, PeerFacts, Status } from "../../core/facts/peer.ts";

export interface GossipAdapterOptions extends Omit<E2dGossipOptions, "onChange" | "onNote" | "seeds"> {
  /** Random text of this process. */
  readonly life: string;
  readonly seeds: () => readonly HostPort[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly deliver: (event: Extract<Event, { kind: "gossip" }>) => void;
}

/** Interval of the check for changes without a callback: a key mismatch expires silently. */
const checkIntervalMs = 5_000;
/** The limit for announcing a leave at shutdown: an operator waits for it. */
const leaveTimeoutMs = 2_000;

export interface GossipAdapter {
  setStatus(status: Status): void;
  publish(facts: PeerFacts): void;
  /** Excludes these members, which belong to another cluster. Replaces the previous list of names. */
  shun(names: readonly string[]): void;
  peers(): GossipPeer[];
  metrics(): GossipMetrics;
  /** Contacts new seeds at once: the first result of discovery may arrive long after the start. */
  seedsChanged(): void;
  /** The first key encrypts from now on, every key decrypts. Only for a node that was started with keys. */
  setKeys(keys: readonly Uint8Array<ArrayBuffer>[]): void;
  /** Announces the leave and frees the sockets. */
  close(): Promise<void>;
}

/** Throws what {@link startE2dGossip} throws. */
export async function startGossipAdapter(options: GossipAdapterOptions): Promise<GossipAdapter> {
  const adapter = new RunningGossip(options);
  await adapter.start();
  return adapter;
}

class RunningGossip implements GossipAdapter {
  readonly #options: GossipAdapterOptions;
  readonly #closing = new AbortController();
  readonly #channel: FactsChannel;
  /** Undefined while startE2dGossip runs, which may call back already. */
  #gossip: E2dGossip | undefined;
  #running: Promise<unknown> = Promise.resolve();
  #lastDelivered = "";

  constructor(options: GossipAdapterOptions) {
    this.#options = options;
    const { name, life, clock, log } = options;
    this.#channel = new FactsChannel({
      name,
      life,
      clock,
      log,
      signal: this.#closing.signal,
      peers: () =>
        this.#others().filter((member) => !member.isLegacy && (member.state === "alive" || member.state === "suspect"))
          .map((member) => member.name),
      send: (to, note) => this.#started().sendNote(to, note),
      onChange: () => this.#deliverChange(),
    });
  }

  async start(): Promise<void> {
    this.#gossip = await startE2dGossip({
      ...this.#options,
      onChange: () => {
        this.#channel.sendDue();
        this.#deliverChange();
      },
      onNote: (note) => this.#channel.receive(note),
    });
    this.#running = Promise.all([this.#channel.run(), this.#deliverPeriodically()]);
    this.#deliverChange();
  }

  setStatus(status: Status): void {
    this.#started().setStatus(status);
  }

  publish(facts: PeerFacts): void {
    this.#channel.publish(facts);
  }

  shun(names: readonly string[]): void {
    this.#started().memberlist.shun(names);
  }

  peers(): GossipPeer[] {
    return this.#others().map((member) => {
      const facts = member.isLegacy ? undefined : this.#channel.factsOf(member.name);
      return { ...member, ...withoutUndefined({ facts }) };
    });
  }

  metrics(): GossipMetrics {
    return this.#started().memberlist.metrics();
  }

  seedsChanged(): void {
    this.#started().memberlist.seedsChanged();
  }

  setKeys(keys: readonly Uint8Array<ArrayBuffer>[]): void {
    this.#started().memberlist.keyring?.replace(keys);
  }

  async close(): Promise<void> {
    const gossip = this.#started();
    this.#closing.abort();
    await gossip.memberlist.leave(leaveTimeoutMs);
    await gossip.close();
    await this.#running;
  }

  #started(): E2dGossip {
    if (this.#gossip === undefined) throw new TypeError("gossip is not started");
    return this.#gossip;
  }

  #others(): ReturnType<E2dGossip["members"]> {
    return (this.#gossip?.members() ?? []).filter((member) => member.name !== this.#options.name);
  }

  /** Delivers the present state when it differs from the last delivery: statuses and facts are repeated unchanged. */
  #deliverChange(): void {
    if (this.#gossip === undefined || this.#closing.signal.aborted) return;
    const peers = this.peers();
    const { memberlist } = this.#gossip;
    const state = { joined: peers.length > 0, peers, conflicts: this.#gossip.conflicts(), keys: keysOf(memberlist) };
    const text = JSON.stringify(state);
    if (text === this.#lastDelivered) return;
    this.#lastDelivered = text;
    this.#options.deliver({ kind: "gossip", ...state });
  }

  async #deliverPeriodically(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await this.#options.clock.sleep(checkIntervalMs, signal).catch(() => {});
      this.#deliverChange();
    }
  }
}

function keysOf(memberlist: E2dGossip["memberlist"]): GossipKeys {
  const key = memberlist.keyring?.primary;
  const mismatches = memberlist.keyMismatches().map(({ kind, host, port, evidence }) => ({
    kind,
    address: port === undefined ? host : hostText({ host, port }),
    evidence,
  }));
  return { ...withoutUndefined({ fingerprint: key && gossipKeyFingerprint(key) }), mismatches };
}
