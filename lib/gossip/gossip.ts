/**
 * One gossip node: connects the pure SWIM core to sockets, clock and randomness. Passes events to the core, performs its
 * effects, and calls the application's callbacks. Errors are logged and counted; no error stops the node.
 */
import { describeError, E2dError } from "../errors.ts";
import type { Clock, Connections, Datagrams, HostPort, Logger, Random } from "../ports.ts";
import { addressFromText, addressToText } from "./address.ts";
import { Keyring } from "./wire/keyring.ts";
import { labelBytes, labelHeaderBytes } from "./wire/label.ts";
import type { Message, Versions } from "./wire/message.ts";
import type { KeyMismatch } from "./key_mismatches.ts";
import type { TransportMetrics } from "./metrics.ts";
import type { NameConflict } from "./swim/name_claims.ts";
import { sealOverheadBytes } from "./wire/seal.ts";
import { Swim } from "./swim/swim.ts";
import { lanConfig, type SwimConfig } from "./swim/config.ts";
import type { Endpoint, Member, MemberChange, SwimEffect, SwimEvent, SwimMetrics } from "./swim/types.ts";
import { openTransport, type Transport } from "./transport.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface GossipOptions {
  /** Unique in the cluster. */
  name: string;
  /** The address that this node listens on, UDP and TCP. */
  bind: HostPort;
  /** The address that this node announces: an IP address. Port 0: the bound port. */
  advertise: HostPort;
  /** Application data of this node, at most 512 bytes. */
  meta: Bytes;
  /** The primary key first. Without keys gossip is not encrypted. */
  keys?: readonly Uint8Array[];
  /** Only newer memberlist nodes support labels; a cluster with legacy (Go) peers must not set one. */
  label?: string;
  /** Addresses to join through. Called again before each use. Host names and this node's own address are allowed. */
  seeds: () => readonly HostPort[];
  /** Default true. */
  compress?: boolean;
  /** Protocol versions to announce, for peers that require delegate versions (serf). */
  versions?: Versions;
  config?: Partial<SwimConfig>;
  bindDatagrams: (at: HostPort) => Promise<Datagrams>;
  connections: Connections;
  clock: Clock;
  random: Random;
  log: Logger;
  /** Called for each change, one at a time, after `members()` reflects it. */
  onMember?: (change: MemberChange, member: Member) => void;
  /** Called for each application message, whether broadcast or sent to this node only. */
  onMessage?: (data: Bytes) => void;
  /** Called after `conflicts()` or `keyMismatches()` has changed, except when a mismatch expires. */
  onProblemsChange?: () => void;
}

export interface GossipMetrics extends SwimMetrics, TransportMetrics {
  /** Waiting broadcasts: memberlist's own, and the application's (`userQueued`). */
  queued: number;
  userQueued: number;
  /** Lifeguard's score of this node: 0 is healthy, 7 is the worst. */
  health: number;
  members: Record<Member["state"], number>;
}

export interface Gossip {
  /** The bound address. */
  readonly local: HostPort;
  /** All known members of any state, including this node. */
  members(): Member[];
  /** Names that two live addresses claim now. */
  conflicts(): NameConflict[];
  /** Addresses that send gossip which this node's keys cannot read. Not authenticated: only for reports to an operator. */
  keyMismatches(): KeyMismatch[];
  /**
   * Excludes these members, which belong to another cluster. Replaces the previous list of names. `onMember` still
   * reports them until they are `forgotten`.
   */
  shun(names: readonly string[]): void;
  /** Announces new metadata to all members. Throws E2dError `gossip_meta` above 512 bytes. */
  setMeta(meta: Bytes): void;
  /**
   * Broadcasts to all members without a guarantee of delivery. Replaces a waiting broadcast with the same key. Throws
   * E2dError `gossip_too_long` or `gossip_busy`.
   */
  broadcast(data: Bytes, key: string): void;
  /** Sends up to 2 MiB to one live member over a stream. Throws E2dError `gossip_no_member`, or the stream's error. */
  send(name: string, data: Bytes): Promise<void>;
  /** The keys, which may be changed at run time; undefined for a node without encryption. */
  readonly keyring: Keyring | undefined;
  metrics(): GossipMetrics;
  /** Calls `seeds` again and contacts new addresses at once. */
  seedsChanged(): void;
  /** Announces that this node leaves; resolves when the announcement is sent or `timeoutMs` has passed. */
  leave(timeoutMs?: number): Promise<void>;
  /** Stops at once and frees the sockets. Without a previous `leave` other members detect the end by probing. */
  close(): Promise<void>;
}

/** The limit for announcing a leave: the queue drains in one or two seconds. */
const leaveTimeoutMs = 5000;

/**
 * Binds the sockets and starts. Throws E2dError `address_in_use`, `udp_listen`, `tcp_listen`, `gossip_address` (the
 * advertised host is not an IP address), `gossip_meta`, `gossip_key` or `gossip_label`.
 */
export async function startGossip(options: GossipOptions): Promise<Gossip> {
  const advertised = addressFromText(options.advertise.host);
  if (advertised === undefined || advertised.every((byte) => byte === 0)) {
    throw new E2dError(
      "gossip_address",
      `Cannot advertise "${options.advertise.host}": it is not the IP address of a node`,
      {
        hint: "pass an IP address that the other nodes can reach: --host ADDRESS",
      },
    );
  }
  return await GossipNode.start(options, advertised);
}

class GossipNode implements Gossip {
  readonly keyring: Keyring | undefined;
  readonly #options: GossipOptions;
  readonly #closing = new AbortController();
  /** Set as soon as the sockets are bound, before the first event. */
  #transport!: Transport;
  #swim!: Swim;
  #running: Promise<void> = Promise.resolve();
  #rearm = new AbortController();
  #armedMs = Infinity;
  #leaveBroadcast: (() => void) | undefined;

  static async start(options: GossipOptions, advertised: Bytes): Promise<GossipNode> {
    const node = new GossipNode(options);
    const label = labelBytes(options.label ?? "");
    const { clock, random } = options;
    node.#transport = await openTransport({
      ...options,
      label,
      keyring: node.keyring,
      compress: options.compress ?? true,
      handlers: {
        packet: (messages, from) => node.#receivePacket(messages, from),
        pushPull: (request) => node.#swim.state(request.join),
        pushPullAnswered: (state) => node.#handleEvent({ kind: "pushPull", state }),
        ping: (ping) => ping.node === "" || ping.node === options.name,
        user: (data) => node.#perform({ kind: "user", data }),
        keyMismatchesChanged: () => node.#callApplication(() => options.onProblemsChange?.()),
      },
    });
    try {
      node.#swim = new Swim({
        name: options.name,
        advertise: { address: advertised, port: options.advertise.port || node.local.port },
        meta: options.meta,
        ...options.versions && { versions: options.versions },
        config: {
          ...lanConfig,
          packetOverheadBytes: labelHeaderBytes(label) + (node.keyring ? sealOverheadBytes : 0),
          ...options.config,
        },
        random: () => random.float(),
        nowMs: clock.monotonicMs(),
      });
    } catch (error) {
      await node.#transport.close();
      throw error;
    }
    node.#transport.start();
    node.#running = node.#run();
    return node;
  }

  private constructor(options: GossipOptions) {
    this.#options = options;
    if (options.keys && options.keys.length > 0) this.keyring = new Keyring(options.keys);
  }

  get local(): HostPort {
    return this.#transport.local;
  }

  members(): Member[] {
    return this.#swim.members();
  }

  conflicts(): NameConflict[] {
    return this.#swim.conflicts();
  }

  keyMismatches(): KeyMismatch[] {
    return this.#transport.keyMismatches();
  }

  shun(names: readonly string[]): void {
    this.#handleEvent({ kind: "shun", names });
  }

  setMeta(meta: Bytes): void {
    this.#apply({ kind: "setMeta", meta });
  }

  broadcast(data: Bytes, key: string): void {
    this.#apply({ kind: "broadcast", data, key });
  }

  async send(name: string, data: Bytes): Promise<void> {
    const member = this.#swim.members().find((member) => member.name === name);
    if (member === undefined || member.state === "dead" || member.state === "left") {
      throw new E2dError("gossip_no_member", `Cannot send to "${name}": no live member has that name`);
    }
    await this.#transport.sendUser(hostPort(member), data);
  }

  metrics(): GossipMetrics {
    const members = { alive: 0, suspect: 0, dead: 0, left: 0 };
    for (const { state } of this.#swim.members()) members[state]++;
    const dropped = this.#transport.dropped();
    return { ...this.#swim.metrics, ...this.#transport.metrics, dropped, ...this.#swim.load, members };
  }

  async leave(timeoutMs = leaveTimeoutMs): Promise<void> {
    const announced = new Promise<void>((resolve) => this.#leaveBroadcast = resolve);
    this.#apply({ kind: "leave" });
    const timeout = new AbortController();
    const timer = this.#options.clock.sleep(timeoutMs, AbortSignal.any([timeout.signal, this.#closing.signal]));
    await Promise.race([announced, timer.catch(() => {})]);
    timeout.abort();
  }

  seedsChanged(): void {
    if (!this.#closing.signal.aborted) this.#handleEvent({ kind: "setSeeds", seeds: this.#options.seeds() });
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#rearm.abort();
    await Promise.all([this.#transport.close(), this.#running]);
  }

  /** Sends a `wake` event at each time that the core asks for, until closed. */
  async #run(): Promise<void> {
    const { clock } = this.#options;
    this.#handleEvent({ kind: "setSeeds", seeds: this.#options.seeds() });
    while (!this.#closing.signal.aborted) {
      this.#rearm = new AbortController();
      this.#armedMs = this.#swim.wakeAtMs;
      try {
        const waitMs = Math.max(0, this.#armedMs - clock.monotonicMs());
        await clock.sleep(waitMs, this.#rearm.signal);
      } catch {
        continue; // The wake time moved forward, or the node is closing.
      }
      this.#handleEvent({ kind: "wake" });
    }
  }

  #receivePacket(messages: readonly Message[], from: HostPort): void {
    const address = addressFromText(from.host);
    if (address !== undefined) this.#handleEvent({ kind: "packet", messages, from: { address, port: from.port } });
  }

  /** Applies a command of the application and throws its errors to the caller. */
  #apply(event: SwimEvent): void {
    if (this.#closing.signal.aborted) throw new E2dError("gossip_closed", "Cannot use gossip: it is closed");
    for (const effect of this.#swim.step(event, this.#options.clock.monotonicMs())) this.#perform(effect);
    if (this.#swim.wakeAtMs < this.#armedMs) this.#rearm.abort();
  }

  /** Applies an event from the network or the clock. Errors are logged, not thrown. */
  #handleEvent(event: SwimEvent): void {
    if (this.#closing.signal.aborted) return;
    try {
      this.#apply(event);
    } catch (error) {
      this.#options.log.error(`Cannot handle gossip event "${event.kind}"`, { error: describeError(error) });
    }
  }

  #perform(effect: SwimEffect): void {
    const { log, onMember, onMessage, onProblemsChange: onTrouble } = this.#options;
    switch (effect.kind) {
      case "send":
        return this.#transport.send(hostPort(effect.to), effect.messages);
      case "pushPull":
        return void this.#exchange(hostPort(effect.to), effect.join, undefined);
      case "pushPullSeed":
        return void this.#exchange(effect.to, effect.join, effect.to);
      case "streamPing":
        return void this.#transport.ping(hostPort(effect.to), effect.ping, effect.timeoutMs).then((answered) => {
          if (answered) this.#handleEvent({ kind: "streamPingAnswered", sequence: effect.ping.sequence });
        });
      case "member": {
        const { change, member } = effect;
        const level = change === "failed" ? "warn" : change === "suspected" || change === "trusted" ? "debug" : "info";
        if (member.name !== this.#options.name) {
          log[level](`gossip: member ${change}`, {
            member: member.name,
            address: hostText(member),
            state: member.state,
          });
        }
        return this.#callApplication(() => onMember?.(change, member));
      }
      case "user":
        return this.#callApplication(() => onMessage?.(effect.data));
      case "conflicts":
        return this.#callApplication(() => onTrouble?.());
      case "log":
        return log[effect.level](`gossip: ${effect.text}`, { about: effect.about });
      case "leaveBroadcast":
        return this.#leaveBroadcast?.();
      default:
        return effect satisfies never;
    }
  }

  async #exchange(to: HostPort, join: boolean, seed: HostPort | undefined): Promise<void> {
    const seedField = seed === undefined ? {} : { seed };
    try {
      const state = await this.#transport.pushPull(to, this.#swim.state(join));
      this.#handleEvent({ kind: "pushPull", state, ...seedField });
    } catch (error) {
      this.#options.log.debug("Cannot exchange gossip state", {
        with: `${to.host}:${to.port}`,
        error: describeError(error),
      });
      this.#handleEvent({ kind: "pushPullFailed", ...seedField });
    }
    // The list may have changed without a call of `seedsChanged`; reading it again is cheap.
    if (seed) this.seedsChanged();
  }

  #callApplication(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.#options.log.error("Cannot process a gossip callback", { error: describeError(error) });
    }
  }
}

const hostPort = ({ address, port }: Endpoint): HostPort => ({ host: addressToText(address), port });
const hostText = ({ address, port }: Endpoint) => `${addressToText(address)}:${port}`;
