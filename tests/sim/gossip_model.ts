/**
 * An idealised gossip: reachable nodes learn of each other within two ticks, a silent node is suspect and then dead, news
 * spreads through third nodes, messages get lost. It tests the decisions without the real protocol, and under worse
 * conditions.
 */
import type { Machine, World } from "./world.ts";
import type { GossipPeer, NameConflict, PeerFacts } from "../../lib/core/facts/peer.ts";

interface Heard {
  /** Of the node. */
  name: string;
  /** Of the machine. */
  machine: string;
  address: string;
  life: number;
  /** Newest metadata that arrived. */
  status: GossipPeer["status"];
  facts: PeerFacts | undefined;
  heardMs: number;
  state: GossipPeer["state"];
  sinceMs: number;
  isLegacy: boolean;
  /** Nodes of another cluster, which are excluded. */
  shunned: boolean;
}

const suspectAfterMs = 1_500;
const deadAfterMs = 5_000;
const forgottenAfterMs = 45_000;
const shunnedKeptMs = 90_000;
/** Time for which a second address that claims a name is remembered. */
const conflictMs = 10_000;

export class GossipModel {
  readonly #world: World;
  /** What each machine's process knows of the others. */
  readonly #known = new Map<string, Map<string, Heard>>();
  readonly #sent = new Map<string, string>();
  /** Second claims to a name that each machine's process has heard: name → address and when. */
  readonly #claims = new Map<string, Map<string, { address: string; atMs: number }>>();
  /** Chance that a round between two nodes fails. */
  loss: number;

  constructor(world: World) {
    this.#world = world;
    this.loss = world.options.calm === true ? 0 : 0.1;
  }

  boot(machine: Machine): void {
    this.#known.set(machine.name, new Map());
    this.#sent.delete(machine.name);
    this.#claims.set(machine.name, new Map());
  }

  /** A crash is detected by silence, a leave is announced. */
  silence(machine: Machine, how: "crash" | "leave"): void {
    this.#known.delete(machine.name);
    this.#claims.delete(machine.name);
    if (how === "crash") return;
    for (const [name, known] of this.#known) {
      const heard = known.get(machine.nodeName);
      if (heard?.machine === machine.name && this.#world.connected(name, machine.name)) {
        heard.state = "left";
        heard.sinceMs = this.#world.nowMs;
      }
    }
  }

  /** No message waits for a paused machine here. */
  resume(_machine: Machine): void {}

  /** As in the real protocol: no news goes to these nodes or about them, and they are forgotten without news. */
  shun(machine: Machine, names: readonly string[]): void {
    for (const heard of this.#known.get(machine.name)!.values()) {
      const there = heard.state === "alive" || heard.state === "suspect";
      heard.shunned = names.includes(heard.name) && (heard.shunned || there);
    }
  }

  #shuns(machine: Machine, other: Machine): boolean {
    const heard = this.#known.get(machine.name)!.get(other.nodeName);
    return heard?.machine === other.name && heard.shunned;
  }

  tick(): void {
    const world = this.#world;
    const running = [...world.machines.values()].filter((machine) => world.isUp(machine) && !machine.paused);
    for (const machine of running) {
      for (const other of running) {
        if (other === machine) continue;
        if (!this.#knows(machine, other) && !this.#knows(other, machine)) continue;
        if (world.random() < this.loss) continue;
        if (!this.#path(machine, other, running)) continue;
        if (this.#shuns(machine, other)) {
          if (!this.#shuns(other, machine)) this.#known.get(machine.name)!.get(other.nodeName)!.heardMs = world.nowMs;
        } else if (!this.#shuns(other, machine)) this.#exchange(machine, other);
      }
    }
    for (const machine of running) {
      this.#age(machine);
      this.#tell(machine);
    }
  }

  #knows(machine: Machine, other: Machine): boolean {
    if (machine.settings.seeds.includes(`${other.address}:7980`)) return true;
    return this.#known.get(machine.name)!.get(other.nodeName)?.machine === other.name;
  }

  /** Directly, or through one helper: memberlist's indirect probe. */
  #path(a: Machine, b: Machine, running: readonly Machine[]): boolean {
    const world = this.#world;
    if (world.connected(a.name, b.name)) return true;
    return running.some((helper) =>
      helper !== a && helper !== b && world.connected(a.name, helper.name) && world.connected(helper.name, b.name)
    );
  }

  #exchange(to: Machine, from: Machine): void {
    const known = this.#known.get(to.name)!;
    const world = this.#world;
    this.#hear(to, known, {
      name: from.nodeName,
      machine: from.name,
      address: from.address,
      life: from.life,
      status: from.status,
      facts: from.node?.gossip.facts,
      heardMs: world.nowMs,
      state: "alive",
      sinceMs: world.nowMs,
      isLegacy: from.go,
      shunned: false,
    });
    // The message includes the other node's knowledge of third nodes.
    for (const third of this.#known.get(from.name)!.values()) {
      if (third.name !== to.nodeName && !known.has(third.name) && third.state === "alive" && !third.shunned) {
        known.set(third.name, { ...third, sinceMs: world.nowMs });
      }
    }
  }

  #hear(to: Machine, known: Map<string, Heard>, news: Heard): void {
    const before = known.get(news.name);
    // Of two that claim one name the first that was heard keeps it while it is alive.
    const other = news.name === to.nodeName || before !== undefined && before.machine !== news.machine &&
        (before.state === "alive" || before.state === "suspect");
    if (other) {
      this.#claims.get(to.name)!.set(news.name, { address: `${news.address}:7980`, atMs: news.heardMs });
      return;
    }
    if (before?.machine === news.machine && before.life > news.life) return;
    if (before?.machine === news.machine && before.life === news.life && before.state === "alive") {
      news.sinceMs = before.sinceMs;
    }
    known.set(news.name, news);
  }

  #age(machine: Machine): void {
    const nowMs = this.#world.nowMs;
    const known = this.#known.get(machine.name)!;
    for (const heard of known.values()) {
      // After a pause every node looks silent; the real protocol probes again before it suspects.
      const silentMs = nowMs - heard.heardMs;
      if (heard.shunned) {
        if (silentMs > shunnedKeptMs) known.delete(heard.name);
        continue;
      }
      if (heard.state === "alive" && silentMs > suspectAfterMs) {
        heard.state = "suspect";
        heard.sinceMs = nowMs;
      } else if (heard.state === "suspect" && nowMs - heard.sinceMs > deadAfterMs - suspectAfterMs) {
        heard.state = "dead";
        heard.sinceMs = nowMs;
      } else if (
        (heard.state === "dead" || heard.state === "left") && nowMs - heard.sinceMs > forgottenAfterMs
      ) known.delete(heard.name);
    }
  }

  #tell(machine: Machine): void {
    const known = this.#known.get(machine.name)!;
    let key = "";
    for (const heard of known.values()) {
      key += `${heard.name} ${heard.life} ${heard.state} ${heard.status} ${heard.facts?.sequence};`;
    }
    const conflicts = this.#conflicts(machine, known);
    for (const { name, addresses } of conflicts) key += `${name} ${addresses};`;
    if (key === this.#sent.get(machine.name)) return;
    this.#sent.set(machine.name, key);
    const peers = [...known.values()].sort((a, b) => a.name < b.name ? -1 : 1).map((heard): GossipPeer => ({
      name: heard.name,
      peerUrl: `http://${heard.address}:2380`,
      clientUrl: `http://${heard.address}:2379`,
      gossipAddr: `${heard.address}:7980`,
      state: heard.state,
      sinceMs: heard.sinceMs,
      status: heard.status,
      isLegacy: heard.isLegacy,
      ...(heard.facts === undefined || heard.isLegacy ? {} : { facts: heard.facts }),
    }));
    if (machine.goNode !== undefined) machine.goNode.heard = peers;
    this.#world.deliver(machine, {
      kind: "gossip",
      joined: peers.length > 0,
      peers,
      ...(conflicts.length === 0 ? {} : { conflicts }),
    });
  }

  #conflicts(machine: Machine, known: Map<string, Heard>): NameConflict[] {
    const claims = this.#claims.get(machine.name)!;
    const conflicts: NameConflict[] = [];
    for (const [name, { address, atMs }] of claims) {
      const holder = name === machine.nodeName ? machine.address : known.get(name)?.address;
      if (this.#world.nowMs - atMs > conflictMs || holder === undefined) claims.delete(name);
      else if (`${holder}:7980` !== address) conflicts.push({ name, addresses: [`${holder}:7980`, address] });
    }
    return conflicts;
  }
}
