/**
 * A legacy peer (the Go original) in the simulated world: it bootstraps when N nodes report Pending, with all known
 * nodes; joins as a voter through a Running member; removes a silent member after the time-out, independently of other
 * nodes. Its mistakes are kept: it deletes its data-dir when it joins.
 */
import { bootstrappedData, configOf, Refusal } from "./fake_etcd.ts";
import type { Machine, World } from "./world.ts";
import type { GossipPeer } from "../../lib/core/facts/peer.ts";

const healthCheckMs = 5_000;

export class GoNode {
  heard: readonly GossipPeer[] = [];
  readonly #world: World;
  readonly #machine: Machine;
  readonly #suspects = new Map<string, number>();
  #started = false;
  #quorum = false;

  constructor(world: World, machine: Machine) {
    this.#world = world;
    this.#machine = machine;
    const life = machine.life;
    const again = () => {
      if (machine.life !== life || machine.goNode !== this) return;
      if (!machine.paused) this.#second();
      world.at(1_000, again);
    };
    world.at(1_000, again);
  }

  #second(): void {
    if (!this.#started) this.#foundOrJoin();
    else if (this.#world.memberOf(this.#machine.name) !== undefined) this.#watch();
  }

  #present(): readonly GossipPeer[] {
    return this.heard.filter((peer) => peer.state === "alive" || peer.state === "suspect");
  }

  #foundOrJoin(): void {
    const machine = this.#machine;
    const size = machine.settings.requiredSize;
    const others = this.#present();
    for (const peer of others) if (peer.status === "running" && this.#join(peer)) return;
    if (others.length + 1 < size) return;
    machine.status = "pending";
    if (others.filter((peer) => peer.status === "pending").length + 1 < size) return;
    const self = this.#world.identity(machine);
    const initialMembers = [...others.map(({ name, peerUrl, clientUrl }) => ({ name, peerUrl, clientUrl })), self]
      .sort((a, b) => a.name < b.name ? -1 : 1);
    if (machine.disk.data === undefined) {
      machine.disk.data = bootstrappedData(initialMembers, "etcd-cluster", machine.name, this.#world.etcds.firstLogs);
    }
    this.#world.trace(`${machine.name} (go) bootstraps with ${initialMembers.map((each) => each.name).join(" ")}`);
    this.#start();
  }

  #join(peer: GossipPeer): boolean {
    const world = this.#world;
    const machine = this.#machine;
    const member = [...world.etcds.running.values()].find((each) => each.clientUrl === peer.clientUrl);
    if (member === undefined || !world.connected(machine.name, member.node)) return false;
    const config = configOf(member.data);
    const self = world.identity(machine);
    const own = config.find((each) => each.name === machine.name);
    if (own !== undefined && machine.disk.data?.memberId === own.id) {
      this.#start();
      return true;
    }
    // Every peer must have a name, and there must be enough of them.
    if (config.some((each) => each.name === "") || config.length + 1 < machine.settings.requiredSize) return false;
    machine.disk.data = undefined;
    try {
      if (own !== undefined) world.etcds.change(member, { kind: "remove", id: own.id });
      const id = world.etcds.change(member, {
        kind: "add",
        peerUrl: self.peerUrl,
        salt: `${world.nowMs} ${machine.name}`,
        voter: true,
      });
      machine.disk.data = {
        clusterId: member.data.clusterId,
        memberId: id,
        token: member.data.token,
        term: 0,
        log: [],
        commit: 0,
      };
    } catch (error) {
      if (error instanceof Refusal) return false;
      throw error;
    }
    world.trace(`${machine.name} (go) joins`);
    this.#start();
    return true;
  }

  #start(): void {
    const machine = this.#machine;
    const identity = this.#world.identity(machine);
    this.#started = true;
    this.#world.referee.started(machine, machine.disk.data!);
    this.#world.etcds.start({
      node: machine.name,
      name: identity.name,
      peerUrl: identity.peerUrl,
      clientUrl: identity.clientUrl,
      data: machine.disk.data!,
      frozen: false,
      slow: false,
    });
  }

  /** Its etcd has a leader and knows its name. */
  ready(): void {
    this.#machine.status = "running";
  }

  #watch(): void {
    const world = this.#world;
    const machine = this.#machine;
    const running = this.#present().filter((peer) => peer.status === "running").length + 1;
    const quorum = running > machine.settings.requiredSize / 2;
    if (quorum !== this.#quorum) this.#suspects.clear();
    this.#quorum = quorum;
    for (const peer of this.heard) {
      const gone = peer.state === "dead" || peer.state === "left";
      if (!gone) this.#suspects.delete(peer.name);
      else if (!this.#suspects.has(peer.name)) this.#suspects.set(peer.name, world.nowMs);
    }
    if (!quorum) return;
    const member = world.memberOf(machine.name)!;
    for (const [name, since] of this.#suspects) {
      const listed = configOf(member.data).find((each) => each.name === name);
      if (listed === undefined || world.nowMs - since < healthCheckMs) continue;
      try {
        world.etcds.change(member, { kind: "remove", id: listed.id });
        world.trace(`${machine.name} (go) removed ${name}`);
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
      }
    }
    // A new node at a listed member's address under another name: the old member is removed immediately.
    for (const peer of this.#present()) {
      const listed = configOf(member.data).find((each) => each.peerUrl === peer.peerUrl);
      if (listed === undefined || listed.name === "" || listed.name === peer.name) continue;
      try {
        world.etcds.change(member, { kind: "remove", id: listed.id });
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
      }
    }
  }
}
