import { backupFailure, watchBackups } from "../../../lib/core/watch/backups.ts";
import { step } from "../../../lib/core/step.ts";
import type { Event } from "../../../lib/core/facts/event.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import {
  answer,
  answering,
  changed,
  data,
  facts,
  member,
  nowMs,
  peer,
  settings,
  type StateChange,
  view,
} from "../facts.ts";
import { nowWallMs, problemOf, turnOf } from "../turns.ts";
import type { EtcdAnswer } from "../../../lib/core/facts/cluster.ts";
import type { Turn } from "../../../lib/core/state/turn.ts";
import { backupLimitMs } from "../../../lib/core/rules/backup.ts";
import { createNode, type NodeState } from "../../../lib/core/state/state.ts";
import type { SnapshotLookup } from "../../../lib/core/facts/snapshot_lookup.ts";
import type { PeerFacts } from "../../../lib/core/facts/peer.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const intervalMs = 60_000;
const limitMs = backupLimitMs(intervalMs);
const lineage = { id: "l", epoch: 1, token: "t" };
const stored = (revision: number, id = "l"): Exclude<SnapshotLookup, { kind: "unknown" }> => ({
  kind: "newest",
  hash: `hash-${revision}`,
  revision,
  lineage: { ...lineage, id },
  takenAtWallMs: 1_700_000_000_000,
  verified: true,
  epochMax: 1,
});

/** Node b serves beside leader a; what its own etcd answers is heard each second. */
class Follower {
  node: NodeState;
  atMs = 0;
  revision = 50;

  constructor(change: StateChange = {}) {
    const now = { monotonicMs: 0, wallMs: 1_700_000_000_000 };
    const set = settings({ snapshots: true, snapshotIntervalMs: intervalMs });
    this.node = changed(createNode(view("b").self, set, "seed", now), {
      phase: "serving",
      ownEtcd: { etcd: { kind: "ready", sinceMs: 0 } },
      disk: {
        data: data("b", members),
        record: { nonce: "n", pledges: [], started: { lineage, how: "joined", renounced: [] } },
        recordPersisted: true,
      },
    }, change);
  }

  tell(event: Event): void {
    const now = { monotonicMs: this.atMs, wallMs: 1_700_000_000_000 + this.atMs };
    this.node = step(this.node, event, now).node;
  }

  run(ms: number, leaderId = "id-a"): void {
    for (const untilMs = this.atMs + ms; this.atMs < untilMs;) {
      this.atMs += 1_000;
      const probe = answer("b", members, { leaderId, revision: this.revision });
      this.tell({ kind: "probed", endpoint: "http://b:2379", probe });
    }
  }

  problem(): string | undefined {
    const found = this.node.reports.problems.get("backups_failing");
    return found && `${found.level} ${found.reason.text}`;
  }
}

Deno.test("every node reports a store that does not follow the data, first as a warning, then as an error, and stays ready", () => {
  const follower = new Follower();
  follower.tell({ kind: "snapshotLookedUp", lookup: stored(50) });
  follower.run(10 * limitMs);
  assertEquals(follower.problem(), undefined);
  follower.revision = 60;
  follower.run(limitMs - 2_000);
  assertEquals(follower.problem(), undefined);
  follower.run(4_000);
  assert(
    follower.problem()?.startsWith(
      "warn the newest snapshot is of 2023-11-14T22:13:20Z, and data that changed more than",
    ),
  );
  follower.run(3 * limitMs);
  assert(follower.problem()?.startsWith("error "));
  assertEquals(follower.node.reports.problems.get("backups_failing")?.keepsReady, true);
  const told = follower.node.reports.journal.filter(({ reason }) => reason.code === "backups_failing");
  assertEquals(told.map(({ level }) => level), ["warn", "error"]);
  follower.tell({ kind: "snapshotLookedUp", lookup: stored(60) });
  follower.run(2_000);
  assertEquals(follower.problem(), undefined);
});

Deno.test("each new snapshot is progress, however far the data runs ahead", () => {
  const follower = new Follower();
  for (let minute = 0; minute < 60; minute++) {
    follower.tell({ kind: "snapshotLookedUp", lookup: stored(50 + minute) });
    follower.revision = 1_000 + minute;
    follower.run(60_000);
  }
  assertEquals(follower.problem(), undefined);
});

Deno.test("no snapshot, one of another lineage, and a store that cannot be read are told as what they are", () => {
  for (const snapshotLookup of [{ kind: "absent" } as const, stored(500, "another")]) {
    const follower = new Follower();
    follower.tell({ kind: "snapshotLookedUp", lookup: snapshotLookup });
    follower.run(limitMs + 2_000);
    assert(follower.problem()?.includes("the store holds no snapshot of this cluster"), follower.problem());
  }
  const follower = new Follower();
  follower.tell({ kind: "snapshotLookedUp", lookup: stored(50) });
  follower.revision = 60;
  follower.tell({ kind: "snapshotLookedUp", lookup: { kind: "unreadable", code: "forbidden", why: "403" } });
  follower.run(limitMs + 2_000);
  assert(follower.problem()?.endsWith("; the store cannot be read: 403"), follower.problem());
});

Deno.test("the leader's failed attempts are reported by every node at the second one, until one succeeds", () => {
  const told = (change: Partial<PeerFacts>) => {
    const follower = new Follower();
    follower.tell({ kind: "snapshotLookedUp", lookup: stored(50) });
    follower.tell({ kind: "gossip", joined: true, peers: [peer("a", { facts: facts("a", change) })] });
    follower.run(2_000);
    return follower.problem();
  };
  assertEquals(told({}), undefined);
  assert(told({ backupFailure: { attempts: 2, text: "no route" } })?.startsWith('warn backups fail at "a" (no route)'));

  const take = { kind: "takeSnapshot", id: 9, format: "v2", lineage, lastRevision: 0 } as const;
  const leader = new Follower();
  leader.tell({ kind: "snapshotLookedUp", lookup: stored(50) });
  const attempt = (event: Event) => {
    leader.node = { ...leader.node, effects: { ...leader.node.effects, inFlight: new Map([["backup", take]]) } };
    leader.tell(event);
    leader.run(1_000, "id-b");
    return leader.node.gossip.facts?.backupFailure;
  };
  const fails: Event = { kind: "failed", id: 9, code: "unavailable", message: "no route" };
  assertEquals(attempt(fails), undefined);
  assertEquals(attempt(fails), { attempts: 2, text: "no route" });
  assert(leader.problem()?.startsWith('warn backups fail at "b"'));
  assertEquals(
    attempt({ kind: "done", id: 9, value: { kind: "snapshotTaken", revision: 60, saved: true } }),
    undefined,
  );
  assertEquals(leader.problem(), undefined);
  // Who follows again reports nothing of its own.
  attempt(fails);
  attempt(fails);
  leader.run(1_000, "id-a");
  assertEquals([leader.node.gossip.facts?.backupFailure, leader.problem()], [undefined, undefined]);
});

const snapshot = (revision: number, hash = "h", id: string | undefined = "l") => ({
  kind: "newest" as const,
  hash,
  revision,
  ...(id === undefined ? {} : { lineage: { ...lineage, id } }),
  takenAtWallMs: nowWallMs,
  verified: true,
  epochMax: 1,
});

/** A turn of node a, which serves; its own etcd is at revision 60. */
function watched(...changes: readonly StateChange[]): Turn {
  const newest = snapshot(50);
  const turn = turnOf([
    {
      phase: "serving",
      settings: settings({ snapshots: true, snapshotIntervalMs: intervalMs }),
      process: { watchingSinceMs: -1e9 },
      disk: {
        data: data("a", members),
        record: { nonce: "n", pledges: [], started: { lineage, how: "joined", renounced: [], clusterId: "c1" } },
      },
      snapshots: { store: { lookup: newest, newest }, backupLag: { newest: "h", aheadSinceMs: nowMs - limitMs } },
      membership: { endpoints: new Map([["http://a:2379", answering(answer("a", members, { revision: 60 }))]]) },
    },
    ...changes,
  ]);
  watchBackups(turn);
  return turn;
}
const told = (...changes: readonly StateChange[]) => problemOf(watched(...changes), "backups_failing");
const ahead = (agoMs: number, newest = "h"): StateChange => ({
  snapshots: { backupLag: { newest, aheadSinceMs: nowMs - agoMs } },
});
const behind = "the newest snapshot is of 2023-11-14T22:13:20Z, and data that changed more than 5 min ago is not saved";

Deno.test("data that is ahead of the newest snapshot is a WARN after the limit, an ERROR after four times that", () => {
  assertEquals(limitMs, 300_000);
  assertEquals([told(ahead(limitMs - 1)), told(ahead(limitMs))], [undefined, `warn ready: ${behind}`]);
  assertEquals(told(ahead(4 * limitMs - 1)), `warn ready: ${behind}`);
  assertEquals(told(ahead(4 * limitMs)), `error ready: ${behind}`);
  assertEquals(told(ahead(limitMs), { process: { watchingSinceMs: nowMs - limitMs + 1 } }), undefined, "a gap");
  assertEquals(told(ahead(limitMs), { phase: "restarting" }), undefined);
  assertEquals(told({ snapshots: { backupLag: { newest: "h", aheadSinceMs: undefined } } }), undefined);
});

Deno.test("backups are watched where a store is configured, under --new-cluster once the new cluster serves", () => {
  const set = (newCluster?: string, snapshots = true): StateChange => ({
    settings: settings({ snapshots, snapshotIntervalMs: intervalMs, ...(newCluster && { newCluster }) }),
  });
  const failing: StateChange = {
    snapshots: { backup: { revision: 0, diverged: false, failure: { attempts: 2, text: "x" } } },
  };
  const isTold = (...changes: readonly StateChange[]) => told(failing, ...changes) !== undefined;
  assertEquals([isTold(), isTold(set(undefined, false))], [true, false]);
  assertEquals([isTold(set("blue")), isTold(set("blue"), { phase: "bootstrapping" })], [true, false]);
  assertEquals(isTold({ phase: "bootstrapping" }), true);
});

Deno.test("the data is ahead since the first answer that showed it, anew with each newer snapshot", () => {
  const lag = (...changes: readonly StateChange[]) => watched(...changes).node.snapshots.backupLag;
  const since = (agoMs: number | undefined, newest = "h") => ({
    newest,
    aheadSinceMs: agoMs === undefined ? undefined : nowMs - agoMs,
  });
  assertEquals(lag(ahead(7)), since(7));
  assertEquals(lag(ahead(7, "before")), since(0));
  assertEquals(lag({ snapshots: { backupLag: { newest: "h", aheadSinceMs: undefined } } }), since(0));
  const store = (newest: ReturnType<typeof snapshot> | undefined): StateChange => ({
    snapshots: { store: { lookup: newest ?? { kind: "absent" }, newest } },
  });
  assertEquals(lag(ahead(7), store(snapshot(60))), since(undefined));
  assertEquals(
    lag(ahead(7), { snapshots: { backup: { revision: 60, diverged: false } } }),
    since(undefined),
    "just saved",
  );
  assertEquals([lag(ahead(7), store(undefined)), lag(ahead(7, ""), store(undefined))], [since(0, ""), since(7, "")]);
  const etcd = (revision: number): StateChange => ({
    membership: { endpoints: new Map([["http://a:2379", answering(answer("a", members, { revision }))]]) },
  });
  assertEquals([lag(etcd(0), store(undefined)), lag(etcd(1), store(undefined))], [since(undefined, ""), since(0, "")]);
  assertEquals(
    [lag(ahead(7), store(snapshot(50, "g", "another"))), lag(ahead(7), store(snapshot(60, "g", undefined)))],
    [
      since(0, ""),
      since(undefined, "g"),
    ],
  );
  const old = {
    membership: { endpoints: new Map([["http://a:2379", answering(answer("a", members), nowMs - 6_000)]]) },
  };
  assertEquals([lag(ahead(7), old), lag(ahead(7, "before"), { phase: "restarting" })], [since(7), since(7, "before")]);
  const unknown: StateChange = { disk: { data: { kind: "unknown" }, record: { nonce: "n", pledges: [] } } };
  assertEquals(lag(unknown, store(snapshot(60, "g", "any"))), since(undefined, "g"), "the own lineage is not known");
});

Deno.test("the report names the node whose backups fail, and what the store shows last", () => {
  const last = "the newest snapshot is of 2023-11-14T22:13:20Z";
  const failure = { attempts: 2, text: "no route" };
  const fails: StateChange = { snapshots: { backup: { revision: 0, diverged: false, failure } } };
  assertEquals(told(fails, ahead(0)), `warn ready: backups fail at "a" (no route); ${last}`);
  assertEquals(told(fails, ahead(4 * limitMs)), `error ready: backups fail at "a" (no route); ${last}`);
  const peerFails = (state: "alive" | "suspect"): StateChange => {
    const peers = [peer("x"), peer("b", { state, facts: facts("b", { backupFailure: failure }) })];
    return { gossip: { peers, known: peers } };
  };
  assertEquals([told(ahead(0), peerFails("alive")), told(ahead(0), peerFails("suspect"))], [
    `warn ready: backups fail at "b" (no route); ${last}`,
    undefined,
  ]);
  const shown = (store: NodeState["snapshots"]["store"], newest: string) =>
    told({ phase: "serving", membership: { endpoints: new Map() } }, ahead(limitMs, newest), { snapshots: { store } });
  const since = "and data that changed more than 5 min ago is not saved";
  const none = `warn ready: the store holds no snapshot of this cluster, ${since}`;
  const newest = snapshot(50);
  assertEquals(shown({ lookup: { kind: "absent" }, newest: undefined }, ""), none);
  assertEquals(shown({ lookup: newest, newest }, ""), none, "it is another cluster's");
  const unreadable = { kind: "unreadable", code: "x", why: "403" } as const;
  assertEquals(shown({ lookup: unreadable, newest }, "h"), `warn ready: ${behind}; the store cannot be read: 403`);
});

Deno.test("a node whose etcd follows forgets the failures of the time when it led", () => {
  const failure = { attempts: 3, text: "x" };
  const backup = { revision: 4, diverged: false, failure };
  const after = (change: Partial<EtcdAnswer> | undefined) => {
    const endpoints = new Map(change === undefined ? [] : [["http://a:2379", answering(answer("a", members, change))]]);
    const { node } = watched({ snapshots: { backup }, membership: { endpoints } });
    return [node.snapshots.backup.failure?.attempts, node.snapshots.backup.revision];
  };
  assertEquals([after({}), after({ leaderId: "id-b" }), after(undefined)], [[3, 4], [undefined, 4], [3, 4]]);
});

Deno.test("backupFailure() is told to the peers from the second failed attempt on", () => {
  const of = (attempts: number) =>
    backupFailure(
      turnOf({ snapshots: { backup: { revision: 0, diverged: false, failure: { attempts, text: "x" } } } }),
    );
  assertEquals([of(1), of(2), backupFailure(turnOf())], [undefined, { attempts: 2, text: "x" }, undefined]);
});
