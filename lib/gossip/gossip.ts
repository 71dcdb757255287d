/**
 * One gossip node: joins the pure core to sockets, time and chance. Feeds what happens into the core, performs what it
 * asks for, and tells the application of members and messages. Errors are told and counted; none ends it.
 */
import { describeError, E2dError } from "../errors.ts";
import type { Clock, Connections, Datagrams, HostPort, Logger, Random } from "../ports.ts";
import { addressFromText, addressToText } from "./address.ts";
import { Keyring } from "./keyring.ts";
import { labelBytes, labelHeaderBytes } from "./label.ts";
import type { Message, Versions } from "./message.ts";
import type { TransportMetrics } from "./metrics.ts";
import { sealOverheadBytes } from "./seal.ts";
import { Swim } from "./swim.ts";
import { lanConfig, type SwimConfig } from "./swim_config.ts";
import type { Endpoint, Member, MemberChange, SwimEffect, SwimEvent, SwimMetrics } from "./swim_types.ts";
import { openTransport, type Transport } from "./transport.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface GossipOptions {
  /** Unique in the cluster. */
  name: string;
  /** Where this node listens, UDP and TCP alike. */
  bind: HostPort;
  /** What others are told to use: an IP address, port 0 for the one that is bound. */
  advertise: HostPort;
  /** Application data of this node, at most 512 bytes. */
  meta: Bytes;
  /** The sealing key first; none: nothing is encrypted. */
  keys?: readonly Uint8Array[];
  /** Newer memberlist nodes alone know labels; a cluster with nodes of the Go original has none. */
  label?: string;
  /** Whom to ask for the cluster; asked again whenever gossip wants them. Host names and own addresses are fine. */
  seeds: () => readonly HostPort[];
  /** Default true. */
  compress?: boolean;
  /** Protocol versions to claim; for peers that insist on delegate versions, as serf does. */
  versions?: Versions;
  config?: Partial<SwimConfig>;
  bindDatagrams: (at: HostPort) => Promise<Datagrams>;
  connections: Connections;
  clock: Clock;
  random: Random;
  log: Logger;
  /** Called for each change, one at a time, after the list of members has it. */
  onMember?: (change: MemberChange, member: Member) => void;
  /** Called for each message of the application, broadcast or sent to this node alone. */
  onMessage?: (data: Bytes) => void;
}

export interface GossipMetrics extends SwimMetrics, TransportMetrics {
  /** Broadcasts that wait: memberlist's own, the application's. */
  queued: number;
  userQueued: number;
  /** Lifeguard's score: 0 is good health, 7 the worst. */
  health: number;
  members: Record<Member["state"], number>;
}

export interface Gossip {
  /** The bound address. */
  readonly local: HostPort;
  /** All known members, this node, the dead and those that have left among them. */
  members(): Member[];
  /** Tells everybody of new metadata. Throws E2dError `gossip_meta` above 512 bytes. */
  setMeta(meta: Bytes): void;
  /**
   * Tells everybody, as well as gossip can; replaces what still waits under the same key.
   * Throws E2dError `gossip_too_long` or `gossip_busy`.
   */
  broadcast(data: Bytes, key: string): void;
  /** Hands data to one living member over a stream, up to 2 MiB. Throws E2dError `gossip_no_member` or of the stream. */
  send(name: string, data: Bytes): Promise<void>;
  /** The keys, to be changed at run time; undefined for a node without encryption. */
  readonly keyring: Keyring | undefined;
  metrics(): GossipMetrics;
  /** Asks `seeds` anew; whoever is new among them is asked for the cluster at once. */
  seedsChanged(): void;
  /** Tells the others that this node goes on purpose, and resolves when that is told or `timeoutMs` is over. */
  leave(timeoutMs?: number): Promise<void>;
  /** Stops at once and frees the sockets. Without `leave` before, others find out by probing. */
  close(): Promise<void>;
}

/** How long a leave may take to be told: the queue drains in a second or two. */
const leaveTimeoutMs = 5000;

/**
 * Binds the sockets and starts. Throws E2dError `address_in_use`, `udp_listen`, `tcp_listen`, `gossip_address` (nothing
 * to advertise), `gossip_meta`, `gossip_key` or `gossip_label`.
 */
export async function startGossip(options: GossipOptions): Promise<Gossip> {
  const advertised = addressFromText(options.advertise.host);
  if (advertised === undefined || advertised.every((byte) => byte === 0)) {
    throw new E2dError("gossip_address", `Cannot advertise "${options.advertise.host}": it is no address of a node`, {
      hint: "name an IP address that the other nodes can reach",
    });
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
  #leaveTold: (() => void) | undefined;

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
        packet: (messages, from) => node.#packet(messages, from),
        pushPull: (request) => node.#swim.state(request.join),
        pushPullAnswered: (state) => node.#feed({ kind: "pushPull", state }),
        ping: (ping) => ping.node === "" || ping.node === options.name,
        user: (data) => node.#perform({ kind: "user", data }),
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

  setMeta(meta: Bytes): void {
    this.#command({ kind: "setMeta", meta });
  }

  broadcast(data: Bytes, key: string): void {
    this.#command({ kind: "broadcast", data, key });
  }

  async send(name: string, data: Bytes): Promise<void> {
    const member = this.#swim.members().find((member) => member.name === name);
    if (member === undefined || member.state === "dead" || member.state === "left") {
      throw new E2dError("gossip_no_member", `Cannot send to "${name}": no living member has that name`);
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
    const told = new Promise<void>((resolve) => this.#leaveTold = resolve);
    this.#command({ kind: "leave" });
    const timeout = new AbortController();
    const timer = this.#options.clock.sleep(timeoutMs, AbortSignal.any([timeout.signal, this.#closing.signal]));
    await Promise.race([told, timer.catch(() => {})]);
    timeout.abort();
  }

  seedsChanged(): void {
    if (!this.#closing.signal.aborted) this.#feed({ kind: "setSeeds", seeds: this.#options.seeds() });
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#rearm.abort();
    await Promise.all([this.#transport.close(), this.#running]);
  }

  /** Wakes the core when it wants to be woken, until closed. */
  async #run(): Promise<void> {
    const { clock } = this.#options;
    this.#feed({ kind: "setSeeds", seeds: this.#options.seeds() });
    while (!this.#closing.signal.aborted) {
      this.#rearm = new AbortController();
      this.#armedMs = this.#swim.wakeAtMs;
      try {
        const waitMs = Math.max(0, this.#armedMs - clock.monotonicMs());
        await clock.sleep(waitMs, this.#rearm.signal);
      } catch {
        continue; // Something earlier came up, or this is the end.
      }
      this.#feed({ kind: "wake" });
    }
  }

  #packet(messages: readonly Message[], from: HostPort): void {
    const address = addressFromText(from.host);
    if (address !== undefined) this.#feed({ kind: "packet", messages, from: { address, port: from.port } });
  }

  /** A command of the application: its mistakes are its own to hear of. */
  #command(event: SwimEvent): void {
    if (this.#closing.signal.aborted) throw new E2dError("gossip_closed", "Cannot go on: gossip is closed");
    for (const effect of this.#swim.step(event, this.#options.clock.monotonicMs())) this.#perform(effect);
    if (this.#swim.wakeAtMs < this.#armedMs) this.#rearm.abort();
  }

  /** Something that happened. Whatever goes wrong with it is told and goes no further. */
  #feed(event: SwimEvent): void {
    if (this.#closing.signal.aborted) return;
    try {
      this.#command(event);
    } catch (error) {
      this.#options.log.error(`gossip: "${event.kind}" failed`, { error: describeError(error) });
    }
  }

  #perform(effect: SwimEffect): void {
    const { log, onMember, onMessage } = this.#options;
    switch (effect.kind) {
      case "send":
        return this.#transport.send(hostPort(effect.to), effect.messages);
      case "pushPull":
        return void this.#exchange(hostPort(effect.to), effect.join, undefined);
      case "pushPullSeed":
        return void this.#exchange(effect.to, effect.join, effect.to);
      case "streamPing":
        return void this.#transport.ping(hostPort(effect.to), effect.ping, effect.timeoutMs).then((answered) => {
          if (answered) this.#feed({ kind: "streamPingAnswered", sequence: effect.ping.sequence });
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
        return this.#call(() => onMember?.(change, member));
      }
      case "user":
        return this.#call(() => onMessage?.(effect.data));
      case "note":
        return log[effect.level](`gossip: ${effect.text}`, { about: effect.about });
      case "leaveTold":
        return this.#leaveTold?.();
      default:
        return effect satisfies never;
    }
  }

  async #exchange(to: HostPort, join: boolean, seed: HostPort | undefined): Promise<void> {
    const asked = seed === undefined ? {} : { seed };
    try {
      const state = await this.#transport.pushPull(to, this.#swim.state(join));
      this.#feed({ kind: "pushPull", state, ...asked });
    } catch (error) {
      this.#options.log.debug("gossip: no exchange of states", {
        with: `${to.host}:${to.port}`,
        error: describeError(error),
      });
      this.#feed({ kind: "pushPullFailed", ...asked });
    }
    // The list may have changed unannounced; asking is cheap, and an exchange is the moment it matters.
    if (seed) this.seedsChanged();
  }

  #call(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.#options.log.error("gossip: the application failed on what it was told", { error: describeError(error) });
    }
  }
}

const hostPort = ({ address, port }: Endpoint): HostPort => ({ host: addressToText(address), port });
const hostText = ({ address, port }: Endpoint) => `${addressToText(address)}:${port}`;
