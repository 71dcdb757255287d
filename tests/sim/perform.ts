/** Performs effects on the fakes in place of the manager: each effect takes a while, may fail, and has a result. */
import type { AnsweredEffect, Effect } from "../../lib/core/facts/effect.ts";
import type { DoneValue } from "../../lib/core/facts/event.ts";
import { advisedPatch } from "../../lib/core/evidence/etcd_hazards.ts";
import {
  bootstrappedData,
  clusterVersionOf,
  configOf,
  type EtcdData,
  hashText,
  type Member,
  Refusal,
  revisionOf,
  valuesOf,
} from "./fake_etcd.ts";
import { isOfCommand } from "./operators.ts";
import { branchFor, livesOf } from "./stored_lives.ts";
import type { Machine, Store, StoredSnapshot, World } from "./world.ts";
import { type EtcdRange, isWithin } from "../../lib/core/facts/etcd_range.ts";
import type { SnapshotLookup, StoredLife } from "../../lib/core/facts/snapshot_lookup.ts";
import type { DataDir } from "../../lib/core/facts/data_dir.ts";
import type { EtcdProbe, RaftProbe } from "../../lib/core/facts/cluster.ts";
import type { BootstrapPlan } from "../../lib/core/facts/node_record.ts";
import { compareMinors } from "../../lib/facts/etcd_version.ts";

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
      return probeEach(world, machine, effect);
    case "probeRaft":
      return world.later(
        machine,
        jitter(),
        () => world.deliver(machine, { kind: "raftProbed", probe: raftPeers(world, machine, effect.endpoint) }),
      );
    case "lookUpSnapshot":
      return world.later(
        machine,
        20 + world.below(100) + world.storeOf(machine.owner).delayMs,
        () => world.deliver(machine, { kind: "snapshotLookedUp", lookup: snapshotLookup(world, machine) }),
      );
    case "readPlan":
      return world.later(machine, jitter(), () => {
        const member = world.memberOf(machine.name);
        if (member === undefined || !world.etcds.linearizable(member)) return;
        const plan = world.plans.get(member.data.clusterId);
        world.deliver(machine, { kind: "plan", ...(plan === undefined ? {} : { plan }) });
      });
    case "keepPause":
      machine.disk.pauseMark = effect.mark;
      return;
    case "setStatus":
      machine.status = effect.status;
      return;
    case "shunPeers":
      return world.gossip.shun(machine, effect.names);
    case "publishFacts":
    case "abortSnapshot":
    case "journal":
      return;
    case "reply":
      return world.operators.reply(machine, effect);
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

function probeEach(world: World, machine: Machine, effect: Extract<Effect, { kind: "probe" }>): void {
  const delayMs = isOfCommand(machine, effect) ? () => world.operators.delayMs() : () => 2 + world.below(10);
  for (const endpoint of effect.endpoints) {
    // A refused connection fails immediately, a cut one after the time-out.
    const target = endpointOf(world, endpoint);
    const cut = target !== undefined && (!world.connected(machine.name, target.node) || target.frozen);
    world.later(
      machine,
      cut ? 900 : delayMs(),
      () => world.deliver(machine, { kind: "probed", endpoint, probe: probe(world, machine, endpoint) }),
    );
  }
}

/** Runs the effect after its duration and always delivers its result. */
function answer(world: World, machine: Machine, effect: AnsweredEffect): void {
  const { id } = effect;
  world.trace(`${machine.name} does ${effect.kind}${describe(effect)}`);
  if (effect.kind === "defragment") return defragment(world, machine, effect);
  world.later(machine, durationMs(world, machine, effect), () => {
    let value: DoneValue;
    try {
      value = resultOf(world, machine, effect);
      if (machine.crashAfter === effect.kind) {
        machine.crashAfter = undefined;
        return world.kill(machine);
      }
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

/** The member serves no read meanwhile; its file is smaller at the end, unless it was killed before. */
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
    case "quarantineData":
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
    case "writePause":
    case "writeHold":
      return world.operators.delayMs();
    default:
      return 5 + world.below(40);
  }
}

const nothing: DoneValue = { kind: "nothing" };

function resultOf(
  world: World,
  machine: Machine,
  effect: Exclude<AnsweredEffect, { kind: "defragment" }>,
): DoneValue {
  const { disk } = machine;
  switch (effect.kind) {
    case "writeRecord":
      if (
        effect.record.pledges.at(-1)?.token !== disk.record?.pledges.at(-1)?.token && effect.record.pledges.length > 0
      ) {
        world.referee.evidence.pledged(machine, effect.record.pledges.at(-1)!);
      }
      disk.record = effect.record;
      return nothing;
    case "quarantineData":
      if (world.memberOf(machine.name) !== undefined) {
        world.fail(`${machine.name} quarantined the data of a running etcd`);
      }
      if (disk.data !== undefined || disk.record !== undefined && !effect.keepRecord) {
        disk.aside.push({ label: effect.label, data: disk.data });
        world.referee.quarantined(machine, effect.label);
      }
      disk.data = undefined;
      if (!effect.keepRecord) disk.record = undefined;
      disk.damaged = false;
      return nothing;
    case "startEtcd":
      startEtcd(world, machine, effect);
      return nothing;
    case "provideEtcd":
      machine.programs = fitting(machine.programs, effect.range);
      return { kind: "etcdProvided", version: machine.programs };
    case "stopEtcd":
      world.etcds.stop(machine.name);
      return nothing;
    case "prepareSource":
      return { kind: "sourceVerified", hash: prepare(world, machine, effect.plan) };
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
      const { digest } = effect.plan;
      if (disk.data !== undefined && machine.restored === digest) return nothing;
      if (disk.data !== undefined) world.fail(`${machine.name} restored over a data-dir`);
      const prepared = machine.prepared.get(digest);
      if (prepared === undefined) throw new Failed("not_prepared");
      disk.data = initialMembersData(world, effect.plan, machine, prepared);
      world.referee.dataMade(machine, disk.data, effect.plan.lineage, "restored");
      machine.restored = digest;
      machine.prepared.clear();
      return nothing;
    }
    case "memberAdd":
    case "memberRemove":
    case "memberPromote":
    case "memberUpdate":
      return changeMembers(world, machine, effect);
    case "moveLeader":
      world.etcds.moveLeader(
        effect.via === undefined ? own(world, machine) : leaderAt(world, machine, effect.via),
        effect.to,
      );
      return nothing;
    case "upgradeEtcd": {
      const member = own(world, machine);
      world.etcds.stop(machine.name);
      machine.programs = advisedPatch(effect.to);
      runVersion(world, machine, member.data);
      world.etcds.start({ ...member, frozen: false });
      world.deliver(machine, { kind: "etcd", state: "starting" });
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
      if (effect.plan === undefined) {
        const done = world.plans.get(member.data.clusterId);
        if (done !== undefined) world.referee.planDone(member, done);
        world.plans.delete(member.data.clusterId);
      } else world.plans.set(member.data.clusterId, effect.plan);
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
    case "reclaimSpace":
      return world.fail(`${machine.name} reclaims space of a database that is not full`);
    case "hashMembers":
    case "disarmCorrupt":
      return world.fail(`${machine.name} handles an alarm that was not raised`);
    case "writePause": {
      const { clusterId } = own(world, machine).data;
      world.referee.evidence.paused(clusterId, effect.paused);
      world.pauses.set(clusterId, { paused: effect.paused, version: (world.pauses.get(clusterId)?.version ?? 0) + 1 });
      return nothing;
    }
    case "writeHold":
      world.operators.setHold(machine, effect.hold);
      world.deliver(machine, { kind: "settings", settings: machine.settings });
      return nothing;
    case "writeLineage": {
      const { clusterId } = own(world, machine).data;
      if (clusterId === effect.clusterId && !world.lineages.has(clusterId)) {
        world.lineages.set(clusterId, effect.lineage);
      }
      return nothing;
    }
    case "compareHashes":
      return { kind: "hashesCompared", equal: true, detail: "" };
    case "takeSnapshot": {
      const member = own(world, machine);
      const revision = revisionOf(member.data);
      if (revision <= effect.lastRevision) return { kind: "snapshotTaken", revision, saved: false };
      const store = world.storeOf(machine.owner);
      if (store.current.kind === "unreadable") throw new Failed("store_unreadable");
      // The lineage with the first snapshot keeps the store; a life of the same lineage saves beside the others.
      const owner = store.history[0] ?? (store.current.kind === "newest" ? store.current.snapshot : undefined);
      if (owner !== undefined && owner.lineage.id !== effect.lineage.id) throw new Failed("other_lineage");
      const values = [...valuesOf(member.data.log, member.data.commit)];
      const { lineage } = effect;
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
    default:
      return effect satisfies never;
  }
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
      const snapshot = [shown(store), ...store.history].find((each) => each?.hash === source.hash);
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

function changeMembers(
  world: World,
  machine: Machine,
  effect: Extract<AnsweredEffect, { kind: "memberAdd" | "memberRemove" | "memberPromote" | "memberUpdate" }>,
): DoneValue {
  for (const endpoint of effect.via) {
    const member = endpointOf(world, endpoint);
    if (member === undefined || member.frozen || !world.connected(machine.name, member.node)) continue;
    world.referee.evidence.changes(machine, member, effect.kind);
    switch (effect.kind) {
      case "memberAdd": {
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
  // A learner refuses linearizable reads, and lists no members.
  const linearizable = leader !== undefined && !isLearner && !defragments(world, member) &&
    world.etcds.linearizable(member);
  const record = world.record.get(member.data.clusterId);
  const clusterVersion = clusterVersionOf(member.data);
  return {
    kind: "answer",
    clusterId: member.data.clusterId,
    memberId: member.data.memberId,
    ...(leader === undefined ? {} : { leaderId: leader.data.memberId }),
    isLearner,
    raftTerm: member.data.term,
    // The committed index, as etcd reports it.
    raftIndex: member.data.commit,
    raftAppliedIndex: member.data.commit,
    revision: revisionOf(member.data),
    version: world.machines.get(member.node)!.version,
    ...(clusterVersion === undefined ? {} : { clusterVersion: `${clusterVersion}.0`, ...storageOf(clusterVersion) }),
    dbSizeBytes: 20_480 + world.machines.get(member.node)!.freeBytes,
    dbInUseBytes: 20_480,
    alarms: [],
    statusErrors: [],
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
    ...(linearizable
      ? {
        lineage: world.lineages.get(member.data.clusterId) ?? "absent" as const,
        pause: world.pauses.get(member.data.clusterId) ?? { paused: false, version: 0 },
      }
      : {}),
  };
}

const storageOf = (minor: string) => compareMinors(minor, "3.6") < 0 ? {} : { storageVersion: `${minor}.0` };

/** The metrics of the etcd at this URL: bytes that its raft has received from each member. */
function raftPeers(world: World, machine: Machine, endpoint: string): RaftProbe {
  const member = endpointOf(world, endpoint);
  if (member === undefined) return { kind: "unreachable", code: "refused" };
  if (member.frozen || !world.connected(machine.name, member.node)) return { kind: "unreachable", code: "timeout" };
  return { kind: "answer", memberId: member.data.memberId, peers: world.etcds.received(member) };
}

function snapshotLookup(world: World, machine: Machine): Exclude<SnapshotLookup, { kind: "unknown" }> {
  const store = world.storeOf(machine.owner);
  if (store.current.kind === "unreadable") {
    return { kind: "unreadable", code: "forbidden", why: store.current.why };
  }
  const snapshot = shown(store);
  if (snapshot === undefined) return { kind: "absent" };
  const upTo = store.history.indexOf(snapshot);
  const { lives, fork } = livesOf(upTo < 0 ? [snapshot] : store.history.slice(0, upTo + 1));
  const [{ lineage, newest }] = lives as [StoredLife];
  const epochs = lives.filter((life) => life.lineage.id === lineage.id).map((life) => life.lineage.epoch);
  const epochMax = Math.max(...epochs);
  return { kind: "newest", ...newest, lineage, verified: true, epochMax, lives, fork };
}

/** The snapshot that the store returns as the newest. */
function shown(store: Store): StoredSnapshot | undefined {
  return store.stale ?? (store.current.kind === "newest" ? store.current.snapshot : undefined);
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
    name: config.find((each) => each.id === data.memberId)?.name ?? machine.nodeName,
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
    ...(clusterVersionOf(data) === undefined ? {} : { etcdAtLeast: clusterVersionOf(data)! }),
    revision: revisionOf(data),
    raftTerm: data.term,
    raftIndex: data.log.length,
    lastLog: { term: data.log.at(-1)?.term ?? 0, index: data.log.length },
  };
}
