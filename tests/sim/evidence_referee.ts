/**
 * Checks the actions of nodes against the order of evidence (docs/decisions.md): what may replace data, and after which
 * wait. It owns facts that only the world knows: which disks are intact, which lives in the store are foreign, and what
 * an operator discarded. It never reads the reasons that a node reports.
 */
import { configOf, type ConfMember, type EtcdData, type Member, valuesOf } from "./fake_etcd.ts";
import { initialMemberOf } from "./effects.ts";
import type { Cluster } from "./referee.ts";
import type { Disk, Machine, World } from "./world.ts";
import type { BootstrapPlan, Pledge } from "../../lib/core/facts/node_record.ts";

/** Younger connections and processes do not show whether a member is healthy. */
const establishedMs = 5_000;

/** Time until all nodes must know of an operator's stop. */
const stopKnownMs = 10_000;

/** Time in which two nodes that start together may not know of each other, and time within which one must end. */
const startsTogetherMs = 5_000;
const runsTwiceMs = 60_000;

const quorumOf = (members: readonly ConfMember[]) =>
  Math.floor(members.filter((member) => !member.isLearner).length / 2) + 1;

export class EvidenceReferee {
  /** Data that was rolled back. */
  readonly spoiled = new WeakSet<EtcdData>();
  /** Clusters that an operator discarded, by id. */
  readonly givenUp = new Set<string>();
  /** Tokens of lives that save to the store of another cluster. */
  readonly foreign = new Set<string>();
  /** Since when clusters are paused, by id. */
  readonly #pausedSinceMs = new Map<string, number>();
  /** Pledges that were judged, by token. */
  readonly #judged = new Set<string>();
  readonly #world: World;
  readonly #clusters: ReadonlyMap<string, Cluster>;

  constructor(world: World, clusters: ReadonlyMap<string, Cluster>) {
    this.#world = world;
    this.#clusters = clusters;
  }

  /** An operator discards everything that existed for something new. */
  giveUp(owner: string): void {
    for (const [id, cluster] of this.#clusters) if (cluster.owner === owner) this.givenUp.add(id);
    for (const { lineage } of this.#world.storeOf(owner).history) this.givenUp.add(lineage.id);
  }

  /** Intact copies of members' data, one for each member: on mounted disks, and on unmounted volumes. */
  holders(clusterId: string, except?: EtcdData): Map<string, { data: EtcdData; machine: Machine }> {
    const held = new Map<string, { data: EtcdData; machine: Machine }>();
    for (const machine of this.#world.machines.values()) {
      for (const disk of [machine.disk, machine.unmounted]) {
        const data = this.#wholeData(disk);
        if (data?.clusterId === clusterId && data !== except) held.set(data.memberId, { data, machine });
      }
    }
    return held;
  }

  #wholeData(disk: Disk | undefined): EtcdData | undefined {
    const data = disk === undefined || disk.damaged || disk.unreadable ? undefined : disk.data;
    return data === undefined || this.spoiled.has(data) ? undefined : data;
  }

  /** True when a quorum of the voters, as the newest of the holders lists them, is among the holders. */
  hasQuorum(holders: ReadonlyMap<string, { data: EtcdData }>): boolean {
    let newest: EtcdData | undefined;
    for (const { data } of holders.values()) if (newest === undefined || data.commit > newest.commit) newest = data;
    if (newest === undefined) return false;
    const config = configOf(newest);
    return config.filter(({ id, isLearner }) => !isLearner && holders.has(id)).length >= quorumOf(config);
  }

  /** Fails if a member id runs twice for long. */
  tick(): void {
    const { etcds: { running }, nowMs } = this.#world;
    const seen = new Map<string, Member>();
    for (const member of running.values()) {
      const key = `${member.data.clusterId} ${member.data.memberId}`;
      const other = seen.get(key);
      seen.set(key, member);
      if (other === undefined || other.frozen || member.frozen) continue;
      if (!this.#world.connected(other.node, member.node)) continue;
      if (nowMs - Math.max(other.startedMs, member.startedMs) < runsTwiceMs) continue;
      this.#world.fail(`member ${member.data.memberId} runs at ${other.node} and at ${member.node} for long`);
    }
  }

  paused(clusterId: string, paused: boolean): void {
    if (!paused) this.#pausedSinceMs.delete(clusterId);
    else if (!this.#pausedSinceMs.has(clusterId)) this.#pausedSinceMs.set(clusterId, this.#world.nowMs);
  }

  /** Without a quorum the pause of each node counts. */
  resumed(): void {
    this.#pausedSinceMs.clear();
  }

  /** A change of the members is requested. */
  changes(machine: Machine, via: Member, what: string): void {
    const sinceMs = this.#pausedSinceMs.get(via.data.clusterId);
    if (sinceMs === undefined || this.#world.nowMs - sinceMs < stopKnownMs) return;
    this.#world.fail(`${machine.name} does ${what} in a cluster that is paused`);
  }

  /** An operator stopped recoveries, and an initial member knows it or sees a node that does. */
  #stopped(initialMembers: readonly Machine[], pledge: Pledge): void {
    const { nowMs } = this.#world;
    const knows = initialMembers.find(({ disk: { pauseMark } }) => {
      const sinceMs = pauseMark?.paused ? this.#pausedSinceMs.get(pauseMark.clusterId) : undefined;
      return sinceMs !== undefined && nowMs - sinceMs >= stopKnownMs;
    });
    if (knows !== undefined) this.#world.fail(`${knows.name} pledges to ${pledge.source.kind} and knows of a pause`);
    for (const machine of this.#world.machines.values()) {
      if (machine.heldSinceMs === undefined || nowMs - machine.heldSinceMs < stopKnownMs) continue;
      if (!this.#world.isUp(machine) || machine.paused || nowMs - machine.bootedMs < stopKnownMs) continue;
      const seen = initialMembers.filter(({ name, bootedMs }) =>
        this.#world.connected(name, machine.name) && nowMs - bootedMs >= stopKnownMs
      );
      if (seen.length === initialMembers.length) {
        this.#world.fail(`initial members pledge to ${pledge.source.kind} while ${machine.name} holds recoveries`);
      }
    }
  }

  /** A member starts: no reachable member may run under the same id. */
  starts(machine: Machine, data: EtcdData): void {
    const world = this.#world;
    for (const member of world.etcds.running.values()) {
      if (member.data.memberId !== data.memberId || member.data.clusterId !== data.clusterId || member.frozen) continue;
      if (member.node === machine.name || !world.connected(member.node, machine.name)) continue;
      // Two that start at the same moment cannot know of each other: they detect it later.
      if (world.nowMs - member.startedMs < startsTogetherMs) continue;
      world.fail(`${machine.name} starts member ${data.memberId}, which runs at ${member.node}`);
    }
  }

  /** Valid data of this machine is about to be quarantined. */
  yields(machine: Machine, data: EtcdData, label: string): void {
    const cluster = this.#clusters.get(data.clusterId);
    if (label !== "superseded" || cluster === undefined || !this.#counts(data.clusterId)) return;
    // The source that replaces survivors in a recovery was checked at their pledge.
    if (machine.node?.bootstrap.committing !== undefined) return;
    const world = this.#world;
    const living = [...world.etcds.running.values()].find((member) =>
      member.data.clusterId !== data.clusterId && member.leaderId === member.data.memberId &&
      world.etcds.hasQuorum(member)
    );
    const missing = this.#missing(data, living === undefined ? new Set() : valuesOf(living.data.log, Infinity));
    if (missing === 0) return;
    if (living === undefined) {
      return world.fail(
        `${machine.name} quarantined its data, with ${missing} acknowledged writes, without a living quorum`,
      );
    }
    const atHand = new Map(
      [...this.holders(data.clusterId)].filter(([, { machine: other }]) =>
        other === machine || world.isUp(other) && !other.paused && world.connected(machine.name, other.name)
      ),
    );
    if (this.hasQuorum(atHand)) {
      world.fail(
        `${machine.name} quarantined its data, with ${missing} acknowledged writes that "${living.name}" does not have, ` +
          "while a quorum of its cluster's disks is present",
      );
    }
  }

  #counts(clusterId: string): boolean {
    const cluster = this.#clusters.get(clusterId);
    return cluster !== undefined && cluster.led && !cluster.untrusted && !this.givenUp.has(clusterId);
  }

  /** Acknowledged writes in this data that `values` lacks. */
  #missing(data: EtcdData, values: ReadonlySet<number>): number {
    const acked = this.#clusters.get(data.clusterId)!.ackedSet;
    let missing = 0;
    for (const value of valuesOf(data.log, data.log.length)) if (acked.has(value) && !values.has(value)) missing++;
    return missing;
  }

  /** An initial member pledges: the first pledge of each bootstrap is checked. */
  pledged(by: Machine, pledge: Pledge): void {
    if (this.#judged.has(pledge.token)) return;
    this.#judged.add(pledge.token);
    const { owner } = by;
    const initialMembers = pledge.initialMembers.map(({ name }) => initialMemberOf(this.#world, pledge, name))
      .filter((machine) => machine !== undefined);
    this.#stopped(initialMembers, pledge);
    const values = this.#sourceValues(by, pledge);
    for (const member of initialMembers) {
      const data = this.#wholeData(member.disk);
      if (data !== undefined) this.#replaces(pledge, data, values, member.name);
      // If the record is missing, too, no node can know of the volume.
      const { record } = member.disk;
      const away = record?.lost ?? record?.started ? this.#wholeData(member.unmounted) : undefined;
      if (away !== undefined) this.#tooEarly(initialMembers, away, values, member);
    }
    for (const machine of this.#world.machines.values()) {
      const data = initialMembers.includes(machine) ? undefined : this.#wholeData(machine.disk);
      if (data !== undefined && machine.owner === owner && this.#named(initialMembers, machine)) {
        this.#tooEarly(initialMembers, data, values, machine);
      }
    }
    const stored = this.#world.storeOf(owner).history;
    const own = stored.filter(({ lineage }) => !this.givenUp.has(lineage.id) && !this.foreign.has(lineage.token));
    if (pledge.source.kind === "empty" && own.length > 0) {
      this.#world.fail(`${by.name} pledges to an empty cluster beside ${own.length} snapshots of its own`);
    }
    if (pledge.source.kind !== "snapshot" || own.length === 0) return;
    const { hash } = pledge.source;
    const token = stored.find((each) => each.hash === hash)?.lineage.token;
    const remembers = initialMembers.find(({ disk: { record } }) =>
      record?.seen !== undefined || record?.started !== undefined || record?.lost !== undefined
    );
    if (token !== undefined && this.foreign.has(token) && remembers !== undefined) {
      this.#world.fail(`${by.name} pledges to restore a foreign life, and ${remembers.name} remembers its own`);
    }
  }

  #sourceValues(by: Machine, { source, initialMembers }: BootstrapPlan): ReadonlySet<number> {
    switch (source.kind) {
      case "empty":
        return new Set();
      case "snapshot":
        return new Set(this.#world.storeOf(by.owner).history.find(({ hash }) => hash === source.hash)?.values);
      case "survivor": {
        const peerUrl = initialMembers.find(({ name }) => name === source.name)?.peerUrl;
        const machine = [...this.#world.machines.values()].find((each) =>
          this.#world.identity(each).peerUrl === peerUrl
        );
        return new Set(machine?.exported?.values);
      }
      default:
        return source satisfies never;
    }
  }

  /** The source replaces the data of an initial member. */
  #replaces(pledge: BootstrapPlan, data: EtcdData, values: ReadonlySet<number>, name: string): void {
    if (!this.#counts(data.clusterId)) return;
    const missing = this.#missing(data, values);
    if (missing > 0) {
      this.#world.fail(
        `${name} pledges its data to a ${pledge.source.kind} without ${missing} of its acknowledged writes`,
      );
    }
  }

  /** A bootstrap must wait for a disk that has not answered yet. */
  #tooEarly(initialMembers: readonly Machine[], data: EtcdData, values: ReadonlySet<number>, holder: Machine): void {
    if (!this.#counts(data.clusterId)) return;
    const missing = this.#missing(data, values);
    const waitedMs = Math.max(...initialMembers.map((each) => this.#world.nowMs - each.bootedMs));
    const neededMs = initialMembers[0]!.settings.quorumLossTimeoutMs;
    if (missing === 0 || neededMs !== "never" && waitedMs >= neededMs) return;
    this.#world.fail(
      `a restore was pledged after ${
        Math.round(waitedMs)
      } ms, and ${missing} acknowledged writes are on the disk of ${holder.name}`,
    );
  }

  /** By a bootstrap list, or as a voter of the cluster that was seen last. */
  #named(initialMembers: readonly Machine[], { address, nodeName }: Machine): boolean {
    return initialMembers.some(({ settings, disk: { record } }) =>
      settings.seeds.includes(`${address}:7980`) ||
      record?.seen?.voters.some((voter) => voter.name === nodeName || voter.peerUrl.includes(`//${address}:`))
    );
  }

  /** After a removal: only an operator's plan may remove a healthy voter. */
  removed(leader: Member | undefined, target: ConfMember, by: Machine): void {
    const world = this.#world;
    if (leader === undefined || target.isLearner || world.plans.has(leader.data.clusterId)) return;
    const sinceMs = leader.activeSinceMs.get(target.id);
    for (const member of world.etcds.running.values()) {
      if (member.data.memberId !== target.id || member.data.clusterId !== leader.data.clusterId) continue;
      const machine = world.machines.get(member.node)!;
      const well = !member.frozen && !machine.paused && world.isUp(machine) && member.peerUrl === target.peerUrl &&
        world.connected(leader.node, member.node) && world.nowMs - member.startedMs >= establishedMs &&
        sinceMs !== undefined && world.nowMs - sinceMs >= establishedMs;
      if (well) world.fail(`${by.name} removed ${target.name}, which is well at ${machine.name}`);
    }
  }

  /** At the end: every write that was acknowledged by a cluster that never lost a quorum of its disks exists. */
  atTheEnd(leader: Member): void {
    const owner = this.#world.machines.get(leader.node)!.owner;
    const values = valuesOf(leader.data.log, leader.data.log.length);
    for (const [id, cluster] of this.#clusters) {
      if (cluster.owner !== owner || cluster.dead || !this.#counts(id)) continue;
      const lost = cluster.acked.filter((value) => !values.has(value)).length;
      if (lost > 0) {
        this.#world.fail(`${lost} acknowledged writes of cluster ${id} are gone, and a quorum of its disks never was`);
      }
    }
  }
}
