/**
 * An idealised gossip: who can reach whom learns of him within a tick or two, who stays silent is suspected and then
 * dead, news spreads through third nodes, messages get lost. It is there so that the decisions can be tried without
 * the real protocol, and made worse than it.
 */
import type { GossipPeer, PeerFacts } from "../../lib/core/view.ts";
import type { Machine, World } from "./world.ts";

interface Heard {
  name: string;
  address: string;
  life: number;
  /** Newest metadata that arrived. */
  status: GossipPeer["status"];
  facts: PeerFacts | undefined;
  heardMs: number;
  state: GossipPeer["state"];
  sinceMs: number;
  go: boolean;
}

const suspectAfterMs = 1_500;
const deadAfterMs = 5_000;
const forgottenAfterMs = 45_000;

export class GossipModel {
  readonly #world: World;
  /** What each machine's process knows of the others. */
  readonly #known = new Map<string, Map<string, Heard>>();
  readonly #sent = new Map<string, string>();
  /** Chance that a round between two nodes fails. */
  loss: number;

  constructor(world: World) {
    this.#world = world;
    this.loss = world.options.calm === true ? 0 : 0.1;
  }

  boot(machine: Machine): void {
    this.#known.set(machine.name, new Map());
    this.#sent.delete(machine.name);
  }

  /** A crash is found out by silence, a leave is told. */
  silence(machine: Machine, how: "crash" | "leave"): void {
    this.#known.delete(machine.name);
    if (how === "crash") return;
    for (const [name, known] of this.#known) {
      const heard = known.get(machine.name);
      if (heard !== undefined && this.#world.connected(name, machine.name)) {
        heard.state = "left";
        heard.sinceMs = this.#world.nowMs;
      }
    }
  }

  /** Nothing waits for a paused machine here. */
  resume(_machine: Machine): void {}

  tick(): void {
    const world = this.#world;
    const running = [...world.machines.values()].filter((machine) => world.isUp(machine) && !machine.paused);
    for (const machine of running) {
      for (const other of running) {
        if (other === machine) continue;
        if (!this.#knows(machine, other) && !this.#knows(other, machine)) continue;
        if (world.random() < this.loss) continue;
        if (this.#path(machine, other, running)) this.#exchange(machine, other);
      }
    }
    for (const machine of running) {
      this.#age(machine);
      this.#tell(machine);
    }
  }

  #knows(machine: Machine, other: Machine): boolean {
    if (machine.settings.seeds.includes(`${other.address}:7980`)) return true;
    return this.#known.get(machine.name)!.has(other.name);
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
    this.#hear(known, {
      name: from.name,
      address: from.address,
      life: from.life,
      status: from.status,
      facts: from.node?.facts,
      heardMs: world.nowMs,
      state: "alive",
      sinceMs: world.nowMs,
      go: from.go,
    });
    // What the other knows of third nodes comes along.
    for (const third of this.#known.get(from.name)!.values()) {
      if (third.name !== to.name && !known.has(third.name) && third.state === "alive") {
        known.set(third.name, { ...third, sinceMs: world.nowMs });
      }
    }
  }

  #hear(known: Map<string, Heard>, news: Heard): void {
    const before = known.get(news.name);
    if (before !== undefined && before.life > news.life) return;
    if (before !== undefined && before.life === news.life && before.state === "alive") news.sinceMs = before.sinceMs;
    known.set(news.name, news);
  }

  #age(machine: Machine): void {
    const nowMs = this.#world.nowMs;
    const known = this.#known.get(machine.name)!;
    for (const heard of known.values()) {
      // After a pause everyone looks silent; the real protocol probes again before it accuses.
      const silentMs = nowMs - heard.heardMs;
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
      go: heard.go,
      ...(heard.facts === undefined || heard.go ? {} : { facts: heard.facts }),
    }));
    if (machine.goNode !== undefined) machine.goNode.heard = peers;
    this.#world.deliver(machine, { kind: "gossip", joined: peers.length > 0, peers });
  }
}
