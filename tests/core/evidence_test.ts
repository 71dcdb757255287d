import { lastingMs, levelOfWait } from "../../lib/core/rules/wait_level.ts";
import {
  challenger,
  countDisks,
  endLifeDigest,
  judgeRival,
  judgeStore,
  lifeToRemember,
  planOf,
} from "../../lib/core/evidence/order.ts";
import { decideStart } from "../../lib/core/rules/start/start.ts";
import type { View } from "../../lib/core/facts/view.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { answer, answering, data, facts, member, nowMs, peer, settings, view } from "./facts.ts";
import type { SnapshotLookup } from "../../lib/core/facts/snapshot_lookup.ts";
import type { GossipPeer } from "../../lib/core/facts/peer.ts";
import type { EtcdAnswer } from "../../lib/core/facts/cluster.ts";
import type { ValidData } from "../../lib/core/facts/data_dir.ts";
import type { Lineage } from "../../lib/core/facts/node_record.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const first: Lineage = { id: "line", epoch: 1, token: "first" };
const second: Lineage = { id: "line", epoch: 2, token: "second" };
const started = { lineage: first, how: "founded", renounced: [], clusterId: "c1" } as const;
const record = { nonce: "nonce-b", pledges: [], started };

/** A peer with data of the first life. */
const holder = (name: string, change: Partial<GossipPeer> = {}) =>
  peer(name, {
    facts: facts(name, {
      data: { kind: "held", clusterId: "c1", memberId: `id-${name}`, lineage: first, revision: 1 },
    }),
    ...change,
  });
/** A peer with data of the second life. */
const rival = (name: string) =>
  peer(name, {
    facts: facts(name, {
      data: { kind: "held", clusterId: "c2", memberId: "other", lineage: second, revision: 1 },
    }),
  });
const secondLives = new Map([[
  "http://a:2379",
  answering(answer("a", [member("a")], { clusterId: "c2", lineage: second })),
]]);

function returning(change: Partial<View> = {}): View {
  return view("b", { data: data("b", members), record, ...change });
}

const verdictOf = (seen: View) => {
  const verdict = judgeRival(seen, data("b", members));
  return verdict.kind === "alone" ? "alone" : `${verdict.kind} ${verdict.reason.code}`;
};

Deno.test("judgeRival() lets one disk yield to a living quorum of a newer epoch, once the others have had their time", () => {
  const gone = { state: "dead", sinceMs: 0 } as const;
  const waits = returning({ peers: [rival("a"), peer("c", gone)], endpoints: secondLives, bootedAtMs: nowMs - 1_000 });
  assertEquals(verdictOf(waits), "waits newer_epoch_waits");
  assertEquals(verdictOf({ ...waits, bootedAtMs: 0 }), "yields newer_epoch");
  // Time that this node did not watch is no time.
  assertEquals(verdictOf({ ...waits, bootedAtMs: 0, watchingSinceMs: nowMs - 1_000 }), "waits newer_epoch_waits");
  const never = settings({ quorumLossTimeoutMs: "never" });
  assertEquals(verdictOf({ ...waits, bootedAtMs: 0, settings: never }), "waits newer_epoch_waits");
});

Deno.test("judgeRival() does not wait for a disk that is known to hold nothing of the own life", () => {
  const emptied = returning({ peers: [rival("a"), peer("c")], endpoints: secondLives, bootedAtMs: nowMs });
  assertEquals(verdictOf(emptied), "yields newer_epoch");
  const unmounted = peer("c", { facts: facts("c", { data: { kind: "none", lost: first } }) });
  assertEquals(verdictOf({ ...emptied, peers: [rival("a"), unmounted] }), "waits newer_epoch_waits");
  const elsewhere = peer("c", { peerUrl: "http://elsewhere:2380" });
  assertEquals(
    verdictOf({ ...emptied, peers: [rival("a"), elsewhere] }),
    "waits newer_epoch_waits",
    "a name is a copy",
  );
});

Deno.test("judgeRival() holds nobody up who pledged to that very life: it is one of those who bootstrap it", () => {
  const initialMembers = ["a", "b", "c"].map((name) => ({
    name,
    peerUrl: `http://${name}:2380`,
    nonce: `nonce-${name}`,
  }));
  const source = { kind: "survivor", name: "b", revision: 1 } as const;
  const pledge = { initialMembers, source, lineage: second, digest: "d", token: second.token, verified: "h" };
  const seen = returning({ peers: [rival("a"), peer("c", { state: "dead", sinceMs: 0 })] });
  assertEquals(verdictOf(seen), "waits newer_epoch_silent");
  assertEquals(verdictOf({ ...seen, record: { ...record, pledges: [pledge] } }), "alone");
  // One that moved since is none of them any more.
  const moved = { ...seen.self, peerUrl: "http://elsewhere:2380" };
  assertEquals(
    verdictOf({ ...seen, self: moved, record: { ...record, pledges: [pledge] } }),
    "waits newer_epoch_silent",
  );
});

Deno.test("decideStart() waits for a recovery of its own life or a later one, and not for that of the life before it", () => {
  const recovering = peer("a", {
    facts: facts("a", {
      data: { kind: "held", clusterId: "c1", memberId: "id-a", lineage: first, revision: 1 },
      pledges: [{ digest: "d", token: second.token, initialMembers: [] }],
      quorumLost: { lineage: first, revision: 1, members: [], raftIndex: 1, lastLog: { term: 1, index: 1 } },
    }),
  });
  const start = (lineage: Lineage) => {
    const own = { ...started, lineage, clusterId: "c9" };
    const seen = returning({ peers: [recovering], record: { ...record, started: own }, gossipJoinedAtMs: 0 });
    const outcome = decideStart({ ...seen, data: { ...data("b", members), clusterId: "c9" } });
    return `${outcome.kind} ${"reason" in outcome ? outcome.reason.code : ""}`;
  };
  assertEquals(start(first), "wait recovery_runs");
  assertEquals(start(second), "restart own_data");
});

Deno.test("judgeRival() never lets a quorum of disks yield: it waits for an operator, or goes on when it is alive", () => {
  const cold = returning({ peers: [rival("a"), holder("c")], endpoints: secondLives });
  assertEquals(verdictOf(cold), "waits two_epochs");
  assertEquals(verdictOf({ ...cold, peers: [rival("a"), holder("c", { status: "running" })] }), "stands two_epochs");
  const outcome = decideStart(cold);
  assertEquals(outcome.kind === "wait" && [outcome.level, outcome.reason.choices?.length], ["error", 2]);
});

Deno.test("judgeRival() takes no peer's word: without an answer of the newer epoch's quorum nothing yields", () => {
  assertEquals(verdictOf(returning({ peers: [rival("a"), peer("c")] })), "waits newer_epoch_silent");
});

Deno.test("judgeRival() does as an operator approved, at any of the nodes", () => {
  const cold = returning({ peers: [rival("a"), holder("c")], endpoints: secondLives });
  const approved = (plan: string) => settings({ approved: [plan] });
  const [ends, stays] = [planOf(endLifeDigest(first, second)), planOf(endLifeDigest(second, first))];
  assertEquals(verdictOf({ ...cold, settings: approved(ends) }), "yields newer_epoch");
  assertEquals(verdictOf({ ...cold, settings: approved(stays) }), "stands two_epochs");
  const atPeer = holder("c");
  const told = { ...atPeer, facts: { ...atPeer.facts!, approved: [ends] } };
  assertEquals(verdictOf({ ...cold, peers: [rival("a"), told] }), "yields newer_epoch");
  const silent = { ...cold, settings: approved(ends), endpoints: new Map() };
  assertEquals(verdictOf(silent), "waits newer_epoch_silent", "the data stays until the other life lives");
});

Deno.test("judgeRival() never ends a life that stood beside the other one with a quorum of its own", () => {
  const stood = returning({
    peers: [rival("a"), peer("c", { state: "dead" })],
    endpoints: secondLives,
    record: { ...record, rival: second },
  });
  assertEquals(verdictOf(stood), "waits two_epochs");
});

Deno.test("judgeRival() holds data of an earlier life that is mounted again against the later one of the same disk", () => {
  const later = { ...started, lineage: second, clusterId: "c2" };
  const single = view("a", {
    data: data("a", [member("a")]),
    record: { nonce: "n", pledges: [], started, former: [later] },
    settings: settings({ requiredSize: 1 }),
  });
  const verdict = judgeRival(single, data("a", [member("a")]));
  assertEquals(verdict.kind === "waits" && [verdict.level, verdict.reason.code], ["error", "two_epochs"]);
});

const stored: SnapshotLookup = {
  kind: "newest",
  hash: "h",
  revision: 1_000_000_000,
  lineage: second,
  takenAtWallMs: 0,
  verified: true,
  epochMax: 2,
};

Deno.test("judgeStore() never ends a life: a quorum of disks starts, fewer wait for the others for a time", () => {
  const judge = (change: Partial<View>) =>
    judgeStore(returning({ snapshotLookup: stored, ...change }), data("b", members));
  assertEquals(judge({ peers: [holder("c")] }).kind, "stands");
  assertEquals(judge({ bootedAtMs: nowMs - 1_000 }).kind, "waits");
  assertEquals(judge({}).kind, "stands", "after the time-out");
  assertEquals(judge({ snapshotLookup: { ...stored, lineage: first, epochMax: 1 } }).kind, "alone");
  assertEquals(judge({ snapshotLookup: { ...stored, lineage: { ...second, id: "foreign" } } }).kind, "alone");
});

Deno.test("decideStart() restarts a quorum of intact disks whatever the store says", () => {
  const outcome = decideStart(returning({ peers: [holder("c")], snapshotLookup: stored }));
  assertEquals(outcome.kind, "restart");
});

Deno.test("countDisks() counts a disk once: here, gone, or not heard of", () => {
  const five = ["a", "b", "c", "d", "e"].map((name) => member(name));
  const peers = [holder("a"), peer("c"), peer("d", { state: "dead" })];
  const count = countDisks(returning({ peers }), data("b", five));
  assertEquals(count, { voters: 5, holding: ["a", "b"], gone: ["c"], silent: ["d", "e"] });
  const looking = peer("c", { facts: facts("c", { data: { kind: "unknown" } }) });
  assert(countDisks(returning({ peers: [looking] }), data("b", five)).silent.includes("c"));
  const unusable = peer("c", { facts: facts("c", { data: { kind: "unusable", why: "EIO" } }) });
  assert(countDisks(returning({ peers: [unusable] }), data("b", five)).silent.includes("c"));
});

Deno.test("decideStart() ignores the clusters of others where its data belongs to one", () => {
  const foreign = answering(answer("x", [member("x")], { clusterId: "cX", leaderId: "id-x" }));
  const seen = returning({
    peers: [holder("c"), peer("x", { status: "running" })],
    endpoints: new Map([["http://x:2379", foreign]]),
  });
  assertEquals(decideStart(seen).kind, "restart");
});

Deno.test("decideStart() joins no cluster of another lineage than its record or its store", () => {
  const running = answering(answer("x", [member("x")], {
    clusterId: "cX",
    leaderId: "id-x",
    lineage: { id: "theirs", epoch: 1, token: "t" },
  }));
  const empty = view("b", { peers: [peer("x")], endpoints: new Map([["http://x:2379", running]]) });
  const codeOf = (seen: View) => {
    const outcome = decideStart(seen);
    return outcome.kind === "wait" ? `${outcome.level ?? "info"} ${outcome.reason.code}` : outcome.kind;
  };
  assertEquals(codeOf(empty), "join");
  const lost = { nonce: "n", pledges: [], lost: started };
  assertEquals(codeOf({ ...empty, record: lost }), "error other_cluster");
  const withStore = { ...empty, settings: settings({ snapshots: true }) };
  assertEquals(codeOf({ ...withStore, snapshotLookup: stored }), "error other_lineage_stored");
  assertEquals(
    codeOf({ ...withStore, snapshotLookup: { kind: "unknown" }, bootedAtMs: nowMs - 1_000 }),
    "info snapshot_unknown",
  );
  assertEquals(
    codeOf({ ...withStore, snapshotLookup: { kind: "unknown" } }),
    "join",
    "a store that stalls keeps no one out",
  );
  assertEquals(codeOf({ ...withStore, snapshotLookup: { kind: "absent" } }), "join");
});

Deno.test("decideStart() keeps a quorum of disks that the store is ahead of waiting for the disk that has not spoken", () => {
  const ahead: SnapshotLookup = {
    kind: "newest",
    hash: "h",
    revision: 90,
    lineage: first,
    takenAtWallMs: 0,
    verified: true,
    epochMax: 1,
    lives: [{ lineage: first, newest: { hash: "h", revision: 90, takenAtWallMs: 0 } }],
  };
  const withStore = settings({ snapshots: true });
  const start = (change: Partial<View>) =>
    decideStart(returning({
      peers: [holder("c"), peer("a", { state: "dead" })],
      snapshotLookup: ahead,
      settings: withStore,
      bootedAtMs: nowMs - 20_000,
      ...change,
    }));
  const codeOf = (change: Partial<View>) => {
    const outcome = start(change);
    return `${outcome.kind} ${"reason" in outcome ? outcome.reason.code : ""}`;
  };
  assertEquals(codeOf({}), "wait quorum_behind_store");
  assertEquals(codeOf({ peers: [holder("c"), holder("a")] }), "restart own_data", "all disks are here");
  assertEquals(codeOf({ peers: [holder("c"), peer("a")] }), "restart own_data", "the third has looked: it has nothing");
  const newer = peer("c", {
    facts: facts("c", { data: { kind: "held", clusterId: "c1", memberId: "id-c", lineage: first, revision: 90 } }),
  });
  assertEquals(codeOf({ peers: [newer, peer("a", { state: "dead" })] }), "restart own_data", "a disk has all of it");
  assertEquals(codeOf({ snapshotLookup: { ...ahead, lives: [] } }), "restart own_data");
  const other = { ...first, token: "another life" };
  const foreign = [{ lineage: other, newest: { hash: "h", revision: 90, takenAtWallMs: 0 } }];
  assertEquals(codeOf({ snapshotLookup: { ...ahead, lives: foreign } }), "restart own_data", "of another life");
  assertEquals(codeOf({ bootedAtMs: nowMs - 600_000 }), "restart own_data", "after the time-out");
  const outcome = start({});
  const plan = outcome.kind === "wait" ? outcome.reason.choices![0]!.plan : "";
  assertEquals(codeOf({ settings: { ...withStore, approved: [plan] } }), "restart own_data", "an operator approved");
  // The first look is waited for, and no store that stalls keeps a quorum from starting.
  const unknown = { kind: "unknown" } as const;
  assertEquals(codeOf({ snapshotLookup: unknown, bootedAtMs: nowMs - 4_000 }), "wait asking_store");
  assertEquals(codeOf({ snapshotLookup: unknown }), "restart own_data");
});

Deno.test("decideStart() quarantines no removed member that is ahead of the cluster: the cluster went back in time", () => {
  const running = (change: Partial<EtcdAnswer>) =>
    new Map([["http://a:2379", answering(answer("a", [member("a"), member("c")], change))]]);
  const start = (own: Partial<ValidData>, theirs: Partial<EtcdAnswer>, approved: string[] = []) =>
    decideStart(returning({
      data: data("b", members, own),
      peers: [holder("a", { status: "running" }), holder("c", { status: "running" })],
      endpoints: running(theirs),
      settings: settings({ approved }),
    }));
  const codeOf = (outcome: ReturnType<typeof start>) =>
    `${outcome.kind} ${"level" in outcome ? outcome.level : ""} ${"reason" in outcome ? outcome.reason.code : ""}`;
  assertEquals(codeOf(start({ revision: 50 }, { revision: 50 })), "quarantine  removed_member");
  const ahead = start({ revision: 51 }, { revision: 50 });
  assertEquals(codeOf(ahead), "wait error removed_ahead");
  assert(ahead.kind === "wait" && ahead.reason.text.includes("revision 50") && ahead.reason.text.includes("51"));
  assertEquals(
    codeOf(start({ revision: 50, lastLog: { term: 9, index: 1 } }, { raftTerm: 8 })),
    "wait error removed_ahead",
  );
  const plan = ahead.kind === "wait" ? ahead.reason.choices![0]!.plan : "";
  assertEquals(codeOf(start({ revision: 51 }, { revision: 50 }, [plan])), "quarantine  removed_member");
});

Deno.test("judgeRival() waits for an operator also while the life that it was seen with a quorum is away", () => {
  const cold = returning({ peers: [rival("a"), holder("c")], endpoints: secondLives });
  assertEquals(lifeToRemember(cold), second);
  assertEquals(lifeToRemember({ ...cold, endpoints: new Map() }), undefined, "no quorum of it was seen");
  const knows = { ...record, undecided: second };
  assertEquals(lifeToRemember({ ...cold, record: knows }), undefined, "it is known");
  const away = { ...cold, record: knows, peers: [holder("c")], endpoints: new Map() };
  assertEquals(verdictOf(away), "waits two_epochs");
  const outcome = decideStart(away);
  assertEquals(outcome.kind === "wait" && [outcome.level, outcome.reason.choices?.length], ["error", 2]);
  const [ends, stays] = [planOf(endLifeDigest(first, second)), planOf(endLifeDigest(second, first))];
  assertEquals(verdictOf({ ...away, settings: settings({ approved: [stays] }) }), "stands two_epochs");
  assertEquals(verdictOf({ ...away, settings: settings({ approved: [ends] }) }), "waits newer_epoch_silent");
  // A node that boots later learns it from the one that has seen it.
  const told = holder("c");
  const peers = [{ ...told, facts: { ...told.facts!, undecided: second } }];
  assertEquals(verdictOf({ ...away, record, peers }), "waits two_epochs");
  assertEquals(verdictOf({ ...away, record }), "alone");
  // Of another life of this disk it says nothing.
  const later = { ...started, lineage: { ...second, epoch: 3 } };
  assertEquals(verdictOf({ ...away, record: { ...knows, started: later } }), "alone");
});

Deno.test("challenger() finds the earlier life whose nodes wait for an operator to choose against the own one", () => {
  const waiting = (undecided?: Lineage) => {
    const old = holder("b");
    return view("a", { peers: [{ ...old, facts: { ...old.facts!, ...(undecided && { undecided }) } }] });
  };
  assertEquals(challenger(waiting(second), second)?.holder, "b");
  assertEquals(challenger(waiting(second), second)?.living, false);
  assertEquals(challenger(waiting(), second), undefined);
  assertEquals(challenger(waiting({ ...second, token: "third" }), second), undefined);
});

Deno.test("decideStart() starts no listed member that is ahead of its cluster, and reports it once that has lasted", () => {
  const start = (own: Partial<ValidData>, theirs: Partial<EtcdAnswer>, approved: string[] = []) =>
    decideStart(returning({
      data: data("b", members, own),
      peers: [holder("a", { status: "running" }), holder("c", { status: "running" })],
      endpoints: new Map([["http://a:2379", answering(answer("a", members, theirs))]]),
      settings: settings({ approved }),
    }));
  const codeOf = (outcome: ReturnType<typeof start>) =>
    `${outcome.kind} ${"level" in outcome ? outcome.level : ""} ${"reason" in outcome ? outcome.reason.code : ""}`;
  assertEquals(codeOf(start({ revision: 50 }, { revision: 50 })), "restart  still_listed");
  const ahead = start({ revision: 51 }, { revision: 50 });
  assertEquals(codeOf(ahead), "wait info member_ahead");
  assertEquals(
    codeOf(start({ revision: 50, lastLog: { term: 9, index: 1 } }, { raftTerm: 8 })),
    "wait info member_ahead",
  );
  assertEquals(levelOfWait("member_ahead", "info", settings(), lastingMs), "error");
  const plan = ahead.kind === "wait" ? ahead.reason.choices![0]!.plan : "";
  assertEquals(codeOf(start({ revision: 51 }, { revision: 50 }, [plan])), "quarantine  member_ahead");
});
