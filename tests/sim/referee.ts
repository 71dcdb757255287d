/**
 * Checks every step of a simulated world for violations: two living clusters, a member that starts again without its
 * data, a quorum lost through an effect of e2d, an acknowledged write that a leader does not have.
 */
import { EvidenceReferee } from "./evidence_referee.ts";
import { clusterVersionOf, configOf, type ConfMember, type EtcdData, type Member, valuesOf } from "./fake_etcd.ts";
import type { Machine, World } from "./world.ts";
import type { Plan } from "../../lib/core/facts/plan.ts";
import type { Lineage } from "../../lib/core/facts/node_record.ts";
import { parseReportedVersion } from "../../lib/facts/etcd_version.ts";

export interface Cluster {
  /** The owner of the machines that bootstrapped it. */
  owner: string | undefined;
  lineage: Lineage | undefined;
  /** Acknowledged writes. */
  acked: number[];
  ackedSet: Set<number>;
  led: boolean;
  /** True once so many of its disks are gone that it can never have a quorum again. */
  dead: boolean;
  /** A member's disk was rolled back together with its record: the guarantees of raft no longer hold. */
  untrusted: boolean;
}

export class Referee {
  readonly #world: World;
  readonly clusters = new Map<string, Cluster>();
  readonly evidence: EvidenceReferee;
  /** Member ids whose data-dir was created. */
  readonly #made = new Set<string>();
  #value = 0;
  #ticks = 0;
  writesAcked = 0;
  /** No client writes. */
  idle = false;
  defragmentations = 0;

  constructor(world: World) {
    this.#world = world;
    this.evidence = new EvidenceReferee(world, this.clusters);
  }

  #cluster(id: string): Cluster {
    let cluster = this.clusters.get(id);
    if (cluster === undefined) {
      cluster = {
        owner: undefined,
        lineage: undefined,
        acked: [],
        ackedSet: new Set(),
        led: false,
        dead: false,
        untrusted: false,
      };
      this.clusters.set(id, cluster);
    }
    return cluster;
  }

  /** Data was rolled back. With an equally old record no node can know it; otherwise the data must not count. */
  wentBack(data: EtcdData, recordToo: boolean): void {
    this.evidence.spoiled.add(data);
    if (recordToo) this.#cluster(data.clusterId).untrusted = true;
  }

  /** Data is where no node reads it any more. */
  dataHidden(data: EtcdData): void {
    this.evidence.spoiled.add(data);
    this.#afterLoss(data.clusterId, undefined);
  }

  dataMade(machine: Machine, data: EtcdData, lineage: Lineage | undefined, how: string): void {
    const key = `${data.clusterId} ${data.memberId}`;
    if (this.#made.has(key)) {
      this.#world.fail(`${machine.name} starts member ${data.memberId} again from nothing (${how})`);
    }
    this.#made.add(key);
    const cluster = this.#cluster(data.clusterId);
    if (how !== "existing") {
      cluster.lineage ??= lineage;
      cluster.owner ??= machine.owner;
    } else if (cluster.owner !== undefined && cluster.owner !== machine.owner) {
      this.#world.fail(`${machine.name} of ${machine.owner} joins a cluster of ${cluster.owner}`);
    }
  }

  /** An etcd more than one minor version newer than another member may send entries that the other cannot apply. */
  started(machine: Machine, data: EtcdData): void {
    const minor = (version: string) => parseReportedVersion(version)!.minor;
    for (const other of this.#world.etcds.running.values()) {
      if (other.data.clusterId !== data.clusterId || other.node === machine.name) continue;
      const theirs = this.#world.machines.get(other.node)!.version;
      if (Math.abs(minor(theirs) - minor(machine.version)) <= 1) continue;
      this.#world.fail(`${machine.name} runs etcd ${machine.version} beside ${other.node}'s ${theirs}`);
    }
  }

  /** A plan was removed as done. */
  planDone(member: Member, plan: Plan): void {
    const to = plan.operations.flatMap((each) => each.kind === "clusterVersion" ? [each.to] : [])[0];
    if (to === undefined) return;
    const listed = new Set(configOf(member.data).map(({ id }) => id));
    for (const each of this.#world.etcds.running.values()) {
      if (each.data.clusterId !== member.data.clusterId || !listed.has(each.data.memberId)) continue;
      const { version } = this.#world.machines.get(each.node)!;
      if (version.startsWith(`${to}.`)) continue;
      this.#world.fail(`the upgrade to ${to} is called done while ${each.node} runs ${version}`);
    }
    const clusterVersion = clusterVersionOf(member.data);
    if (clusterVersion !== to) this.#world.fail(`the upgrade to ${to} is called done at version ${clusterVersion}`);
  }

  diskLost(machine: Machine): void {
    const data = machine.disk.data;
    if (data !== undefined) this.#afterLoss(data.clusterId, machine);
  }

  quarantined(machine: Machine, label: string): void {
    const data = machine.disk.data;
    if (data === undefined) return;
    this.evidence.yields(machine, data, label);
    this.#afterLoss(data.clusterId, machine);
    if (label !== "removed") return;
    // Only data that the cluster does not need may be labelled removed.
    if (!configOf(data).some((member) => member.id === data.memberId)) return;
    for (const other of this.#world.machines.values()) {
      const theirs = other.disk.data;
      if (theirs === undefined || theirs.clusterId !== data.clusterId || other === machine) continue;
      const newest = configOf(theirs);
      if (theirs.commit > data.commit && !newest.some((member) => member.id === data.memberId)) return;
    }
    if (!this.#cluster(data.clusterId).dead) {
      this.#world.fail(`${machine.name} quarantined data as removed, and no member's log lists a removal`);
    }
  }

  #afterLoss(clusterId: string, gone: Machine | undefined): void {
    const cluster = this.#cluster(clusterId);
    let newest: EtcdData | undefined;
    const holders = new Set<string>();
    for (const machine of this.#world.machines.values()) {
      for (const data of [machine === gone ? undefined : machine.disk.data, machine.unmounted?.data]) {
        if (data === undefined || data.clusterId !== clusterId || this.evidence.spoiled.has(data)) continue;
        holders.add(data.memberId);
        if (newest === undefined || data.commit > newest.commit) newest = data;
      }
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
        if (otherId === id || !other.led || other.dead || other.owner !== cluster.owner) continue;
        if (this.evidence.givenUp.has(otherId)) continue;
        const newer = other.lineage !== undefined && cluster.lineage !== undefined &&
          other.lineage.id === cluster.lineage.id && other.lineage.epoch !== cluster.lineage.epoch;
        // A newer epoch is the result of a recovery; two bootstraps, or one epoch twice, are violations.
        if (!newer || !this.recoveriesAllowed) {
          world.fail(`a second cluster ${id} has a quorum beside ${otherId}`);
        }
      }
    }
    const has = valuesOf(member.data.log, member.data.log.length);
    const lost = cluster.untrusted ? undefined : cluster.acked.find((value) => !has.has(value));
    if (lost !== undefined) world.fail(`leader ${member.name} does not have the acknowledged write ${lost}`);
  }

  recoveriesAllowed = false;

  votersOf(via: Member): readonly ConfMember[] {
    const leader = this.#world.etcds.leaderOf(via);
    return leader === undefined ? [] : configOf(leader.data).filter((member) => !member.isLearner);
  }

  /** After a removal by e2d: the remaining members must have a healthy quorum. */
  removed(via: Member, id: string, by: Machine, before: readonly ConfMember[]): void {
    this.#world.trace(`${by.name} removed ${id.slice(0, 4)}`);
    const leader = this.#world.etcds.leaderOf(via);
    const target = before.find((member) => member.id === id);
    if (target === undefined) return;
    this.evidence.removed(leader, target, by);
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

  /** One of the running instances is enough: a clone of the machine runs the same member a second time. */
  #healthy(leader: Member, id: string): boolean {
    return [...this.#world.etcds.running.values()].some((other) =>
      other.data.memberId === id && other.data.clusterId === leader.data.clusterId && !other.frozen &&
      (other === leader || this.#world.connected(leader.node, other.node))
    );
  }

  /** Writes as a client through any member, and checks the acknowledged writes on the disks. */
  tick(): void {
    const world = this.#world;
    this.evidence.tick();
    if (this.idle) return;
    if (world.options.calm === true ? this.#ticks++ % 3 !== 0 : world.random() < 0.7) return;
    const members = [...world.etcds.running.values()];
    if (members.length === 0) return;
    const member = world.pick(members);
    const value = ++this.#value;
    if (!world.etcds.put(member, value)) return;
    this.writesAcked++;
    const id = member.data.clusterId;
    this.#cluster(id).acked.push(value);
    this.#cluster(id).ackedSet.add(value);
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
