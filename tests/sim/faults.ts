/** Ordinary faults of a simulated world: machines, disks, the network, and operators who scale, upgrade and stop. */
import type { Command } from "../../lib/core/facts/command.ts";
import { configOf } from "./fake_etcd.ts";
import { type Machine, production, type World } from "./world.ts";

export class Faults {
  readonly #world: World;
  /** Number of machines so far: each new one gets a new name. */
  #next: number;

  constructor(world: World, machines: number) {
    this.#world = world;
    this.#next = machines;
  }

  seeds(names: readonly string[]): string[] {
    return names.map((name) => `${this.#world.machines.get(name)?.address ?? name}:7980`);
  }

  kinds(): string[] {
    const world = this.#world;
    return [
      "kill",
      "kill",
      "restart",
      "restart",
      "killAll",
      "loseDisk",
      "loseDisk",
      "replace",
      "replace",
      "pause",
      "pause",
      "partition",
      "partition",
      "oneWay",
      "heal",
      "slow",
      "address",
      "stop",
      ...world.options.seed % 4 === 1 ? ["scale", "scale", "upgrade"] : [],
      ...world.referee.recoveriesAllowed ? ["loseMajority", "loseMajority", "store"] : [],
    ];
  }

  fault(kinds: readonly string[] = this.kinds()): void {
    const kind = this.#world.pick(kinds);
    const cause = this.#faults[kind];
    if (cause === undefined) throw new Error(`no fault is called ${kind}`);
    cause();
  }

  readonly #faults: Readonly<Record<string, () => void>> = {
    kill: () => this.#oneUp((machine) => this.#world.kill(machine)),
    restart: () => this.#restart(),
    killAll: () => this.#killAll(),
    loseDisk: () => this.#loseDisk(),
    replace: () => this.#replace(),
    pause: () => this.#oneUp((machine) => this.#pause(machine)),
    partition: () => this.#partition(),
    oneWay: () => this.#cutOneWay(),
    heal: () => {
      this.#world.trace("the network heals");
      this.#world.cut.clear();
    },
    slow: () => this.#toggleSlow(),
    address: () => this.#changeAddress(),
    stop: () =>
      this.#oneUp((machine) => {
        this.#world.trace(`${machine.name} is asked to stop`);
        this.#world.deliver(machine, { kind: "stop" });
      }),
    scale: () => this.#runAtLeader(() => ({ kind: "scale", to: this.#world.pick([1, 3, 5]), dryRun: false })),
    upgrade: () => this.#runAtLeader(() => ({ kind: "upgrade", to: "3.7", dryRun: false })),
    store: () => this.#breakStore(),
    loseMajority: () => this.#loseMajority(),
  };

  #oneUp(cause: (machine: Machine) => void): void {
    const up = [...this.#world.machines.values()].filter((machine) => machine.node !== undefined);
    if (up.length > 0) cause(this.#world.pick(up));
  }

  /** Boots again within this time. */
  #bootWithin(machine: Machine, ms: number): void {
    this.#world.at(this.#world.below(ms), () => this.#world.boot(machine));
  }

  #restart(): void {
    const world = this.#world;
    const down = [...world.machines.values()].filter((machine) => machine.node === undefined);
    for (const machine of down) if (world.random() < 0.6) world.boot(machine);
  }

  #killAll(): void {
    const world = this.#world;
    for (const machine of world.machines.values()) if (machine.node !== undefined) world.kill(machine);
    for (const machine of world.machines.values()) if (world.random() < 0.8) this.#bootWithin(machine, 4_000);
  }

  #loseDisk(): void {
    const world = this.#world;
    const machine = world.pick([...world.machines.values()]);
    if (!this.#canLose(machine)) return;
    world.kill(machine);
    world.loseDisk(machine);
    this.#bootWithin(machine, 8_000);
  }

  #replace(): void {
    const world = this.#world;
    const machine = world.pick([...world.machines.values()]);
    if (!this.#canLose(machine) || this.#next > 7) return;
    world.kill(machine);
    world.loseDisk(machine);
    world.machines.delete(machine.name);
    const name = "abcdefgh"[this.#next++]!;
    const seeds = this.seeds([name, ...world.machines.keys()]);
    this.#bootWithin(world.addMachine(name, { settings: { seeds } }), 8_000);
  }

  #pause(machine: Machine): void {
    const world = this.#world;
    world.pause(machine, world.random() < 0.5);
    world.at(world.pick([1_500, 8_000, 25_000]), () => world.resume(machine));
  }

  #partition(): void {
    const world = this.#world;
    const side = new Set([...world.machines.keys()].filter(() => world.random() < 0.4));
    world.trace(`partition: ${[...side].join(" ")} | the rest`);
    for (const a of world.machines.keys()) {
      for (const b of world.machines.keys()) if (side.has(a) !== side.has(b)) world.cut.add(`${a} ${b}`);
    }
  }

  #cutOneWay(): void {
    const world = this.#world;
    const [a, b] = [world.pick([...world.machines.keys()]), world.pick([...world.machines.keys()])];
    world.trace(`packets from ${a} to ${b} are lost`);
    if (a !== b) world.cut.add(`${a} ${b}`);
  }

  #toggleSlow(): void {
    const world = this.#world;
    const machine = world.pick([...world.machines.values()]);
    machine.slow = !machine.slow;
    const member = world.memberOf(machine.name);
    if (member !== undefined) member.slow = machine.slow;
  }

  #changeAddress(): void {
    const world = this.#world;
    const machine = world.pick([...world.machines.values()]);
    if (world.size === 1 || !this.#addressesKnown()) return;
    world.kill(machine);
    const old = `${machine.address}:7980`;
    machine.address = `${machine.name}${1 + world.below(900)}`;
    world.trace(`${machine.name} moves to ${machine.address}`);
    for (const other of world.machines.values()) {
      const seeds = other.settings.seeds.map((seed) => seed === old ? `${machine.address}:7980` : seed);
      other.settings = { ...other.settings, seeds };
      world.deliver(other, { kind: "settings", settings: other.settings });
    }
    this.#bootWithin(machine, 3_000);
  }

  #runAtLeader(command: () => Command): void {
    const leading = this.#world.leading();
    if (leading !== undefined && !leading.paused) this.#world.operators.send(leading, command());
  }

  #breakStore(): void {
    const world = this.#world;
    world.trace("the store cannot be read for a while");
    if (world.store.kind !== "newest") return;
    const before = world.store;
    world.store = { kind: "unreadable", why: "503" };
    world.at(15_000, () => world.store = before);
  }

  #loseMajority(): void {
    const world = this.#world;
    const holders = [...world.machines.values()].filter((machine) => machine.disk.data !== undefined);
    const lost = holders.slice(0, Math.floor(world.size / 2) + 1 + world.below(2));
    for (const machine of lost) {
      world.kill(machine);
      world.loseDisk(machine);
      this.#bootWithin(machine, 8_000);
    }
  }

  /** A disk may be lost while the other voters are still a quorum with every acknowledged write. */
  #canLose(machine: Machine): boolean {
    const world = this.#world;
    if (world.size === 1) return false;
    const data = machine.disk.data;
    const others = [...world.machines.values()].filter((other) => other !== machine);
    const newest = [...world.machines.values()].map((each) => each.disk.data).filter((each) => each !== undefined)
      .sort((a, b) => b.commit - a.commit)[0];
    if (newest === undefined) {
      // No node has data: only one pledge may be lost, or too few initial members remember the bootstrap.
      return machine.disk.record === undefined && others.every((other) => other.disk.record === undefined);
    }
    if (data === undefined) return machine.disk.record === undefined;
    const voters = configOf(newest).filter((member) => !member.isLearner);
    const quorum = Math.floor(voters.length / 2) + 1;
    // A membership change that is not committed everywhere makes it unclear whose quorum counts.
    if (
      others.some((each) => each.disk.data !== undefined && configOf(each.disk.data).length !== configOf(newest).length)
    ) {
      return false;
    }
    if (configOf(newest).some((member) => member.isLearner)) return false;
    const whole = others.filter((other) =>
      other.disk.data !== undefined && other.disk.data.clusterId === newest.clusterId &&
      other.disk.data.log.length >= newest.commit &&
      voters.some((member) => member.id === other.disk.data!.memberId)
    );
    return whole.length >= quorum;
  }

  /** One move at a time: two members that both moved cannot find each other, as in real etcd. */
  #addressesKnown(): boolean {
    return [...this.#world.machines.values()].every((machine) => {
      const data = machine.disk.data;
      if (data === undefined) return true;
      return configOf(data).every((member) => {
        const named = this.#world.machines.get(member.name);
        return named === undefined || member.peerUrl === this.#world.identity(named).peerUrl;
      });
    });
  }

  /** Undoes all changes of these faults and starts every machine. */
  healAll(): void {
    const world = this.#world;
    world.trace("all faults end");
    world.cut.clear();
    // Machines that are gone permanently are removed from the bootstrap lists, as discovery would do.
    // Without data and snapshots, nodes that have seen the cluster wait until an operator discards it.
    const allLost = world.store.kind === "absent" &&
      [...world.machines.values()].every((machine) => machine.disk.data === undefined);
    const givenUp = allLost ? { newCluster: `after-${Math.floor(world.nowMs)}` } : {};
    if (allLost) world.referee.evidence.giveUp(production);
    for (const machine of world.machines.values()) {
      const own = [...world.machines.values()].filter(({ owner }) => owner === machine.owner).map(({ name }) => name);
      machine.settings = { ...machine.settings, ...givenUp, seeds: this.seeds(own) };
      world.deliver(machine, { kind: "settings", settings: machine.settings });
    }
    for (const machine of world.machines.values()) {
      world.resume(machine);
      machine.slow = false;
      const member = world.memberOf(machine.name);
      if (member !== undefined) member.slow = false;
      world.boot(machine);
    }
  }
}
