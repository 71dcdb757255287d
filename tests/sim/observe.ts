/** What a node reads of its simulated world: its disk, the members of etcd, raft's counters and the snapshot store. */
import type { DataDir } from "../../lib/core/facts/data_dir.ts";
import type { EtcdProbe, RaftProbe } from "../../lib/core/facts/cluster.ts";
import type { SnapshotLookup, StoredLife } from "../../lib/core/facts/snapshot_lookup.ts";
import { compareMinors } from "../../lib/facts/etcd_version.ts";
import { clusterVersionOf, configOf, type EtcdData, type Member, revisionOf } from "./fake_etcd.ts";
import type { LogPosition } from "../../lib/facts/lineage.ts";
import { livesOf } from "./stored_lives.ts";
import type { Machine, Store, StoredSnapshot, World } from "./world.ts";

export function endpointOf(world: World, clientUrl: string): Member | undefined {
  for (const member of world.etcds.running.values()) if (member.clientUrl === clientUrl) return member;
  return undefined;
}

export function probeAt(world: World, machine: Machine, endpoint: string): EtcdProbe {
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
export function probeRaftAt(world: World, machine: Machine, endpoint: string): RaftProbe {
  const member = endpointOf(world, endpoint);
  if (member === undefined) return { kind: "unreachable", code: "refused" };
  if (member.frozen || !world.connected(machine.name, member.node)) return { kind: "unreachable", code: "timeout" };
  return { kind: "answer", memberId: member.data.memberId, peers: world.etcds.received(member) };
}

export function snapshotLookup(world: World, machine: Machine): Exclude<SnapshotLookup, { kind: "unknown" }> {
  const store = world.storeOf(machine.owner);
  if (store.current.kind === "unreadable") {
    return { kind: "unreadable", code: "forbidden", why: store.current.why };
  }
  const snapshot = snapshotShown(store);
  if (snapshot === undefined) return { kind: "absent" };
  const upTo = store.history.indexOf(snapshot);
  const { lives, fork } = livesOf(upTo < 0 ? [snapshot] : store.history.slice(0, upTo + 1));
  const [{ lineage, newest }] = lives as [StoredLife];
  const epochs = lives.filter((life) => life.lineage.id === lineage.id).map((life) => life.lineage.epoch);
  const epochMax = Math.max(...epochs);
  return { kind: "newest", ...newest, lineage, verified: true, epochMax, lives, fork };
}

/** The snapshot that the store returns as the newest. */
export function snapshotShown(store: Store): StoredSnapshot | undefined {
  return store.stale ?? (store.current.kind === "newest" ? store.current.snapshot : undefined);
}

function termStartsOf({ log }: EtcdData): LogPosition[] {
  return log.flatMap(({ term }, at) => term === log[at - 1]?.term ? [] : [{ term, index: at + 1 }]);
}

export function inspectDisk(machine: Machine): DataDir {
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
    raftIndex: data.commit,
    lastLog: { term: data.log.at(-1)?.term ?? 0, index: data.log.length },
    termStarts: termStartsOf(data),
  };
}

/** True while a defragmentation of the database of this member runs. */
export function defragments(world: World, member: Member): boolean {
  const at = world.machines.get(member.node)?.defrag;
  return at !== undefined && at.startedMs === member.startedMs && at.untilMs > world.nowMs;
}
