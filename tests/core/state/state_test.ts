import { copyOf, createNode, nonceOf, servingWithLeader } from "../../../lib/core/state/state.ts";
import { assertEquals } from "../../support/assert.ts";
import { changed, settings } from "../facts.ts";

const self = { name: "a", peerUrl: "http://a:2380", clientUrl: "http://a:2379", gossipAddr: "a:7980" };
const now = { monotonicMs: 7, wallMs: 1_000 };

Deno.test("a new node knows nothing: no data, no peer, no store, no etcd, no wait, no effect", () => {
  const unknown = { kind: "unknown" } as const;
  const set = settings({ snapshots: true });
  assertEquals(createNode(self, set, "seed", now), {
    self,
    settings: set,
    phase: "booting",
    process: {
      seed: "seed",
      nonces: 1,
      bootedAtMs: 7,
      lastEventMs: 7,
      watchingSinceMs: 7,
      timerAtMs: undefined,
      ending: undefined,
    },
    disk: {
      data: unknown,
      record: { nonce: nonceOf("seed", 0), pledges: [] },
      recordPersisted: false,
      logsWrittenMs: undefined,
      logReadMs: undefined,
      logTerms: undefined,
      publishedTerms: undefined,
      termsReadMs: undefined,
      logReadCommitted: 0,
      missingChecks: 0,
    },
    gossip: {
      gossipJoinedAtMs: undefined,
      known: [],
      peers: [],
      foreign: new Map(),
      shunned: [],
      gossipKeys: { mismatches: [] },
      nameConflicts: [],
      nameConflictSinceMs: undefined,
      rememberedPeers: new Map(),
      status: "unknown",
      facts: undefined,
      factsText: "",
    },
    membership: {
      endpoints: new Map(),
      lastProbedAtMs: new Map(),
      probesInvalidatedAtMs: -Infinity,
      memberSinceMs: new Map(),
      memberAnswers: new Map(),
      raft: undefined,
      raftProbedMs: undefined,
      lastCluster: undefined,
      silentManager: undefined,
      added: undefined,
      fewVotersSinceMs: undefined,
      clusterRecordVerified: false,
    },
    snapshots: {
      lookup: unknown,
      store: { lookup: unknown, newest: undefined },
      newestSince: undefined,
      lookupStartedMs: undefined,
      lookupInFlight: false,
      backup: { revision: 0, diverged: false },
      backupLag: { newest: "", aheadSinceMs: undefined },
      ownSnapshot: undefined,
      lastSnapshotAtWallMs: undefined,
      storedAhead: undefined,
      storedLife: undefined,
    },
    ownEtcd: {
      etcd: { kind: "stopped" },
      exits: 0,
      etcdProgress: { atMs: -Infinity, busy: false, startsAgain: false, restarts: 0, restartedAtMs: -Infinity },
      leaderlessSinceMs: undefined,
      leaderSinceMs: undefined,
      provided: undefined,
    },
    bootstrap: {
      committing: undefined,
      progress: {},
      restored: undefined,
      volatileKeysCleared: false,
      hashesCompared: false,
    },
    maintenance: { hashes: undefined, plan: undefined, planReadMs: undefined, requested: undefined },
    operator: { pauseMark: undefined, commands: [] },
    reports: {
      waitingFor: undefined,
      waitingLevel: "info",
      escalatingSinceMs: -Infinity,
      problems: new Map(),
      journal: [],
    },
    effects: { inFlight: new Map(), failing: new Map(), backoffUntilMs: new Map(), nextId: 1 },
  });
  const mark = { clusterId: "c1", paused: true, version: 2 };
  const without = createNode(self, settings(), "seed", now, mark);
  assertEquals([without.snapshots.lookup.kind, without.snapshots.store.lookup.kind], ["unconfigured", "unconfigured"]);
  assertEquals(without.operator.pauseMark, mark, "the pause on disk outlasts the process");
});

Deno.test("nonceOf() makes another nonce of each count and each seed, 16 hexadecimal digits, the same in every release", () => {
  assertEquals([nonceOf("seed", 0), nonceOf("seed", 1), nonceOf("other", 0)], [
    "627eead5253021c7",
    "4b3f297f413bb5b5",
    "9a665b7a95b79238",
  ]);
});

Deno.test("copyOf() shares no group with the state: a turn changes nothing of the state that it began with", () => {
  const state = createNode(self, settings(), "seed", now);
  const copy = copyOf(state);
  assertEquals(copy, state);
  const shared = Object.entries(state).filter(([name, group]) =>
    typeof group === "object" && group === copy[name as keyof typeof copy]
  );
  assertEquals(shared.map(([name]) => name), ["self", "settings"]);
});

Deno.test("servingWithLeader() is true of a node that serves while its etcd has a leader", () => {
  const state = createNode(self, settings(), "seed", now);
  const serves = (phase: typeof state.phase, leaderlessSinceMs?: number) =>
    servingWithLeader(changed(state, { phase, ownEtcd: { leaderlessSinceMs } }));
  assertEquals([serves("serving"), serves("serving", 5), serves("restarting")], [true, false, false]);
});
