/**
 * Watches every step of a simulated world for what must never happen: two living clusters, a member that starts again
 * from nothing, a quorum lost through a deed of ours, an acknowledged write that a leader does not have.
 */
import type { Lineage } from "../../lib/core/view.ts";
import { configOf, type ConfMember, type EtcdData, type Member, valuesOf } from "./fake_etcd.ts";
import type { Machine, World } from "./world.ts";

interface Cluster {
  lineage: Lineage | undefined;
  /** Acknowledged writes. */
  acked: number[];
  led: boolean;
  /** Once enough of its disks are gone it can never have a quorum again. */
  dead: boolean;
}

export class Referee {
  readonly #world: World;
  readonly clusters = new Map<string, Cluster>();
  /** Member ids whose data-dir was made once. */
  readonly #made = new Set<string>();
  #value = 0;
  #ticks = 0;
  writesAcked = 0;
  defragmentations = 0;

  constructor(world: World) {
    this.#world = world;
  }

  #cluster(id: string): Cluster {
    let cluster = this.clusters.get(id);
    if (cluster === undefined) {
      this.clusters.set(id, cluster = { lineage: undefined, acked: [], led: false, dead: false });
    }
    return cluster;
  }

  dataMade(machine: Machine, data: EtcdData, lineage: Lineage | undefined, how: string): void {
    const key = `${data.clusterId} ${data.memberId}`;
    if (this.#made.has(key)) {
      this.#world.fail(`${machine.name} starts member ${data.memberId} again from nothing (${how})`);
    }
    this.#made.add(key);
    const cluster = this.#cluster(data.clusterId);
    if (how !== "existing") cluster.lineage ??= lineage;
  }

  diskLost(machine: Machine): void {
    const data = machine.disk.data;
    if (data !== undefined) this.#afterLoss(data.clusterId, machine);
  }

  movedAside(machine: Machine, label: string): void {
    const data = machine.disk.data;
    if (data === undefined) return;
    this.#afterLoss(data.clusterId, machine);
    if (label !== "removed") return;
    // Only what the cluster really does not need may be called removed.
    if (!configOf(data).some((member) => member.id === data.memberId)) return;
    for (const other of this.#world.machines.values()) {
      const theirs = other.disk.data;
      if (theirs === undefined || theirs.clusterId !== data.clusterId || other === machine) continue;
      const newest = configOf(theirs);
      if (theirs.commit > data.commit && !newest.some((member) => member.id === data.memberId)) return;
    }
    if (!this.#cluster(data.clusterId).dead) {
      this.#world.fail(`${machine.name} moved data aside as removed, and no member's log says so`);
    }
  }

  #afterLoss(clusterId: string, gone: Machine): void {
    const cluster = this.#cluster(clusterId);
    let newest: EtcdData | undefined;
    const holders = new Set<string>();
    for (const machine of this.#world.machines.values()) {
      const data = machine === gone ? undefined : machine.disk.data;
      if (data === undefined || data.clusterId !== clusterId) continue;
      holders.add(data.memberId);
      if (newest === undefined || data.commit > newest.commit) newest = data;
    }
    if (newest === undefined) {
      cluster.dead = true;
      return;
    }
    const voters = configOf(newest).filter((member) => !member.isLearner);
    if (voters.filter((member) => holders.has(member.id)).length < Math.floor(voters.length / 2) + 1) {
      cluster.dead = true;
    }
  }

  leaderElected(member: Member): void {
    const world = this.#world;
    const id = member.data.clusterId;
    const cluster = this.#cluster(id);
    if (!cluster.led) {
      cluster.led = true;
      for (const [otherId, other] of this.clusters) {
        if (otherId === id || !other.led || other.dead) continue;
        const newer = other.lineage !== undefined && cluster.lineage !== undefined &&
          other.lineage.id === cluster.lineage.id && other.lineage.epoch !== cluster.lineage.epoch;
        // A newer epoch is what a recovery is for; two foundings, or one epoch twice, are what must never be.
        if (!newer || !this.recoveriesAllowed) {
          world.fail(`a second cluster ${id} has a quorum beside ${otherId}`);
        }
      }
    }
    const has = valuesOf(member.data.log, member.data.log.length);
    const lost = cluster.acked.find((value) => !has.has(value));
    if (lost !== undefined) world.fail(`leader ${member.name} does not have the acknowledged write ${lost}`);
  }

  recoveriesAllowed = false;

  votersOf(via: Member): readonly ConfMember[] {
    const leader = this.#world.etcds.leaderOf(via);
    return leader === undefined ? [] : configOf(leader.data).filter((member) => !member.isLearner);
  }

  /** After a removal by one of ours: the rest must be able to go on without the one that left. */
  removed(via: Member, id: string, by: Machine, before: readonly ConfMember[]): void {
    this.#world.trace(`${by.name} removed ${id.slice(0, 4)}`);
    const leader = this.#world.etcds.leaderOf(via);
    const target = before.find((member) => member.id === id);
    if (target === undefined) return;
    const rest = before.filter((member) => member.id !== id);
    const healthy = leader === undefined ? 0 : rest.filter((member) => this.#healthy(leader, member.id)).length;
    if (healthy < Math.floor(rest.length / 2) + 1) {
      this.#world.fail(`${by.name} removed ${target.name}, and ${healthy} of ${rest.length} remain healthy`);
    }
    const waits = [...this.#world.machines.values()].some((machine) => machine.disk.data === undefined);
    const size = this.#world.record.get(via.data.clusterId)?.size ?? this.#world.size;
    if (rest.length < Math.floor(size / 2) + 1 && !waits) {
      this.#world.fail(`${by.name} removed ${target.name}, and ${rest.length} voters are left of ${size}`);
    }
  }

  #healthy(leader: Member, id: string): boolean {
    for (const other of this.#world.etcds.running.values()) {
      if (other.data.memberId === id && other.data.clusterId === leader.data.clusterId) {
        return !other.frozen && (other === leader || this.#world.connected(leader.node, other.node));
      }
    }
    return false;
  }

  /** Writes, as clients would, through any member; and holds what was acknowledged against the disks. */
  tick(): void {
    const world = this.#world;
    if (world.options.calm === true ? this.#ticks++ % 3 !== 0 : world.random() < 0.7) return;
    const members = [...world.etcds.running.values()];
    if (members.length === 0) return;
    const member = world.pick(members);
    const value = ++this.#value;
    if (!world.etcds.put(member, value)) return;
    this.writesAcked++;
    const id = member.data.clusterId;
    this.#cluster(id).acked.push(value);
    const leader = world.etcds.leaderOf(member);
    if (leader === undefined) return;
    const voters = configOf(leader.data).filter((each) => !each.isLearner);
    let held = 0;
    for (const machine of world.machines.values()) {
      const { data } = machine.disk;
      if (data === undefined || data.clusterId !== id || !voters.some((each) => each.id === data.memberId)) continue;
      for (let i = data.log.length - 1; i >= 0 && i >= data.log.length - 50; i--) {
        const entry = data.log[i]!;
        if (entry.kind === "put" && entry.value === value) {
          held++;
          break;
        }
      }
    }
    if (held < Math.floor(voters.length / 2) + 1) {
      world.fail(`write ${value} was acknowledged and ${held} disks hold it`);
    }
  }
}
