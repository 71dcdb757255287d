/** The result of each effect with an id, except of a defragmentation, whose duration is part of it. */
import type { AnsweredEffect } from "../../lib/core/facts/effect.ts";
import type { DoneValue } from "../../lib/core/facts/event.ts";
import { advisedPatch } from "../../lib/core/evidence/etcd_hazards.ts";
import {
  bootstrappedData,
  clusterVersionOf,
  configOf,
  type EtcdData,
  hashText,
  type Member,
  revisionOf,
  valuesOf,
} from "./fake_etcd.ts";
import { endpointOf, snapshotShown } from "./observe.ts";
import { branchFor } from "./stored_lives.ts";
import type { Machine, World } from "./world.ts";
import { type EtcdRange, isWithin } from "../../lib/core/facts/etcd_range.ts";
import type { BootstrapPlan } from "../../lib/core/facts/node_record.ts";

/** The effect failed with this code. */
export class Failed extends Error {
  constructor(readonly code: string) {
    super(code);
  }
}

type Performed = Exclude<AnsweredEffect, { kind: "defragment" }>;
type EffectOf<K extends Performed["kind"]> = Extract<Performed, { kind: K }>;

/** By the kind of effect; a handler without a value returns nothing. Throws `Failed` or a `Refusal` of the fake etcd. */
type Handlers = {
  readonly [K in Performed["kind"]]: (world: World, machine: Machine, effect: EffectOf<K>) => DoneValue | void;
};

export function resultOf<K extends Performed["kind"]>(
  world: World,
  machine: Machine,
  effect: EffectOf<K> & { readonly kind: K },
): DoneValue {
  return handlers[effect.kind](world, machine, effect) ?? { kind: "nothing" };
}

const handlers: Handlers = {
  writeRecord: (world, machine, { record }) => {
    const { disk } = machine;
    const pledge = record.pledges.at(-1);
    if (pledge !== undefined && pledge.token !== disk.record?.pledges.at(-1)?.token) {
      world.referee.evidence.pledged(machine, pledge);
    }
    disk.record = record;
  },
  quarantineData: (world, machine, { label, keepRecord }) => {
    const { disk } = machine;
    if (world.memberOf(machine.name) !== undefined) {
      world.fail(`${machine.name} quarantined the data of a running etcd`);
    }
    if (disk.data !== undefined || disk.record !== undefined && !keepRecord) {
      disk.aside.push({ label, data: disk.data });
      world.referee.quarantined(machine, label);
    }
    disk.data = undefined;
    if (!keepRecord) disk.record = undefined;
    disk.damaged = false;
  },
  startEtcd,
  provideEtcd: (_, machine, { range }) => {
    machine.programs = fitting(machine.programs, range);
    return { kind: "etcdProvided", version: machine.programs };
  },
  stopEtcd: (world, machine) => world.etcds.stop(machine.name),
  prepareSource: (world, machine, { plan }) => ({ kind: "sourceVerified", hash: prepare(world, machine, plan) }),
  exportSurvivor: (_, machine) => {
    const { data } = machine.disk;
    if (data === undefined) throw new Failed("no_data");
    const revision = revisionOf(data);
    const values = [...valuesOf(data.log, data.log.length)];
    const hash = hashText(`export ${machine.name} ${values.length} ${revision}`);
    machine.exported = { hash, values, revision };
    return { kind: "exported", hash, revision, url: `http://${machine.address}:7981/export` };
  },
  restoreData: (world, machine, { plan }) => {
    const { disk } = machine;
    if (disk.data !== undefined && machine.restored === plan.digest) return;
    if (disk.data !== undefined) world.fail(`${machine.name} restored over a data-dir`);
    const prepared = machine.prepared.get(plan.digest);
    if (prepared === undefined) throw new Failed("not_prepared");
    disk.data = initialMembersData(world, plan, machine, prepared);
    world.referee.dataMade(machine, disk.data, plan.lineage, "restored");
    machine.restored = plan.digest;
    machine.prepared.clear();
  },
  memberAdd: (world, machine, effect) => {
    const member = memberVia(world, machine, effect);
    const listed = configOf(member.data).filter((each) => each.name !== "" || each.peerUrl !== effect.peerUrl);
    if (listed.map(({ id }) => id).sort().join() !== [...effect.beside].sort().join()) {
      throw new Failed("members_changed");
    }
    const memberId = world.etcds.change(member, {
      kind: "add",
      peerUrl: effect.peerUrl,
      salt: `${world.nowMs} ${machine.name}`,
    });
    // The answer of a successful change may still be lost.
    if (world.random() < 0.05) throw new Failed("timeout");
    return { kind: "memberAdded", memberId };
  },
  memberRemove: (world, machine, effect) => {
    const member = memberVia(world, machine, effect);
    const before = world.referee.votersOf(member);
    world.etcds.change(member, { kind: "remove", id: effect.memberId });
    world.referee.removed(member, effect.memberId, machine, before);
  },
  memberPromote: (world, machine, effect) => {
    world.etcds.change(memberVia(world, machine, effect), { kind: "promote", id: effect.memberId });
  },
  memberUpdate: (world, machine, effect) => {
    const { memberId: id, peerUrl } = effect;
    world.etcds.change(memberVia(world, machine, effect), { kind: "update", id, peerUrl });
  },
  moveLeader: (world, machine, { to, via }) =>
    world.etcds.moveLeader(via === undefined ? own(world, machine) : leaderAt(world, machine, via), to),
  upgradeEtcd: (world, machine, { to }) => {
    const member = own(world, machine);
    world.etcds.stop(machine.name);
    machine.programs = advisedPatch(to);
    runVersion(world, machine, member.data);
    world.etcds.start({ ...member, frozen: false });
    world.deliver(machine, { kind: "etcd", state: "starting" });
  },
  checkRecord: (world, machine, { requiredSize }) => {
    const { clusterId } = own(world, machine).data;
    const record = world.record.get(clusterId) ?? { size: requiredSize, formerSizes: [] };
    world.record.set(clusterId, record);
    return { kind: "recordChecked", ...record };
  },
  changeRecord: (world, machine, { from, to }) => {
    const { clusterId } = own(world, machine).data;
    const record = world.record.get(clusterId);
    world.record.set(clusterId, { size: to, formerSizes: [...record?.formerSizes ?? [], from] });
  },
  writePlan: (world, machine, { plan }) => {
    const member = own(world, machine);
    const { clusterId } = member.data;
    if (plan !== undefined) return void world.plans.set(clusterId, plan);
    const done = world.plans.get(clusterId);
    if (done !== undefined) world.referee.planDone(member, done);
    world.plans.delete(clusterId);
  },
  clearVolatile: (world, machine) => {
    const { clusterId } = own(world, machine).data;
    if (world.cleared.has(clusterId)) return;
    world.cleared.add(clusterId);
    world.record.delete(clusterId);
    world.plans.delete(clusterId);
  },
  allowDowngrade: (world, machine, { to }) => {
    world.downgraded.set(own(world, machine).data.clusterId, to);
  },
  reclaimSpace: (world, machine) => world.fail(`${machine.name} reclaims space of a database that is not full`),
  hashMembers: (world, machine) => world.fail(`${machine.name} handles an alarm that was not raised`),
  disarmCorrupt: (world, machine) => world.fail(`${machine.name} handles an alarm that was not raised`),
  writePause: (world, machine, { paused }) => {
    const { clusterId } = own(world, machine).data;
    world.referee.evidence.paused(clusterId, paused);
    world.pauses.set(clusterId, { paused, version: (world.pauses.get(clusterId)?.version ?? 0) + 1 });
  },
  writeHold: (world, machine, { hold }) => {
    world.operators.setHold(machine, hold);
    world.deliver(machine, { kind: "settings", settings: machine.settings });
  },
  writeLineage: (world, machine, effect) => {
    const { clusterId } = own(world, machine).data;
    if (clusterId === effect.clusterId && !world.lineages.has(clusterId)) {
      world.lineages.set(clusterId, effect.lineage);
    }
  },
  compareHashes: () => ({ kind: "hashesCompared", equal: true, detail: "" }),
  takeSnapshot,
};

function takeSnapshot(world: World, machine: Machine, effect: EffectOf<"takeSnapshot">): DoneValue {
  const { lineage, lastRevision } = effect;
  const member = own(world, machine);
  const revision = revisionOf(member.data);
  if (revision <= lastRevision) return { kind: "snapshotTaken", revision, saved: false };
  const store = world.storeOf(machine.owner);
  if (store.current.kind === "unreadable") throw new Failed("store_unreadable");
  // The lineage with the first snapshot keeps the store; a life of the same lineage saves beside the others.
  const owner = store.history[0] ?? (store.current.kind === "newest" ? store.current.snapshot : undefined);
  if (owner !== undefined && owner.lineage.id !== lineage.id) throw new Failed("other_lineage");
  const values = [...valuesOf(member.data.log, member.data.commit)];
  const branch = branchFor(store.history, lineage.token, revision);
  store.save({
    hash: hashText(`${lineage.token} ${revision} ${values.length}`),
    values,
    revision,
    lineage,
    takenAtWallMs: world.now(machine).wallMs,
    ...(branch === undefined ? {} : { branch }),
  });
  return { kind: "snapshotTaken", revision, saved: true };
}

/** The first of these members that answers; the effect changes the member list there. */
function memberVia(
  world: World,
  machine: Machine,
  { kind, via }: EffectOf<"memberAdd" | "memberRemove" | "memberPromote" | "memberUpdate">,
): Member {
  for (const endpoint of via) {
    const member = endpointOf(world, endpoint);
    if (member === undefined || member.frozen || !world.connected(machine.name, member.node)) continue;
    world.referee.evidence.changes(machine, member, kind);
    return member;
  }
  throw new Failed("unreachable");
}

function leaderAt(world: World, machine: Machine, clientUrl: string): Member {
  const member = endpointOf(world, clientUrl);
  if (member === undefined || member.frozen || !world.connected(machine.name, member.node)) {
    throw new Failed("unreachable");
  }
  if (member.leaderId !== member.data.memberId) throw new Failed("not_leader");
  return member;
}

function own(world: World, machine: Machine): Member {
  const member = world.memberOf(machine.name);
  if (member === undefined || !world.etcds.linearizable(member)) throw new Failed("no_quorum");
  return member;
}

/** The choice of the manager: its own version if it fits, else the oldest minor version that fits. */
function fitting(version: string, range: EtcdRange): string {
  return isWithin(version, range) ? version : advisedPatch(range.atLeast ?? range.atMost!);
}

/** Sets the version of the etcd that starts now; one that is too old for its data ends, and e2d uses the next. */
function runVersion(world: World, machine: Machine, data: EtcdData): void {
  machine.programs = fitting(machine.programs, { atLeast: clusterVersionOf(data) });
  machine.version = machine.programs;
  world.referee.started(machine, data);
}

function startEtcd(world: World, machine: Machine, effect: EffectOf<"startEtcd">): void {
  const { disk } = machine;
  const { start } = effect;
  if (world.memberOf(machine.name) !== undefined) return;
  if (disk.damaged || disk.unreadable) throw new Failed("data_corrupt");
  if (disk.data === undefined) {
    switch (start.state) {
      case "restart":
        throw new Failed("no_data");
      case "new": {
        const initialMembers = start.initialCluster.map((each) => ({
          ...each,
          clientUrl: each.peerUrl.replace(":2380", ":2379"),
        }));
        disk.data = bootstrappedData(initialMembers, start.token, machine.nodeName, world.etcds.firstLogs);
        break;
      }
      case "existing":
        disk.data = joinedData(world, machine, start.initialCluster);
        break;
      default:
        start satisfies never;
    }
    world.referee.dataMade(machine, disk.data!, disk.record?.started?.lineage, start.state);
  }
  machine.programs = fitting(machine.programs, start.range ?? {});
  runVersion(world, machine, disk.data!);
  world.referee.evidence.starts(machine, disk.data!);
  const identity = world.identity(machine);
  world.etcds.start({
    node: machine.name,
    name: identity.name,
    peerUrl: identity.peerUrl,
    clientUrl: identity.clientUrl,
    data: disk.data!,
    frozen: disk.hangs,
    slow: machine.slow,
  });
}

/** A learner's empty data-dir: cluster id and member id come from the members it can reach. */
function joinedData(world: World, machine: Machine, peers: readonly { peerUrl: string }[]): EtcdData {
  const self = world.identity(machine).peerUrl;
  for (const { peerUrl } of peers) {
    const peer = [...world.etcds.running.values()].find((member) => member.peerUrl === peerUrl);
    if (peer === undefined || peer.frozen || !world.connected(machine.name, peer.node)) continue;
    const listed = configOf(peer.data).find((member) => member.peerUrl === self);
    if (listed === undefined) continue;
    return {
      clusterId: peer.data.clusterId,
      memberId: listed.id,
      token: peer.data.token,
      term: 0,
      log: [],
      commit: 0,
    };
  }
  throw new Failed("not_a_member");
}

function prepare(world: World, machine: Machine, plan: BootstrapPlan): string {
  const { source } = plan;
  switch (source.kind) {
    case "empty":
      throw new Failed("no_source");
    case "snapshot": {
      const store = world.storeOf(machine.owner);
      const snapshot = [snapshotShown(store), ...store.history].find((each) => each?.hash === source.hash);
      if (snapshot === undefined || store.current.kind === "unreadable") throw new Failed("gone");
      const { hash, values, revision } = snapshot;
      machine.prepared.set(plan.digest, { values, revision });
      return hash;
    }
    case "survivor": {
      const from = initialMemberOf(world, plan, source.name);
      if (from?.exported === undefined || !world.connected(machine.name, from.name)) throw new Failed("unreachable");
      machine.prepared.set(plan.digest, from.exported);
      return from.exported.hash;
    }
    default:
      return source satisfies never;
  }
}

/** The machine that a bootstrap names. */
export function initialMemberOf(world: World, plan: BootstrapPlan, name: string): Machine | undefined {
  const peerUrl = plan.initialMembers.find((each) => each.name === name)?.peerUrl;
  for (const machine of world.machines.values()) {
    if (machine.nodeName === name && world.identity(machine).peerUrl === peerUrl) return machine;
  }
  return undefined;
}

function initialMembersData(
  world: World,
  plan: BootstrapPlan,
  { nodeName }: Machine,
  source: { values: readonly number[]; revision: number },
): EtcdData {
  const initialMembers = plan.initialMembers.map(({ name, peerUrl }) => ({
    name,
    peerUrl,
    clientUrl: peerUrl.replace(":2380", ":2379"),
  }));
  return bootstrappedData(initialMembers, plan.lineage.token, nodeName, world.etcds.firstLogs, {
    values: source.values,
    revision: source.revision + 1_000_000,
  });
}
