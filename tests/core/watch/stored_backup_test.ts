/** A store that loses what was saved, while the data stands still. */
import type { Effect } from "../../../lib/core/facts/effect.ts";
import type { Event } from "../../../lib/core/facts/event.ts";
import { step } from "../../../lib/core/step.ts";
import { newestOf, noteSaved, noteStored } from "../../../lib/core/watch/stored_backup.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { answer, changed, data, member, nowMs, settings, type StateChange, view } from "../facts.ts";
import { nowWallMs, problemOf, turnOf } from "../turns.ts";
import { createNode, type NodeState } from "../../../lib/core/state/state.ts";
import type { SnapshotLookup, StoredLife } from "../../../lib/core/facts/snapshot_lookup.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const lineage = { id: "l", epoch: 1, token: "t" };
const intervalMs = 60_000;
const revision = 50;
type Look = Exclude<SnapshotLookup, { kind: "unknown" }>;

function stored(of: number, { token = "t", damaged = false } = {}): Look {
  const newest = { hash: `hash-${of}`, revision: of, takenAtWallMs: 1_700_000_000_000 };
  return {
    kind: "newest",
    ...newest,
    lineage: { ...lineage, token },
    verified: true,
    epochMax: 1,
    lives: [{ lineage: { ...lineage, token }, newest }],
    damaged: damaged ? [{ key: "k", why: "short" }] : [],
  };
}
const absent: Look = { kind: "absent" };
const unreadable: Look = { kind: "unreadable", code: "forbidden", why: "403" };

/** Node a leads an idle cluster; a look and a snapshot take what the test says. */
class Leader {
  node: NodeState;
  atMs = 0;
  look: Look = absent;
  /** Answers to looks stay out. */
  silent = false;
  looks = 0;
  readonly taken: number[] = [];

  constructor() {
    const now = { monotonicMs: 0, wallMs: 1_700_000_000_000 };
    this.node = changed(
      createNode(view("a").self, settings({ snapshots: true, snapshotIntervalMs: intervalMs }), "seed", now),
      {
        phase: "serving",
        ownEtcd: {
          etcd: { kind: "ready", sinceMs: 0 },
        },
        disk: {
          data: data("a", members),
          record: {
            nonce: "n",
            pledges: [],
            started: { lineage, how: "joined", renounced: [], clusterId: "c1", memberId: "id-a" },
          },
          recordPersisted: true,
        },
        membership: {
          clusterRecordVerified: true,
        },
      },
    );
  }

  tell(event: Event): void {
    const now = { monotonicMs: this.atMs, wallMs: 1_700_000_000_000 + this.atMs };
    const { node, effects } = step(this.node, event, now);
    this.node = node;
    for (const effect of effects) this.#answer(effect);
  }

  #answer(effect: Effect): void {
    if (effect.kind === "lookUpSnapshot") {
      this.looks++;
      if (!this.silent) this.tell({ kind: "snapshotLookedUp", lookup: this.look });
    } else if (effect.kind === "takeSnapshot") {
      const saved = revision > effect.lastRevision;
      if (saved) this.look = stored(revision);
      if (saved) this.taken.push(this.atMs);
      this.tell({ kind: "done", id: effect.id, value: { kind: "snapshotTaken", revision, saved } });
    } else if ("id" in effect) this.tell({ kind: "done", id: effect.id, value: { kind: "nothing" } });
  }

  run(ms: number): void {
    for (const untilMs = this.atMs + ms; this.atMs < untilMs;) {
      this.atMs += 1_000;
      this.tell({ kind: "probed", endpoint: "http://a:2379", probe: answer("a", members, { revision }) });
    }
  }

  problem(): string | undefined {
    const found = this.node.reports.problems.get("snapshots_gone");
    return found && `${found.level} ${found.reason.text}`;
  }

  told(): string[] {
    return this.node.reports.journal.filter(({ reason }) => reason.code === "snapshots_gone").map(({ outcome }) =>
      outcome
    );
  }
}

Deno.test("an idle cluster whose store was emptied reports it and saves anew; one whose store was not saves once", () => {
  const leader = new Leader();
  leader.run(600_000);
  assertEquals([leader.taken.length, leader.problem()], [1, undefined]);
  leader.look = absent;
  leader.run(120_000);
  assertEquals([leader.taken.length, leader.told()], [2, ["problem", "resolved"]]);
  leader.run(600_000);
  assertEquals([leader.taken.length, leader.problem()], [2, undefined]);
});

Deno.test("a store that cannot be read is not an empty one", () => {
  const leader = new Leader();
  leader.run(60_000);
  leader.look = unreadable;
  leader.run(600_000);
  assertEquals([leader.taken.length, leader.told()], [1, []]);
  assertEquals(leader.node.snapshots.store.newest?.hash, "hash-50");
});

Deno.test("a node that does not lead reports an emptied store as an error, keeps ready, and forgets what was there", () => {
  const leader = new Leader();
  leader.run(60_000);
  leader.node = {
    ...leader.node,
    snapshots: { ...leader.node.snapshots, backup: { ...leader.node.snapshots.backup, diverged: true } },
  };
  leader.look = absent;
  leader.run(120_000);
  assert(leader.problem()?.startsWith("error the store has lost all snapshots of this cluster: the newest was of"));
  assertEquals(leader.node.reports.problems.get("snapshots_gone")?.keepsReady, true);
  assertEquals([leader.node.snapshots.store.newest, leader.node.snapshots.lastSnapshotAtWallMs], [
    undefined,
    undefined,
  ]);
  // Another node saves.
  leader.look = stored(revision);
  leader.run(60_000);
  assertEquals(leader.problem(), undefined);
});

Deno.test("a newest snapshot that is gone while older ones are left is a warning until there is a newer one", () => {
  const leader = new Leader();
  leader.run(60_000);
  leader.node = {
    ...leader.node,
    snapshots: { ...leader.node.snapshots, backup: { ...leader.node.snapshots.backup, diverged: true } },
  };
  leader.look = stored(40);
  leader.run(300_000);
  assert(leader.problem()?.startsWith("warn the store has lost the newest snapshot of this cluster"));
  leader.node = {
    ...leader.node,
    snapshots: { ...leader.node.snapshots, backup: { ...leader.node.snapshots.backup, diverged: false } },
  };
  leader.run(120_000);
  assertEquals([leader.taken.length, leader.problem()], [2, undefined]);
});

Deno.test("a new branch of the life that begins below the newest snapshot is no loss of that snapshot", () => {
  const leader = new Leader();
  leader.run(60_000);
  const whole = leader.look;
  assert(whole.kind === "newest" && whole.lives !== undefined, JSON.stringify(whole));
  const [life] = whole.lives as [StoredLife];
  const younger = {
    ...life,
    branch: "b2",
    bornAtWallMs: Number.MAX_SAFE_INTEGER,
    newest: { ...life.newest, revision: 4 },
  };
  leader.look = { ...whole, lives: [life, younger] };
  leader.run(300_000);
  assertEquals([leader.problem(), leader.taken.length], [undefined, 1]);
});

Deno.test("a look that was asked before the snapshot was saved proves nothing, and no second one is asked meanwhile", () => {
  const leader = new Leader();
  leader.silent = true;
  leader.run(300_000);
  assertEquals([leader.looks, leader.taken.length], [1, 1]);
  leader.silent = false;
  leader.tell({ kind: "snapshotLookedUp", lookup: absent });
  leader.run(5_000);
  assertEquals([leader.looks, leader.taken.length, leader.told()], [2, 1, []]);
});

Deno.test("newestOf() proves absence by an empty store, or by a readable one in which nothing is damaged", () => {
  assertEquals(newestOf(absent, lineage), "none");
  assertEquals(newestOf(unreadable, lineage), undefined);
  assertEquals(newestOf({ kind: "unknown" }, lineage), undefined);
  assertEquals(newestOf(stored(50), lineage), { token: "t", revision: 50, takenAtWallMs: 1_700_000_000_000 });
  assertEquals(newestOf(stored(50, { token: "drill" }), lineage), "none");
  assertEquals(newestOf(stored(50, { token: "drill", damaged: true }), lineage), undefined);
  // A file of the original at the key: what lies in the history is not looked at.
  const foreign: Look = {
    kind: "newest",
    hash: "f",
    revision: 0,
    takenAtWallMs: 1,
    verified: false,
    epochMax: 0,
    lives: [],
  };
  assertEquals(newestOf(foreign, lineage), undefined);
});

const own: StateChange = {
  disk: {
    data: data("a", members),
    record: { nonce: "n", pledges: [], started: { lineage, how: "joined", renounced: [], clusterId: "c1" } },
  },
};

Deno.test("newestOf() is the highest revision of all branches of the life", () => {
  const [life] = (stored(50) as Extract<Look, { kind: "newest" }>).lives as [StoredLife];
  const branch = (of: number, change: Partial<StoredLife["lineage"]> = {}): StoredLife => ({
    ...life,
    lineage: { ...lineage, ...change },
    newest: { ...life.newest, revision: of },
  });
  const whole = {
    ...stored(50),
    lives: [branch(70), branch(90, { id: "x" }), branch(60), branch(80, { token: "x" })],
  } as Look;
  const found = newestOf(whole, lineage);
  assertEquals(found !== "none" && found?.revision, 70);
  const { damaged: _, ...undamaged } = stored(50, { token: "drill" }) as Extract<Look, { kind: "newest" }>;
  assertEquals(newestOf(undamaged, lineage), "none");
});

Deno.test("noteStored() keeps what a later lookup shows, and tells a removal by its own life alone", () => {
  const noted = (look: Look, askedMs: number, change: StateChange = own, token = "t") => {
    const ownSnapshot = { token, revision: 50, takenAtWallMs: 1_700_000_000_000, atMs: 500 };
    const snapshots = { ownSnapshot, backup: { revision: 50, diverged: false }, lastSnapshotAtWallMs: 7 };
    const turn = turnOf([change, { snapshots }]);
    noteStored(turn, look, askedMs);
    const { snapshots: after } = turn.node;
    const kept = after.ownSnapshot && [after.ownSnapshot.revision, after.ownSnapshot.atMs, after.ownSnapshot.isRest];
    return [kept, after.backup.revision, after.lastSnapshotAtWallMs, problemOf(turn, "snapshots_gone")?.split(";")[0]];
  };
  const unchanged = [[50, 500, undefined], 50, 7, undefined];
  assertEquals(noted(stored(60), 501), [[60, nowMs, undefined], 50, 7, undefined]);
  assertEquals([noted(stored(60), 500), noted(absent, 500)], [unchanged, unchanged], "it was asked before");
  assertEquals(noted(absent, 501, {}), unchanged, "no own life is known");
  assertEquals(noted(unreadable, 501), unchanged);
  assertEquals(noted(absent, 501, own, "other"), [undefined, 50, 7, undefined], "it was another life's");
  const was = "was of 2023-11-14T22:13:20Z, revision 50";
  assertEquals(noted(absent, 501), [
    undefined,
    0,
    undefined,
    `error ready: the store has lost all snapshots of this cluster: the newest ${was}`,
  ]);
  assertEquals(noted(stored(40), 501), [
    [40, nowMs, true],
    40,
    undefined,
    `warn ready: the store has lost the newest snapshot of this cluster: it ${was}`,
  ]);
});

Deno.test("noteStored() keeps the report of a removal while the store shows what was left, until there is more", () => {
  const told = (revision: number) => {
    const problem = { level: "warn", reason: { code: "snapshots_gone", text: "before" } } as const;
    const ownSnapshot = { token: "t", revision: 40, takenAtWallMs: 0, atMs: 500, isRest: true } as const;
    const turn = turnOf([own, {
      snapshots: { ownSnapshot },
      reports: { problems: new Map([["snapshots_gone", problem]]) },
    }]);
    noteStored(turn, stored(revision), 501);
    return [turn.node.snapshots.ownSnapshot?.isRest, problemOf(turn, "snapshots_gone")];
  };
  assertEquals([told(40), told(41)], [[true, "warn: before"], [undefined, undefined]]);
});

Deno.test("noteStored() never raises the revision that this node saved, and noteSaved() ends the report", () => {
  const ownSnapshot = { token: "t", revision: 50, takenAtWallMs: 0, atMs: 500 };
  const turn = turnOf([own, { snapshots: { ownSnapshot, backup: { revision: 30, diverged: false } } }]);
  noteStored(turn, stored(40), 501);
  assertEquals(turn.node.snapshots.backup.revision, 30);
  noteSaved(turn, lineage, 55);
  assertEquals(problemOf(turn, "snapshots_gone"), undefined);
  assertEquals(turn.node.snapshots.ownSnapshot, { token: "t", revision: 55, takenAtWallMs: nowWallMs, atMs: nowMs });
});
