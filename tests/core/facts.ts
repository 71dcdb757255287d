/** Views and answers for the tests of single rules: plain facts with sensible defaults. */
import type {
  EndpointFacts,
  EtcdAnswer,
  EtcdMember,
  GossipPeer,
  PeerFacts,
  Settings,
  ValidData,
  View,
} from "../../lib/core/view.ts";

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
    catalogue: "unconfigured",
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
    go: false,
    ...change,
  };
}

export function goPeer(name: string, change: Partial<GossipPeer> = {}): GossipPeer {
  const { facts: _, ...rest } = peer(name, change);
  return { ...rest, go: true };
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
    linearizable: true,
    members,
    formerSizes: [],
    ...change,
  };
}

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
    endpoints: new Map(),
    memberSinceMs: new Map(),
    catalogue: { kind: "unconfigured" },
    etcd: { kind: "stopped" },
    watchingSinceMs: 0,
    ...change,
  };
}
