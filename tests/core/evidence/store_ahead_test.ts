import { judgeStoredRevision, storedRevision } from "../../../lib/core/evidence/store_ahead.ts";
import { judgeStore } from "../../../lib/core/evidence/order.ts";
import type { View } from "../../../lib/core/facts/view.ts";
import type { Lineage } from "../../../lib/core/facts/node_record.ts";
import type { GossipPeer, PeerData } from "../../../lib/core/facts/peer.ts";
import type { SnapshotLookup } from "../../../lib/core/facts/snapshot_lookup.ts";
import { assertEquals } from "../../support/assert.ts";
import { data, facts, member, nowMs, peer, settings, view } from "../facts.ts";

const line: Lineage = { id: "line", epoch: 1, token: "t" };
const members = ["a", "b", "c"].map((name) => member(name));
type Newest = Extract<SnapshotLookup, { kind: "newest" }>;
const newest = (revision: number, change: Partial<Newest> = {}): Newest => ({
  kind: "newest",
  hash: "h",
  revision,
  lineage: line,
  takenAtWallMs: 0,
  verified: true,
  epochMax: 1,
  ...change,
});
const life = (lineage: Lineage, revision: number) => ({ lineage, newest: { hash: "h", revision, takenAtWallMs: 0 } });

Deno.test("storedRevision() is the highest of that very life, its branches included", () => {
  assertEquals(storedRevision({ kind: "absent" }, line), 0);
  assertEquals(storedRevision(newest(9), line), 9);
  assertEquals(storedRevision(newest(9), { ...line, token: "x" }), 0);
  assertEquals(storedRevision(newest(9), { ...line, id: "x" }), 0);
  const lives = [life({ ...line, token: "x" }, 99), life({ ...line, id: "x" }, 98), life(line, 5), life(line, 7)];
  assertEquals(storedRevision(newest(99, { lives }), line), 7);
  assertEquals(storedRevision(newest(99, { lives: [] }), line), 0);
});

const holder = (
  name: string,
  change: Partial<Extract<PeerData, { kind: "held" }>> = {},
  of: Partial<GossipPeer> = {},
) =>
  peer(name, {
    facts: facts(name, {
      data: { kind: "held", clusterId: "c1", memberId: `id-${name}`, lineage: line, revision: 50, ...change },
    }),
    ...of,
  });

/** b and c are here with their data, a is silent. */
const seen = (change: Partial<View> = {}, lineage = line): View =>
  view("b", {
    data: data("b", members),
    record: { nonce: "n", pledges: [], started: { lineage, how: "founded", clusterId: "c1", renounced: [] } },
    settings: settings({ snapshots: true }),
    peers: [holder("c")],
    bootedAtMs: nowMs - 60_000,
    ...change,
  });

function told(verdict: ReturnType<typeof judgeStore>): string {
  const level = verdict.kind === "waits" ? ` ${verdict.level}` : "";
  return verdict.kind + level + ("reason" in verdict ? ` ${verdict.reason.code}` : "");
}

Deno.test("judgeStoredRevision() holds a quorum of disks that lacks one for as long as the store is ahead of all of them", () => {
  const judge = (change: Partial<View>, lineage = line) =>
    told(judgeStoredRevision(seen(change, lineage), data("b", members)));
  const ahead = { snapshotLookup: newest(51) };
  const waits = "waits info quorum_behind_store";
  assertEquals(judge(ahead), waits);
  assertEquals(judge({ snapshotLookup: newest(50) }), "alone");
  assertEquals(judge({ ...ahead, bootedAtMs: nowMs - 600_000 }), "stands quorum_behind_store");
  assertEquals(judge({ ...ahead, settings: settings() }), "alone");
  assertEquals(judge(ahead, { ...line, epoch: 0 }), "alone");
  assertEquals(
    judge({ ...ahead, peers: [] }),
    waits,
    "fewer than a quorum are in sight, and etcd may reach the others",
  );
  assertEquals(judge({ ...ahead, peers: [holder("a"), holder("c")] }), "alone", "all disks are here");
  const gone = { ...holder("a"), facts: facts("a") };
  assertEquals(judge({ ...ahead, peers: [holder("c"), gone] }), "alone", "the third disk is empty");
  // Data of this cluster on any disk that is here counts, that of another one does not.
  assertEquals(judge({ ...ahead, peers: [holder("c", { revision: 51 })] }), "alone");
  assertEquals(judge({ ...ahead, peers: [holder("c"), holder("x", { revision: 51 })] }), "alone");
  assertEquals(
    judge({ ...ahead, peers: [holder("c"), holder("x", { revision: 51, clusterId: "c2" }), peer("y")] }),
    waits,
  );
  assertEquals(judge({ ...ahead, peers: [holder("c"), holder("x", { revision: 51 }, { state: "dead" })] }), waits);
  const { facts: _, ...mute } = peer("y");
  assertEquals(judge({ ...ahead, peers: [holder("c"), mute] }), waits, "a peer that has published nothing yet");
  const unknown = { snapshotLookup: { kind: "unknown" } } as const;
  assertEquals(judge({ ...unknown, bootedAtMs: nowMs - 4_999 }), "waits info asking_store");
  assertEquals(judge({ ...unknown, bootedAtMs: nowMs - 5_000 }), "alone");
  const verdict = judgeStoredRevision(seen(ahead), data("b", members));
  const plan = verdict.kind === "waits" ? verdict.reason.choices![0]!.plan : "";
  assertEquals(
    judge({ ...ahead, settings: settings({ snapshots: true, approved: [plan] }) }),
    "stands quorum_behind_store",
  );
});

Deno.test("judgeStore() makes fewer disks than a quorum wait for silent ones while the store has a later epoch", () => {
  const later = newest(1, { epochMax: 2 });
  const judge = (change: Partial<View>, snapshotLookup: SnapshotLookup = later) =>
    told(judgeStore(seen({ snapshotLookup, peers: [], ...change }), data("b", members)));
  const waits = "waits info newer_epoch_stored";
  assertEquals(judge({}), waits);
  assertEquals(judge({}, newest(1)), "alone");
  assertEquals(judge({}, { kind: "absent" }), "alone");
  assertEquals(judge({}, { ...later, lineage: { ...line, id: "x" } }), "alone");
  assertEquals(judge({ peers: [holder("c")] }), "stands other_life_stored", "a quorum of disks is here");
  assertEquals(judge({ bootedAtMs: nowMs - 600_000 }), "stands other_life_stored");
  assertEquals(judge({ peers: [peer("a"), peer("c")] }), "stands other_life_stored", "the others are empty");
  assertEquals(judge({ peers: [peer("a")] }), waits, "one of them is silent");
});
