/** The operations that a kind of trouble needs: queries for machines, time, and a separate random generator. */
import type { Faults } from "./faults.ts";
import { configOf, type EtcdData, type Member } from "./fake_etcd.ts";
import type { Prng } from "./prng.ts";
import { type Disk, type Machine, type MachineOptions, production, type World } from "./world.ts";
import type { NodeRecord } from "../../lib/core/facts/node_record.ts";

export class Scene {
  readonly world: World;
  /** Its draws do not change histories without trouble. */
  readonly chance: Prng;
  readonly faults: Faults;
  /** Run when all trouble ends, newest first. */
  readonly mends: (() => void)[] = [];
  #machines = 0;

  constructor(world: World, chance: Prng, faults: Faults) {
    this.world = world;
    this.chance = chance;
    this.faults = faults;
  }

  run(ms: number): void {
    this.world.run(this.world.nowMs + ms);
  }

  /** Runs until `done`, at most for `ms`; false: `done` never became true. */
  runUntil(done: () => boolean, ms: number, stepMs = 200): boolean {
    const untilMs = this.world.nowMs + ms;
    while (!done() && this.world.nowMs < untilMs) this.run(stepMs);
    return done();
  }

  machines(owner = production): Machine[] {
    return [...this.world.machines.values()].filter((machine) => machine.owner === owner);
  }

  leader(owner = production): Member | undefined {
    return [...this.world.etcds.running.values()].find((member) =>
      member.leaderId === member.data.memberId && this.world.machines.get(member.node)?.owner === owner &&
      this.world.etcds.hasQuorum(member)
    );
  }

  /** Machines with the data of voters of the running cluster; without a running cluster, all machines with data. */
  members(owner = production): Machine[] {
    const leader = this.leader(owner);
    const voters = leader === undefined ? undefined : configOf(leader.data).filter((each) => !each.isLearner);
    return this.machines(owner).filter(({ disk: { data } }) =>
      data !== undefined && (voters === undefined ||
        data.clusterId === leader!.data.clusterId && voters.some(({ id }) => id === data.memberId))
    );
  }

  some<T>(from: readonly T[], count: number): T[] {
    const rest = [...from];
    const taken: T[] = [];
    while (taken.length < count && rest.length > 0) taken.push(...rest.splice(this.chance.below(rest.length), 1));
    return taken;
  }

  /** An additional machine, which boots on request. */
  add(options: MachineOptions & { nodeName?: string }): Machine {
    const name = `t${this.#machines++}`;
    return this.world.addMachine(name, options);
  }

  /** Removes a machine permanently, with its disk. */
  scrap(machine: Machine): void {
    const { world } = this;
    if (world.machines.get(machine.name) !== machine) return;
    world.kill(machine);
    if (machine.disk.data !== undefined) world.loseDisk(machine);
    world.machines.delete(machine.name);
  }

  /** Stops these machines and gives them other addresses, which the bootstrap lists of all machines name from now on. */
  move(addresses: ReadonlyMap<Machine, string>): void {
    const { world } = this;
    const old = new Map([...addresses].map(([machine, to]) => [`${machine.address}:7980`, `${to}:7980`]));
    for (const [machine, to] of addresses) {
      world.kill(machine);
      machine.address = to;
    }
    world.trace([...addresses].map(([{ name }, to]) => `${name} moves to ${to}`).join(", "));
    for (const machine of this.machines([...addresses.keys()][0]?.owner)) {
      const seeds = machine.settings.seeds.map((seed) => old.get(seed) ?? seed);
      machine.settings = { ...machine.settings, seeds };
      world.deliver(machine, { kind: "settings", settings: machine.settings });
    }
  }

  reboot(machine: Machine, withinMs = 3_000): void {
    this.world.kill(machine);
    this.bootSoon(machine, withinMs);
  }

  bootSoon(machine: Machine, withinMs = 3_000): void {
    this.world.at(this.chance.below(withinMs), () => {
      if (this.world.machines.get(machine.name) === machine) this.world.boot(machine);
    });
  }

  restartAll(machines: readonly Machine[], withinMs = 4_000): void {
    for (const machine of machines) this.world.kill(machine);
    for (const machine of machines) this.bootSoon(machine, withinMs);
  }

  /** Advances by more than the quorum-loss time-out. */
  pastTheTimeoutMs(): number {
    const ms = this.machines()[0]!.settings.quorumLossTimeoutMs;
    return (ms === "never" ? 20_000 : ms) + this.chance.between(4_000, 12_000);
  }

  /** Ends the present ordinary faults. */
  calm(): void {
    this.world.cut.clear();
    for (const machine of this.world.machines.values()) {
      this.world.resume(machine);
      this.world.boot(machine);
    }
  }

  settle(ms = 40_000, owner = production): boolean {
    return this.runUntil(() => {
      const leader = this.leader(owner);
      const members = this.members(owner);
      return leader !== undefined && members.length >= this.world.size &&
        members.every(({ node }) => node?.phase === "serving");
    }, ms);
  }
}

/** A disk with the same content, entry for entry. */
export function copyOf(disk: Disk): Disk {
  return { ...disk, data: copyOfData(disk.data), record: disk.record && structuredClone(disk.record) as NodeRecord };
}

function copyOfData(data: EtcdData | undefined): EtcdData | undefined {
  return data && { ...data, log: [...data.log] };
}
