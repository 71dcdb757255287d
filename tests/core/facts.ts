/** Views and answers for the tests of single rules: plain facts with sensible defaults. */
import type { NodeState } from "../../lib/core/state/state.ts";
import { lookupDigest } from "../../lib/core/rules/bootstrap/source.ts";
import type { View } from "../../lib/core/facts/view.ts";
import type { SnapshotLookup } from "../../lib/core/facts/snapshot_lookup.ts";
import type { GossipPeer, LookupDigest, PeerFacts } from "../../lib/core/facts/peer.ts";
import type { EndpointFacts, EtcdAlarm, EtcdAnswer, EtcdMember } from "../../lib/core/facts/cluster.ts";
import type { Settings } from "../../lib/core/facts/settings.ts";
import type { ValidData } from "../../lib/core/facts/data_dir.ts";

export const nowMs = 1_000_000;

export function settings(change: Partial<Settings> = {}): Settings {
  return {
    requiredSize: 3,
    gossip: true,
    seeds: [],
    healthCheckTimeoutMs: 60_000,
    quorumLossTimeoutMs: 600_000,
    learnerStallTimeoutMs: 60_000,
    restore: "auto",
    approved: [],
    paused: false,
    snapshots: false,
    snapshotIntervalMs: 60_000,
    ...change,
  };
}

export function facts(name: string, change: Partial<PeerFacts> = {}): PeerFacts {
  return {
    nonce: `nonce-${name}`,
    formerNonces: [],
    sequence: 1,
    requiredSize: 3,
    phase: "gathering",
    data: { kind: "none" },
    pledges: [],
    renounced: [],
    approved: [],
    snapshotLookup: "unconfigured",
    ...change,
  };
}

export function peer(name: string, change: Partial<GossipPeer> = {}): GossipPeer {
  return {
    name,
    peerUrl: `http://${name}:2380`,
    clientUrl: `http://${name}:2379`,
    gossipAddr: `${name}:7980`,
    state: "alive",
    sinceMs: 0,
    status: "unknown",
    facts: facts(name),
    isLegacy: false,
    ...change,
  };
}

export function goPeer(name: string, change: Partial<GossipPeer> = {}): GossipPeer {
  const { facts: _, ...rest } = peer(name, change);
  return { ...rest, isLegacy: true };
}

export function member(name: string, change: Partial<EtcdMember> = {}): EtcdMember {
  return {
    id: `id-${name}`,
    name,
    peerUrls: [`http://${name}:2380`],
    clientUrls: [`http://${name}:2379`],
    isLearner: false,
    ...change,
  };
}

export function answer(name: string, members: readonly EtcdMember[], change: Partial<EtcdAnswer> = {}): EtcdAnswer {
  return {
    kind: "answer",
    clusterId: "c1",
    memberId: `id-${name}`,
    leaderId: "id-a",
    isLearner: false,
    raftTerm: 2,
    raftIndex: 100,
    raftAppliedIndex: 100,
    revision: 50,
    version: "3.6.14",
    dbSizeBytes: 1,
    dbInUseBytes: 1,
    alarms: [],
    statusErrors: [],
    linearizable: true,
    members,
    formerSizes: [],
    pause: { paused: false, version: 0 },
    ...change,
  };
}

/** An alarm of that member; without a name etcd does not know which. */
export const alarm = (type: "NOSPACE" | "CORRUPT", name?: string): EtcdAlarm => ({
  type,
  memberId: name === undefined ? "0" : `id-${name}`,
});

export function answering(last: EtcdAnswer, atMs = nowMs): EndpointFacts {
  return { last, atMs, failures: 0, appliedIndex: last.raftAppliedIndex, progressAtMs: atMs };
}

export function silent(sinceMs: number): EndpointFacts {
  return {
    last: { kind: "unreachable", code: "refused" },
    atMs: nowMs,
    failingSinceMs: sinceMs,
    failures: 9,
    appliedIndex: 0,
    progressAtMs: 0,
  };
}

export function data(name: string, members: readonly EtcdMember[], change: Partial<ValidData> = {}): ValidData {
  return {
    kind: "valid",
    name,
    memberId: `id-${name}`,
    clusterId: "c1",
    peerUrls: [`http://${name}:2380`],
    members,
    revision: 50,
    raftTerm: 2,
    raftIndex: 100,
    ...change,
  };
}

export function view(name: string, change: Partial<View> = {}): View {
  return {
    nowMs,
    nowWallMs: 1_700_000_000_000,
    self: {
      name,
      peerUrl: `http://${name}:2380`,
      clientUrl: `http://${name}:2379`,
      gossipAddr: `${name}:7980`,
    },
    settings: settings(),
    data: { kind: "absent" },
    record: { nonce: `nonce-${name}`, pledges: [] },
    gossipJoinedAtMs: 0,
    bootedAtMs: 0,
    peers: [],
    gossipKeys: { mismatches: [] },
    nameConflicts: [],
    endpoints: new Map(),
    memberSinceMs: new Map(),
    memberAnswers: new Map(),
    snapshotLookup: { kind: "unconfigured" },
    etcd: { kind: "stopped" },
    watchingSinceMs: 0,
    ...change,
  };
}

/** What a peer that has found this in the store publishes. */
export function found(snapshotLookup: SnapshotLookup): LookupDigest {
  return lookupDigest(view("any", { settings: settings({ snapshots: true }), snapshotLookup }))!;
}

/** Some fields of some groups of a state. */
export type StateChange =
  & Partial<Pick<NodeState, "self" | "settings" | "phase">>
  & { readonly [K in Exclude<keyof NodeState, "self" | "settings" | "phase">]?: Partial<NodeState[K]> };

/** The state with these fields in place of its own. */
export function changed(state: NodeState, ...changes: readonly StateChange[]): NodeState {
  const next: Record<string, unknown> = { ...state };
  for (const change of changes) {
    for (const [group, fields] of Object.entries(change)) {
      next[group] = typeof fields === "object" ? { ...next[group] as object, ...fields } : fields;
    }
  }
  return next as unknown as NodeState;
}
