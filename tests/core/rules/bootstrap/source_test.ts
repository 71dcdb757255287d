import { lookupDigest, sourceOf, takenAtWallMs } from "../../../../lib/core/rules/bootstrap/source.ts";
import type { View } from "../../../../lib/core/facts/view.ts";
import { assertEquals } from "../../../support/assert.ts";
import { facts, found, goPeer, peer, settings, view } from "../../facts.ts";
import type { QuorumLoss } from "../../../../lib/core/rules/quorum_loss.ts";
import type { SnapshotLookup, StoredLife } from "../../../../lib/core/facts/snapshot_lookup.ts";
import type { Lineage } from "../../../../lib/core/facts/node_record.ts";

const first: Lineage = { id: "line", epoch: 1, token: "first" };
const drill: Lineage = { id: "line", epoch: 2, token: "drill" };
const foreign: Lineage = { id: "foreign", epoch: 1, token: "foreign" };

const life = (lineage: Lineage, revision: number, change: Partial<StoredLife> = {}): StoredLife => ({
  lineage,
  newest: { hash: `hash-${lineage.token}`, revision, takenAtWallMs: revision },
  ...change,
});

function stored(lives: readonly StoredLife[], fork = false): SnapshotLookup {
  const [{ lineage, newest }] = lives as [StoredLife];
  const epochMax = Math.max(
    ...lives.filter((each) => each.lineage.id === lineage.id).map((each) => each.lineage.epoch),
  );
  return { kind: "newest", ...newest, lineage, verified: true, epochMax, lives, fork };
}

const asks = (change: Partial<View>, loss?: QuorumLoss) => {
  const seen = view("a", { settings: settings({ snapshots: true }), ...change });
  const outcome = sourceOf(seen, seen.peers, loss);
  if (outcome.kind === "wait") return outcome.reason.code;
  assertEquals(outcome.kind, "choices");
  const sources = outcome.choices.map(({ source, parent }) =>
    `${source.kind === "snapshot" ? source.hash : source.kind}@${parent?.epoch ?? 0}`
  );
  return `${outcome.ask?.code ?? "takes"} ${sources.join(" ")}`;
};

const lost = (lineage: Lineage) => ({
  nonce: "n",
  pledges: [],
  lost: { lineage, how: "founded" as const, renounced: [] },
});

Deno.test("sourceOf() takes the newest snapshot of the only life in the store", () => {
  assertEquals(asks({ snapshotLookup: stored([life(first, 5)]) }), "takes hash-first@1");
});

Deno.test("sourceOf() takes the life that a record names, however high another one's revision and epoch are", () => {
  const snapshotLookup = stored(
    [life(drill, 1_000_000_000, { parentToken: "first" }), life(first, 2_000_000_000)],
    true,
  );
  assertEquals(asks({ snapshotLookup, record: lost(first) }), "takes hash-first@2 hash-drill@2");
  const peers = [
    peer("b", { facts: facts("b", { data: { kind: "none", lost: first }, snapshotLookup: found(snapshotLookup) }) }),
  ];
  assertEquals(asks({ snapshotLookup, peers }), "takes hash-first@2 hash-drill@2");
});

Deno.test("sourceOf() asks whether a life that no record names was restored in place of the one that records name", () => {
  const snapshotLookup = stored([life(drill, 100, { parentToken: "first" }), life(first, 5)]);
  assertEquals(asks({ snapshotLookup, record: lost(first) }), "other_life_stored hash-drill@2 hash-first@2");
  const peers = [
    peer("b", { facts: facts("b", { data: { kind: "none", lost: drill }, snapshotLookup: found(snapshotLookup) }) }),
  ];
  assertEquals(asks({ snapshotLookup, record: lost(first), peers }), "takes hash-drill@2 hash-first@2");
});

Deno.test("sourceOf() lets an operator choose between two lives, or lineages, that no record tells apart", () => {
  assertEquals(
    asks({ snapshotLookup: stored([life(drill, 9), life(first, 5)], true) }),
    "stored_fork hash-drill@2 hash-first@2",
  );
  assertEquals(
    asks({ snapshotLookup: stored([life(first, 9), life(foreign, 5)], true) }),
    "stored_fork hash-first@1 hash-foreign@1",
  );
});

Deno.test("sourceOf() restores no other lineage than the one that records name without an operator", () => {
  assertEquals(
    asks({ snapshotLookup: stored([life(foreign, 9)]), record: lost(first) }),
    "other_lineage_stored hash-foreign@1",
  );
});

Deno.test("sourceOf() restores no file of unknown descent in the place of the lineage that records name", () => {
  const unmanaged: SnapshotLookup = {
    kind: "newest",
    hash: "u",
    revision: 0,
    takenAtWallMs: 0,
    verified: false,
    epochMax: 0,
  };
  assertEquals(asks({ snapshotLookup: unmanaged }), "takes u@0");
  assertEquals(asks({ snapshotLookup: unmanaged, record: lost(first) }), "other_lineage_stored u@0");
});

Deno.test("sourceOf() lets no snapshot override a survivor's disk", () => {
  const loss: QuorumLoss = { lineage: first, survivors: ["a"], name: "a", revision: 10, outlived: [] };
  assertEquals(asks({ snapshotLookup: { kind: "absent" } }, loss), "takes survivor@1");
  assertEquals(asks({ snapshotLookup: stored([life(first, 9)]) }, loss), "takes survivor@1");
  assertEquals(asks({ snapshotLookup: stored([life(foreign, 99)]) }, loss), "takes survivor@1");
  assertEquals(asks({ snapshotLookup: stored([life(first, 11)]) }, loss), "survivor_behind survivor@1 hash-first@1");
  assertEquals(
    asks({ snapshotLookup: stored([life(drill, 1_000_000_000), life(first, 9)], true) }, loss),
    "other_life_stored survivor@2 hash-drill@2",
  );
});

Deno.test("sourceOf() bootstraps an empty cluster only where the store has proven that it holds nothing", () => {
  assertEquals(asks({ snapshotLookup: { kind: "absent" } }), "takes empty@0");
  assertEquals(asks({ snapshotLookup: { kind: "unknown" } }), "snapshot_unknown");
  assertEquals(asks({ snapshotLookup: { kind: "unreadable", code: "x", why: "403" } }), "snapshot_unreadable");
});

Deno.test("--new-cluster NAME counts until a cluster of that name has saved a snapshot, and hides no unreadable store", () => {
  const named = settings({ snapshots: true, newCluster: "blue" });
  const digest = (snapshotLookup: SnapshotLookup) => lookupDigest(view("a", { settings: named, snapshotLookup }));
  assertEquals(digest(stored([life(first, 5)])), "absent");
  assertEquals(
    digest(stored([life({ ...first, name: "blue" }, 5)])),
    found(stored([life({ ...first, name: "blue" }, 5)])),
  );
  assertEquals(digest(stored([life({ ...first, name: "green" }, 5)])), "absent");
  assertEquals(digest({ kind: "unreadable", code: "x", why: "403" }), "unreadable");
  assertEquals(digest({ kind: "unknown" }), undefined);
});

Deno.test("sourceOf() waits while two nodes' stores differ in anything that it decides from, and for a peer that has not looked", () => {
  const snapshotLookup = stored([life(first, 5)]) as Extract<SnapshotLookup, { kind: "newest" }>;
  const beside = (theirs: SnapshotLookup | undefined) => {
    const change = theirs === undefined ? {} : { snapshotLookup: found(theirs) };
    const { snapshotLookup: _, ...mute } = facts("b");
    return asks({ snapshotLookup, peers: [peer("b", { facts: { ...mute, ...change } })] });
  };
  const differing: readonly [string, SnapshotLookup][] = [
    ["another newest snapshot", { ...snapshotLookup, hash: "other" }],
    ["a higher epoch", { ...snapshotLookup, epochMax: 2 }],
    ["a fork", { ...snapshotLookup, fork: true }],
    ["one more life", { ...snapshotLookup, lives: [life(first, 5), life(drill, 9)] }],
    ["another order of lives", { ...snapshotLookup, lives: [life(drill, 9), life(first, 5)] }],
    ["another revision", { ...snapshotLookup, lives: [life(first, 6)] }],
    ["another parent", { ...snapshotLookup, lives: [life(first, 5, { parentToken: "x" })] }],
    ["another epoch of a life", { ...snapshotLookup, lives: [life({ ...first, epoch: 2 }, 5)] }],
    ["another name of a life", { ...snapshotLookup, lives: [life({ ...first, name: "blue" }, 5)] }],
    ["nothing", { kind: "absent" }],
  ];
  for (const [what, theirs] of differing) assertEquals(beside(theirs), "snapshot_contradiction", what);
  assertEquals(new Set(differing.map(([, theirs]) => found(theirs))).size, differing.length);
  assertEquals(beside(undefined), "snapshot_unknown");
  // What is for people alone differs from node to node.
  const forPeople = { ...snapshotLookup, verified: false, verifiedAtWallMs: 7, damaged: [{ key: "k", why: "w" }] };
  assertEquals(beside(forPeople), "takes hash-first@1");
});

Deno.test("sourceOf() asks an operator when the life that a record names has two branches, however the store calls it", () => {
  const rolledBack = life(first, 7, {
    branch: "0a1b2c3d",
    newest: { hash: "hash-branch", revision: 7, takenAtWallMs: 9 },
  });
  const lives = [rolledBack, life(first, 34)];
  for (const fork of [true, false]) {
    assertEquals(asks({ snapshotLookup: stored(lives, fork) }), "stored_fork hash-branch@1 hash-first@1");
    const record = lost(first);
    assertEquals(asks({ snapshotLookup: stored(lives, fork), record }), "stored_fork hash-branch@1 hash-first@1");
  }
  // The newest snapshot of the first branch is damaged, so the store does not show it.
  assertEquals(asks({ snapshotLookup: stored([rolledBack], true), record: lost(first) }), "stored_fork hash-branch@1");
  // An operator has chosen: the next life stands for both.
  const next = life(drill, 50, { parentToken: "first" });
  assertEquals(asks({ snapshotLookup: stored([next, ...lives]) }), "takes hash-drill@2 hash-branch@2 hash-first@2");
});

/** All of the outcome: kind, what is asked, and each choice's source, epoch, name and label. */
function outcome(change: Partial<View>, loss?: QuorumLoss) {
  const seen = view("a", { settings: settings({ snapshots: true }), ...change });
  const found = sourceOf(seen, seen.peers, loss);
  if (found.kind === "wait") return found;
  return { ...found, choices: found.choices.map(({ source, parent, label }) => ({ source, parent, label })) };
}

const snapshot = (hash: string, revision: number) => ({ kind: "snapshot", hash, revision });

Deno.test("sourceOf() labels each choice by the time, revision, epoch, life and branch of its snapshot", () => {
  const long: Lineage = { id: "line", epoch: 1, token: "e2d-0123456789abcdef", name: "blue" };
  const lives = [
    life(long, 7, { newest: { hash: "trunk", revision: 7, takenAtWallMs: 1_700_000_000_000 } }),
    life(long, 6, { newest: { hash: "branch", revision: 6, takenAtWallMs: 1_600_000_000_000 }, branch: "0a1b" }),
  ];
  assertEquals(outcome({ snapshotLookup: stored(lives) }), {
    kind: "choices",
    choices: [
      {
        source: snapshot("trunk", 7),
        parent: { id: "line", epoch: 1, name: "blue", from: { token: "e2d-0123456789abcdef", revision: 7 } },
        label: "the snapshot of 2023-11-14T22:13:20Z at revision 7 (epoch 1, life 89abcdef)",
      },
      {
        source: snapshot("branch", 6),
        parent: { id: "line", epoch: 1, name: "blue", from: { token: "e2d-0123456789abcdef", revision: 6 } },
        label: "the snapshot of 2020-09-13T12:26:40Z at revision 6 (epoch 1, life 89abcdef, branch 0a1b)",
      },
    ],
    ask: {
      code: "stored_fork",
      text:
        "the store holds 2 branches of epoch 1: a disk was rolled back, and the cluster went on from there: an operator must choose",
    },
  });
  const unmanaged: SnapshotLookup = {
    kind: "newest",
    hash: "u",
    revision: 3,
    takenAtWallMs: 0,
    verified: false,
    epochMax: 0,
    lives: [],
  };
  assertEquals(outcome({ snapshotLookup: unmanaged }), {
    kind: "choices",
    choices: [{
      source: snapshot("u", 3),
      parent: undefined,
      label: "the snapshot of 1970-01-01T00:00:00Z at revision 3",
    }],
  });
  assertEquals(outcome({ snapshotLookup: { kind: "absent" } }), {
    kind: "choices",
    choices: [{ source: { kind: "empty" }, parent: undefined, label: "an empty cluster" }],
  });
});

Deno.test("sourceOf() of a survivor continues the highest epoch that the store has of its lineage", () => {
  const loss: QuorumLoss = {
    lineage: { ...first, name: "blue" },
    survivors: ["a"],
    name: "a",
    revision: 10,
    outlived: [],
  };
  const survivor = (epoch: number) => ({
    source: { kind: "survivor", name: "a", revision: 10 },
    parent: { id: "line", epoch, name: "blue", from: { token: "first", revision: 10 } },
    label: 'the data of "a" at revision 10',
  });
  const newest = stored([life(first, 9)]) as Extract<SnapshotLookup, { kind: "newest" }>;
  const takes = (epoch: number) => ({ kind: "choices", choices: [survivor(epoch)] });
  assertEquals(outcome({ snapshotLookup: { kind: "absent" } }, loss), takes(1));
  assertEquals(outcome({ snapshotLookup: { ...newest, epochMax: 5 } }, loss), takes(5));
  // Its own newest snapshot is damaged, so the store shows no life of it.
  assertEquals(outcome({ snapshotLookup: { ...newest, epochMax: 4, lives: [life(foreign, 1)] } }, loss), takes(4));
  assertEquals(outcome({ snapshotLookup: stored([life({ ...foreign, epoch: 9 }, 99)]) }, loss), takes(1));
  // The highest epoch of another lineage is none of its own.
  assertEquals(
    outcome({ snapshotLookup: stored([life({ ...foreign, epoch: 9 }, 99), life(first, 9)]) }, loss),
    takes(1),
  );
  // As far as the disk, or another life of the same epoch.
  assertEquals(outcome({ snapshotLookup: stored([life(first, 10)]) }, loss), takes(1));
  assertEquals(outcome({ snapshotLookup: stored([life({ ...first, token: "other" }, 99)]) }, loss), takes(1));
  const asked = (snapshotLookup: SnapshotLookup) => {
    const found = outcome({ snapshotLookup }, loss);
    return found.kind === "choices" ? [found.choices.map(({ parent }) => parent?.epoch), found.ask?.text] : found;
  };
  assertEquals(asked(stored([life(first, 11)])), [
    [1, 1],
    '"a" has revision 10, and the store a snapshot of revision 11: an operator must choose',
  ]);
  assertEquals(asked(stored([life(foreign, 99), life({ ...drill, epoch: 3 }, 5)])), [
    [3, 3],
    'the store holds epoch 3 of this lineage, and "a" has epoch 1: an operator must choose',
  ]);
});

Deno.test("sourceOf() goes by what records name: data that was lost here or at a peer, and the cluster that was seen", () => {
  const seen = (lineageId: string, newCluster?: string) => ({
    nonce: "n",
    pledges: [],
    seen: { clusterId: "c9", voters: [], lineageId, ...(newCluster === undefined ? {} : { newCluster }) },
  });
  const two = stored([life(foreign, 9), life(first, 5)]);
  assertEquals(asks({ snapshotLookup: two }), "takes hash-foreign@1 hash-first@1");
  assertEquals(asks({ snapshotLookup: two, record: lost(first) }), "takes hash-first@1");
  assertEquals(asks({ snapshotLookup: two, record: seen("line") }), "takes hash-first@1");
  assertEquals(asks({ snapshotLookup: two, record: seen("none") }), "other_lineage_stored hash-foreign@1 hash-first@1");
  assertEquals(
    asks({ snapshotLookup: two, record: lost({ ...first, epoch: 0 }) }),
    "takes hash-foreign@1 hash-first@1",
  );
  const other = peer("b", {
    facts: facts("b", { data: { kind: "none", lost: { ...first, id: "x" } }, snapshotLookup: found(two) }),
  });
  const empty = peer("c", { facts: facts("c", { snapshotLookup: found(two) }) });
  assertEquals(asks({ snapshotLookup: two, record: lost(first), peers: [other, empty] }), "takes hash-first@1");
  // A name that came after the cluster that was seen gives that one up.
  const named = stored([life({ ...first, name: "blue" }, 9), life(foreign, 5)]);
  // The cluster that was seen is one life of its lineage, and a peer may be the one that saw it.
  const copied = stored([life(drill, 100), life(first, 5)]);
  const saw = { clusterId: "c9", voters: [], lineageId: "line", token: "first" };
  assertEquals(asks({ snapshotLookup: copied, record: seen("line") }), "takes hash-drill@2 hash-first@2");
  assertEquals(
    asks({ snapshotLookup: copied, record: { nonce: "n", pledges: [], seen: saw } }),
    "takes hash-first@2 hash-drill@2",
  );
  const { voters: _, ...published } = saw;
  const witness = peer("b", { facts: facts("b", { seen: published, snapshotLookup: found(copied) }) });
  assertEquals(asks({ snapshotLookup: copied, peers: [witness] }), "takes hash-first@2 hash-drill@2");
  const blue = settings({ snapshots: true, newCluster: "blue" });
  const asked = (record: View["record"]) => asks({ snapshotLookup: named, settings: blue, record });
  assertEquals(asked(seen("foreign")), "takes hash-first@1 hash-foreign@1");
  assertEquals(asked(seen("foreign", "blue")), "takes hash-foreign@1");
});

Deno.test("sourceOf() follows a life only to one that was restored from its last snapshot, at that time or later", () => {
  const restored = (change: Partial<StoredLife>, epoch = 2) =>
    asks({ snapshotLookup: stored([life(first, 5), life({ ...drill, epoch }, 5, change)]), record: lost(first) });
  assertEquals(restored({ parentToken: "first" }), "other_life_stored hash-drill@2 hash-first@2");
  assertEquals(restored({ parentToken: "another" }), "takes hash-first@2 hash-drill@2");
  const before = { hash: "hash-drill", revision: 5, takenAtWallMs: 4 };
  assertEquals(restored({ parentToken: "first", newest: before }), "takes hash-first@2 hash-drill@2");
  assertEquals(restored({ parentToken: "first" }, 1), "takes hash-first@1 hash-drill@1");
});

Deno.test("sourceOf() of several lives that records name takes the latest, and asks where they name none of two", () => {
  const both = stored([life(first, 5), life(drill, 4)], true);
  const peers = [
    peer("b", { facts: facts("b", { data: { kind: "none", lost: drill }, snapshotLookup: found(both) }) }),
  ];
  assertEquals(asks({ snapshotLookup: both, record: lost(first), peers }), "takes hash-drill@2 hash-first@2");
  const third = lost({ ...first, token: "third" });
  assertEquals(asks({ snapshotLookup: both, record: third }), "stored_fork hash-first@2 hash-drill@2");
  // The same token under another lineage is no branch.
  const namesake = life({ ...foreign, token: "first" }, 3, { newest: { hash: "n", revision: 3, takenAtWallMs: 3 } });
  assertEquals(asks({ snapshotLookup: stored([life(first, 5), namesake]) }), "takes hash-first@1 n@1");
});

Deno.test("a choice continues the highest epoch of its own lineage, what the store has heard of included", () => {
  const snapshotLookup = {
    ...stored([life(first, 5), life(foreign, 4), life(drill, 3)]),
    epochMax: 5,
  } as SnapshotLookup;
  assertEquals(asks({ snapshotLookup }), "takes hash-first@5 hash-foreign@1 hash-drill@5");
  const beside = stored([life(foreign, 9), life(first, 5), life(drill, 3)]);
  assertEquals(asks({ snapshotLookup: beside }), "takes hash-foreign@1 hash-first@2 hash-drill@2");
  const parent = (loss?: QuorumLoss) => {
    const found = outcome({ snapshotLookup: stored([life(first, 5)]) }, loss);
    return found.kind === "choices" ? found.choices[0]?.parent : found.kind;
  };
  assertEquals(parent(), { id: "line", epoch: 1, from: { token: "first", revision: 5 } });
  assertEquals(parent({ lineage: first, survivors: ["a"], name: "a", revision: 10, outlived: [] }), {
    id: "line",
    epoch: 1,
    from: { token: "first", revision: 10 },
  });
});

Deno.test("sourceOf() names both findings where nodes differ, and the way out of each wait", () => {
  const snapshotLookup = stored([life(first, 5)]);
  const digest = found(snapshotLookup).slice("newest:".length).slice(0, 12);
  const differs = outcome({ snapshotLookup, peers: [peer("b", { facts: facts("b", { snapshotLookup: "absent" }) })] });
  assertEquals(
    differs.kind === "wait" && differs.reason.text,
    `this node finds the store with snapshots (digest ${digest}), "b" finds it absent`,
  );
  // A node of the original publishes nothing.
  assertEquals(asks({ snapshotLookup, peers: [goPeer("g")] }), "takes hash-first@1");
  const unreadable = (hint?: string) => {
    const found = outcome({ snapshotLookup: { kind: "unreadable", code: "x", why: "403", ...(hint && { hint }) } });
    return found.kind === "wait" ? found.reason.hint : found.kind;
  };
  assertEquals(unreadable("renew the key"), "renew the key");
  assertEquals(unreadable()?.startsWith("restore the access to the store"), true);
  assertEquals(outcome({ snapshotLookup: { kind: "unknown" } }), {
    kind: "wait",
    reason: { code: "snapshot_unknown", text: "asking the store for a snapshot" },
  });
  const off = settings();
  assertEquals(asks({ settings: off, snapshotLookup: { kind: "unreadable", code: "x", why: "403" } }), "takes empty@0");
  assertEquals(lookupDigest(view("a", { settings: off, snapshotLookup })), "unconfigured");
  assertEquals(asks({ settings: settings({ snapshots: true, restore: "never" }), snapshotLookup }), "restore_never");
});

Deno.test("--new-cluster NAME begins anew beside the snapshots of others, until one life has that name", () => {
  const blue = settings({ snapshots: true, newCluster: "blue" });
  assertEquals(asks({ settings: blue, snapshotLookup: stored([life(first, 5)]) }), "takes empty@0");
  const one = stored([life(first, 5), life({ ...foreign, name: "blue" }, 4)]);
  assertEquals(asks({ settings: blue, snapshotLookup: one }), "takes hash-first@1 hash-foreign@1");
});

Deno.test("takenAtWallMs() is the time of that very snapshot among all that the store shows", () => {
  const snapshotLookup = stored([life(first, 5), life(foreign, 4)]);
  const taken = (hash: string) => takenAtWallMs({ snapshotLookup }, { kind: "snapshot", hash, revision: 0 });
  assertEquals([taken("hash-first"), taken("hash-foreign"), taken("none")], [5, 4, undefined]);
  assertEquals(takenAtWallMs({ snapshotLookup }, { kind: "empty" }), undefined);
});
