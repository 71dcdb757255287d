/** The manager's part against the fakes: each effect takes a while, may fail, and is answered. */
import type { AnsweredEffect, Effect } from "../../lib/core/effect.ts";
import type { DoneValue } from "../../lib/core/event.ts";
import type { Catalogue, DataDir, EtcdProbe, Founding } from "../../lib/core/view.ts";
import {
  configOf,
  type EtcdData,
  foundedData,
  hashText,
  type Member,
  Refusal,
  revisionOf,
  valuesOf,
} from "./fake_etcd.ts";
import type { Machine, World } from "./world.ts";

class Failed extends Error {
  constructor(readonly code: string) {
    super(code);
  }
}

export function perform(world: World, machine: Machine, effect: Effect): void {
  const jitter = () => 2 + world.below(10);
  switch (effect.kind) {
    case "inspectData":
      return world.later(machine, jitter() + (machine.slow ? 200 : 0), () =>
        world.deliver(machine, {
          kind: "dataInspected",
          data: inspect(machine),
          ...(machine.disk.record === undefined ? {} : { record: machine.disk.record }),
        }));
    case "probe":
      for (const endpoint of effect.endpoints) {
        // A refused connection answers at once, a cut one after the time-out.
        const target = endpointOf(world, endpoint);
        const cut = target === undefined || !world.connected(machine.name, target.node) || target.frozen;
        world.later(
          machine,
          target === undefined ? jitter() : cut ? 900 : jitter(),
          () => world.deliver(machine, { kind: "probed", endpoint, probe: probe(world, machine, endpoint) }),
        );
      }
      return;
    case "readCatalogue":
      return world.later(
        machine,
        20 + world.below(100),
        () => world.deliver(machine, { kind: "catalogue", catalogue: catalogue(world) }),
      );
    case "readPlan":
      return world.later(machine, jitter(), () => {
        const member = world.memberOf(machine.name);
        if (member === undefined || !world.etcds.linearizable(member)) return;
        const plan = world.plans.get(member.data.clusterId);
        world.deliver(machine, { kind: "plan", ...(plan === undefined ? {} : { plan }) });
      });
    case "setStatus":
      machine.status = effect.status;
      return;
    case "publishFacts":
    case "journal":
      return;
    case "armTimer":
      return world.later(
        machine,
        Math.max(0, effect.atMs - world.nowMs),
        () => world.deliver(machine, { kind: "timer" }),
      );
    case "exit":
      world.trace(`${machine.name} exits with ${effect.code}: ${effect.reason.code}`);
      world.exited(machine, effect.code);
      return;
    default:
      answer(world, machine, effect);
  }
}

/** Runs the deed after its time and answers it, whatever happens. */
function answer(world: World, machine: Machine, effect: AnsweredEffect): void {
  const { id } = effect;
  world.trace(`${machine.name} does ${effect.kind}${describe(effect)}`);
  if (effect.kind === "defragment") return defragment(world, machine, effect);
  world.later(machine, durationMs(world, machine, effect), () => {
    let value: DoneValue;
    try {
      value = deed(world, machine, effect);
    } catch (error) {
      if (!(error instanceof Refusal) && !(error instanceof Failed)) throw error;
      world.trace(`${machine.name} ${effect.kind} fails: ${error.code}`);
      return world.later(
        machine,
        1,
        () =>
          world.deliver(machine, { kind: "failed", id, code: error.code, message: `${effect.kind}: ${error.code}` }),
      );
    }
    world.later(machine, 1, () => world.deliver(machine, { kind: "done", id, value }));
  });
}

/** The member serves no read from the first moment on; its file is smaller at the end, unless it was killed meanwhile. */
function defragment(world: World, machine: Machine, effect: Extract<AnsweredEffect, { kind: "defragment" }>): void {
  const member = endpointOf(world, effect.endpoint);
  const fail = (afterMs: number) =>
    world.later(
      machine,
      afterMs,
      () => world.deliver(machine, { kind: "failed", id: effect.id, code: "unavailable", message: "defragment" }),
    );
  if (member === undefined || member.frozen || !world.connected(machine.name, member.node)) return fail(100);
  for (const other of world.etcds.running.values()) {
    if (other !== member && other.data.clusterId === member.data.clusterId && defragments(world, other)) {
      world.fail(`${member.node} and ${other.node} defragment at once`);
    }
  }
  const target = world.machines.get(member.node)!;
  const forMs = 500 + world.below(4_000);
  const startedMs = member.startedMs;
  target.defrag = { startedMs, untilMs: world.nowMs + forMs };
  world.at(forMs, () => {
    if (world.memberOf(target.name)?.startedMs !== startedMs) return;
    target.freeBytes = 0;
    world.referee.defragmentations++;
  });
  world.later(machine, forMs + 1, () => {
    const id = effect.id;
    if (target.freeBytes === 0) world.deliver(machine, { kind: "done", id, value: { kind: "nothing" } });
    else world.deliver(machine, { kind: "failed", id, code: "unavailable", message: "defragment" });
  });
}

function defragments(world: World, member: Member): boolean {
  const at = world.machines.get(member.node)?.defrag;
  return at !== undefined && at.startedMs === member.startedMs && at.untilMs > world.nowMs;
}

function describe(effect: AnsweredEffect): string {
  if ("memberId" in effect) return ` ${effect.memberId.slice(0, 4)}`;
  if (effect.kind === "startEtcd") return ` ${effect.start.state}`;
  return "";
}

function durationMs(
  world: World,
  machine: Machine,
  effect: Exclude<AnsweredEffect, { kind: "defragment" }>,
): number {
  const slow = machine.slow ? 400 : 0;
  switch (effect.kind) {
    case "writeRecord":
    case "moveDataAside":
      return 3 + world.below(10) + slow;
    case "startEtcd":
      return 50 + world.below(150) + slow;
    case "stopEtcd":
      return 50 + world.below(100);
    case "prepareSource":
    case "exportSurvivor":
    case "restoreData":
      return 200 + world.below(800) + slow;
    case "takeSnapshot":
      return 100 + world.below(400);
    default:
      return 5 + world.below(40);
  }
}

const nothing: DoneValue = { kind: "nothing" };

function deed(
  world: World,
  machine: Machine,
  effect: Exclude<AnsweredEffect, { kind: "defragment" }>,
): DoneValue {
  const { disk } = machine;
  switch (effect.kind) {
    case "writeRecord":
      disk.record = effect.record;
      return nothing;
    case "moveDataAside":
      if (world.memberOf(machine.name) !== undefined) world.fail(`${machine.name} moved the data of a running etcd`);
      if (disk.data !== undefined || disk.record !== undefined) {
        disk.aside.push({ label: effect.label, data: disk.data });
        world.referee.movedAside(machine, effect.label);
      }
      disk.data = undefined;
      disk.record = undefined;
      disk.damaged = false;
      return nothing;
    case "startEtcd":
      startEtcd(world, machine, effect);
      return nothing;
    case "provideEtcd":
      return nothing;
    case "stopEtcd":
      world.etcds.stop(machine.name);
      return nothing;
    case "prepareSource":
      return { kind: "sourceVerified", hash: prepare(world, machine, effect.founding) };
    case "exportSurvivor": {
      const { data } = disk;
      if (data === undefined) throw new Failed("no_data");
      const revision = revisionOf(data);
      const values = [...valuesOf(data.log, data.log.length)];
      const hash = hashText(`export ${machine.name} ${values.length} ${revision}`);
      machine.exported = { hash, values, revision };
      return { kind: "exported", hash, revision, url: `http://${machine.address}:7981/export` };
    }
    case "restoreData": {
      if (disk.data !== undefined) world.fail(`${machine.name} restored over a data-dir`);
      const prepared = [...machine.prepared.values()].at(-1);
      if (prepared === undefined) throw new Failed("not_prepared");
      disk.data = foundersData(world, effect.founding, machine.name, prepared);
      world.referee.dataMade(machine, disk.data, effect.founding.lineage, "restored");
      return nothing;
    }
    case "memberAdd":
    case "memberRemove":
    case "memberPromote":
    case "memberUpdate":
      return changeMembers(world, machine, effect);
    case "moveLeader":
      world.etcds.moveLeader(own(world, machine), effect.to);
      return nothing;
    case "upgradeEtcd": {
      const member = own(world, machine);
      world.etcds.stop(machine.name);
      machine.version = `${effect.to}.1`;
      world.etcds.start({ ...member, frozen: false });
      return nothing;
    }
    case "checkRecord": {
      const member = own(world, machine);
      const record = world.record.get(member.data.clusterId) ?? { size: effect.requiredSize, formerSizes: [] };
      world.record.set(member.data.clusterId, record);
      return { kind: "recordChecked", ...record };
    }
    case "changeRecord": {
      const member = own(world, machine);
      const record = world.record.get(member.data.clusterId);
      const formerSizes = [...record?.formerSizes ?? [], effect.from];
      world.record.set(member.data.clusterId, { size: effect.to, formerSizes });
      return nothing;
    }
    case "writePlan": {
      const member = own(world, machine);
      if (effect.plan === undefined) world.plans.delete(member.data.clusterId);
      else world.plans.set(member.data.clusterId, effect.plan);
      return nothing;
    }
    case "clearVolatile": {
      const { clusterId } = own(world, machine).data;
      if (world.cleared.has(clusterId)) return nothing;
      world.cleared.add(clusterId);
      world.record.delete(clusterId);
      world.plans.delete(clusterId);
      return nothing;
    }
    case "allowDowngrade":
      world.downgraded.set(own(world, machine).data.clusterId, effect.to);
      return nothing;
    case "makeRoom":
      return world.fail(`${machine.name} makes room where there is enough`);
    case "hashMembers":
    case "disarmCorrupt":
      return world.fail(`${machine.name} cares for an alarm that nobody raised`);
    case "compareHashes":
      return { kind: "hashesCompared", equal: true, detail: "" };
    case "takeSnapshot": {
      const member = own(world, machine);
      const revision = revisionOf(member.data);
      if (revision <= effect.lastRevision) return { kind: "snapshotTaken", revision, saved: false };
      if (world.store.kind === "unreadable") throw new Failed("store_unreadable");
      if (world.store.kind === "newest") {
        const { lineage } = world.store.snapshot;
        if (lineage.id !== effect.lineage.id || lineage.epoch > effect.lineage.epoch) throw new Failed("other_lineage");
      }
      const values = [...valuesOf(member.data.log, member.data.commit)];
      const { lineage } = effect;
      world.store = {
        kind: "newest",
        snapshot: {
          hash: hashText(`${lineage.token} ${revision} ${values.length}`),
          values,
          revision,
          lineage,
          takenAtWallMs: world.now().wallMs,
        },
      };
      world.epochMax = Math.max(world.epochMax, lineage.epoch);
      return { kind: "snapshotTaken", revision, saved: true };
    }
    default:
      return effect satisfies never;
  }
}

function own(world: World, machine: Machine): Member {
  const member = world.memberOf(machine.name);
  if (member === undefined || !world.etcds.linearizable(member)) throw new Failed("no_quorum");
  return member;
}

function startEtcd(world: World, machine: Machine, effect: Extract<AnsweredEffect, { kind: "startEtcd" }>): void {
  const { disk } = machine;
  const { start } = effect;
  if (world.memberOf(machine.name) !== undefined) return;
  if (disk.damaged || disk.unreadable) throw new Failed("data_corrupt");
  if (disk.data === undefined) {
    switch (start.state) {
      case "restart":
        throw new Failed("no_data");
      case "new": {
        const founders = start.initialCluster.map((each) => ({
          ...each,
          clientUrl: each.peerUrl.replace(":2380", ":2379"),
        }));
        disk.data = foundedData(founders, start.token, machine.name, world.etcds.firstLogs);
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
  const identity = world.identity(machine);
  world.etcds.start({
    node: machine.name,
    name: identity.name,
    peerUrl: identity.peerUrl,
    clientUrl: identity.clientUrl,
    data: disk.data!,
    frozen: false,
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

function prepare(world: World, machine: Machine, founding: Founding): string {
  const { source } = founding;
  switch (source.kind) {
    case "empty":
      throw new Failed("no_source");
    case "snapshot": {
      if (world.store.kind !== "newest" || world.store.snapshot.hash !== source.hash) throw new Failed("gone");
      const { hash, values, revision } = world.store.snapshot;
      machine.prepared.set(hash, { values, revision });
      return hash;
    }
    case "survivor": {
      const from = world.machines.get(source.name);
      if (from?.exported === undefined || !world.connected(machine.name, from.name)) throw new Failed("unreachable");
      machine.prepared.set(from.exported.hash, from.exported);
      return from.exported.hash;
    }
    default:
      return source satisfies never;
  }
}

function foundersData(
  world: World,
  founding: Founding,
  self: string,
  source: { values: readonly number[]; revision: number },
): EtcdData {
  const founders = founding.founders.map(({ name, peerUrl }) => ({
    name,
    peerUrl,
    clientUrl: peerUrl.replace(":2380", ":2379"),
  }));
  return foundedData(founders, founding.lineage.token, self, world.etcds.firstLogs, {
    values: source.values,
    revision: source.revision + 1_000_000,
  });
}

function changeMembers(
  world: World,
  machine: Machine,
  effect: Extract<AnsweredEffect, { kind: "memberAdd" | "memberRemove" | "memberPromote" | "memberUpdate" }>,
): DoneValue {
  for (const endpoint of effect.via) {
    const member = endpointOf(world, endpoint);
    if (member === undefined || member.frozen || !world.connected(machine.name, member.node)) continue;
    switch (effect.kind) {
      case "memberAdd": {
        const memberId = world.etcds.change(member, {
          kind: "add",
          peerUrl: effect.peerUrl,
          salt: `${world.nowMs} ${machine.name}`,
        });
        // The answer of a change that was made may still be lost on its way.
        if (world.random() < 0.05) throw new Failed("timeout");
        return { kind: "memberAdded", memberId };
      }
      case "memberRemove": {
        const before = world.referee.votersOf(member);
        world.etcds.change(member, { kind: "remove", id: effect.memberId });
        world.referee.removed(member, effect.memberId, machine, before);
        return nothing;
      }
      case "memberPromote":
        world.etcds.change(member, { kind: "promote", id: effect.memberId });
        return nothing;
      case "memberUpdate":
        world.etcds.change(member, { kind: "update", id: effect.memberId, peerUrl: effect.peerUrl });
        return nothing;
      default:
        effect satisfies never;
    }
  }
  throw new Failed("unreachable");
}

function endpointOf(world: World, clientUrl: string): Member | undefined {
  for (const member of world.etcds.running.values()) if (member.clientUrl === clientUrl) return member;
  return undefined;
}

function probe(world: World, machine: Machine, endpoint: string): EtcdProbe {
  const member = endpointOf(world, endpoint);
  if (member === undefined) return { kind: "unreachable", code: "refused" };
  if (member.frozen || !world.connected(machine.name, member.node)) return { kind: "unreachable", code: "timeout" };
  const leader = world.etcds.leaderOf(member);
  const config = configOf(member.data);
  const isLearner = config.find((each) => each.id === member.data.memberId)?.isLearner ?? true;
  // A learner refuses reads that need a quorum, and lists no members.
  const linearizable = leader !== undefined && !isLearner && !defragments(world, member) &&
    world.etcds.linearizable(member);
  const record = world.record.get(member.data.clusterId);
  const downgraded = world.downgraded.get(member.data.clusterId);
  return {
    kind: "answer",
    clusterId: member.data.clusterId,
    memberId: member.data.memberId,
    ...(leader === undefined ? {} : { leaderId: leader.data.memberId }),
    isLearner,
    raftTerm: member.data.term,
    raftIndex: member.data.log.length,
    raftAppliedIndex: member.data.commit,
    revision: revisionOf(member.data),
    version: world.machines.get(member.node)!.version,
    ...(downgraded === undefined ? {} : { storageVersion: `${downgraded}.0` }),
    dbSizeBytes: 20_480 + world.machines.get(member.node)!.freeBytes,
    dbInUseBytes: 20_480,
    alarms: [],
    linearizable,
    members: isLearner ? [] : config.map((each) => ({
      id: each.id,
      name: each.name,
      peerUrls: [each.peerUrl],
      clientUrls: each.clientUrl === "" ? [] : [each.clientUrl],
      isLearner: each.isLearner,
    })),
    formerSizes: linearizable ? record?.formerSizes ?? [] : [],
    ...(linearizable && record !== undefined ? { recordedSize: record.size } : {}),
  };
}

function catalogue(world: World): Exclude<Catalogue, { kind: "unknown" }> {
  const { store } = world;
  switch (store.kind) {
    case "absent":
      return { kind: "absent" };
    case "unreadable":
      return { kind: "unreadable", code: "forbidden", why: store.why };
    case "newest": {
      const { hash, revision, lineage, takenAtWallMs } = store.snapshot;
      return { kind: "newest", hash, revision, lineage, takenAtWallMs, verified: true, epochMax: world.epochMax };
    }
    default:
      return store satisfies never;
  }
}

function inspect(machine: Machine): DataDir {
  const { disk } = machine;
  if (disk.unreadable) return { kind: "unreadable", why: "EIO" };
  if (disk.damaged) return { kind: "damaged", what: "checksum of the log" };
  const { data } = disk;
  if (data === undefined) return { kind: "absent" };
  const config = configOf(data);
  return {
    kind: "valid",
    name: machine.name,
    memberId: data.memberId,
    clusterId: data.clusterId,
    peerUrls: config.filter((each) => each.id === data.memberId).map((each) => each.peerUrl),
    members: config.map((each) => ({
      id: each.id,
      name: each.name,
      peerUrls: [each.peerUrl],
      clientUrls: each.clientUrl === "" ? [] : [each.clientUrl],
      isLearner: each.isLearner,
    })),
    revision: revisionOf(data),
    raftTerm: data.term,
    raftIndex: data.log.length,
  };
}
