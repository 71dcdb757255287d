import { step } from "../../../lib/core/step.ts";
import type { Event } from "../../../lib/core/facts/event.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { answer, changed, data, facts, member, peer, settings, type StateChange, view } from "../facts.ts";
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
    follower.problem()?.startsWith("warn the newest snapshot is of 2023-11-14T22:13:20Z, and the data has changed"),
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
