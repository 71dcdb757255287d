import { decideStart } from "../../../../lib/core/rules/start/start.ts";
import { assertEquals } from "../../../support/assert.ts";
import { answer, answering, data, facts, goPeer, member, nowMs, peer, settings, silent, view } from "../../facts.ts";
import type { View } from "../../../../lib/core/facts/view.ts";
import type { SnapshotLookup } from "../../../../lib/core/facts/snapshot_lookup.ts";
import type { EndpointFacts, EtcdProcess } from "../../../../lib/core/facts/cluster.ts";
import type { Lineage } from "../../../../lib/core/facts/node_record.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const told: EtcdProcess = { kind: "exited", atMs: nowMs, code: 0, cause: "member_removed", count: 1 };
const running = (name: string) => peer(name, { status: "running" });

Deno.test("decideStart() takes no peer's word for a removal: without a quorum that says so the data stays where it is", () => {
  const outcome = decideStart(view("b", {
    data: data("b", members),
    etcd: told,
    peers: [running("a")],
    endpoints: new Map([["http://a:2379", answering(answer("a", members, { linearizable: false }))]]),
  }));
  assertEquals([outcome.kind, "reason" in outcome && outcome.reason.code], ["restart", "removal_unproven"]);
});

Deno.test("decideStart() moves a member's data aside once a quorum answers that does not list it", () => {
  const rest = members.filter(({ name }) => name !== "b");
  const outcome = decideStart(view("b", {
    data: data("b", members),
    etcd: told,
    peers: [running("a")],
    endpoints: new Map([["http://a:2379", answering(answer("a", rest))]]),
  }));
  assertEquals([outcome.kind, "reason" in outcome && outcome.reason.code], ["quarantine", "removed_member"]);
});

Deno.test("decideStart() reports a learner's new address once it votes, where etcd would forget that it is one", () => {
  const outcome = (versions: readonly [string, string | undefined], isLearner = true) => {
    const old = { peerUrls: ["http://c-old:2380"], clientUrls: ["http://c-old:2379"], isLearner };
    const listed = [member("a"), member("b"), member("c", old)];
    const endpoints = new Map<string, EndpointFacts>(versions.flatMap((version, at) => {
      const { name } = listed[at]!;
      return version === undefined
        ? []
        : [[`http://${name}:2379`, answering(answer(name, listed, { version }))] as const];
    }));
    endpoints.set("http://c-old:2379", silent(0));
    const peers = [running("a"), running("b")];
    // Asked before any address is changed: nothing runs at the old one.
    const raft = { kind: "unreadable", atMs: nowMs } as const;
    const decided = decideStart(view("c", { data: data("c", listed), peers, endpoints, raft }));
    return `${decided.kind} ${"reason" in decided ? decided.reason.code : ""}`;
  };
  assertEquals(outcome(["3.6.12", "3.6.14"]), "updateAddress address_changed");
  assertEquals(outcome(["3.6.12", "3.6.11"]), "restart address_changed");
  assertEquals(outcome(["3.4.45", "3.5.31"]), "restart address_changed");
  // One that does not answer may be of any release.
  assertEquals(outcome(["3.6.14", undefined]), "restart address_changed");
  assertEquals(outcome(["3.6.11", "3.6.11"], false), "updateAddress address_changed");
});

Deno.test("decideStart() never replaces damaged data of a newer epoch by the cluster of an older one without an operator", () => {
  const [older, newer] = [1, 2].map((epoch) => ({ id: "l", epoch, token: `t${epoch}` })) as [Lineage, Lineage];
  const outcome = (own: Lineage | undefined, theirs: Lineage, approved: readonly string[] = []) => {
    const record = view("c").record;
    return decideStart(view("c", {
      data: { kind: "damaged", what: "checksum of the log" },
      record: own === undefined ? record : { ...record, started: { lineage: own, how: "restored", renounced: [] } },
      settings: settings({ approved }),
      peers: [running("a")],
      endpoints: new Map([["http://a:2379", answering(answer("a", members, { lineage: theirs }))]]),
    }));
  };
  const words = (decided: ReturnType<typeof outcome>) =>
    `${decided.kind} ${"reason" in decided ? decided.reason.code : ""}`;
  assertEquals(words(outcome(newer, newer)), "quarantine data_damaged");
  assertEquals(words(outcome(older, newer)), "quarantine data_damaged");
  assertEquals(words(outcome(undefined, older)), "quarantine data_damaged");
  const waits = outcome(newer, older);
  assertEquals(words(waits), "wait damaged_newer_epoch");
  const { plan } = ("reason" in waits ? waits.reason.choices : undefined)![0]!;
  assertEquals(words(outcome(newer, older, [plan])), "quarantine damaged_newer_epoch");
});

/** Kind, level or label, and code. */
function toldOf(outcome: ReturnType<typeof decideStart>): string {
  const detail = outcome.kind === "wait" ? outcome.level : outcome.kind === "quarantine" ? outcome.label : undefined;
  return [outcome.kind, detail, outcome.reason.code].filter((each) => each !== undefined).join(" ");
}

const single = settings({ requiredSize: 1, gossip: false });
const serves = (name: string, change: Parameters<typeof answer>[2] = {}) =>
  [`http://${name}:2379`, answering(answer(name, members, change))] as const;
/** a runs, and answers with a quorum. */
const beside = (change: Partial<View> = {}, cluster: Parameters<typeof answer>[2] = {}) =>
  view("x", { peers: [running("a")], endpoints: new Map([serves("a", cluster)]), ...change });

Deno.test("decideStart() of a node without data: what it sees decides, and what is unknown is waited for", () => {
  const cases: [string, View][] = [
    ["wait inspecting", view("x", { data: { kind: "unknown" } })],
    ["wait data_unreadable", view("x", { data: { kind: "unreadable", why: "EIO" } })],
    ["refuse data_unreadable", view("x", { data: { kind: "unreadable", why: "EIO" }, settings: single })],
    ["refuse data_damaged", view("x", { data: { kind: "damaged", what: "log" }, settings: single })],
    ["wait info data_damaged", view("x", { data: { kind: "damaged", what: "log" } })],
    ["quarantine damaged data_damaged", beside({ data: { kind: "damaged", what: "log" } })],
    ["join cluster_runs", beside()],
    ["join cluster_runs", beside({ data: { kind: "empty" } })],
    ["bootstrap no_data_anywhere", view("x")],
    ["bootstrap no_data_anywhere", view("x", { data: { kind: "empty" } })],
    ["bootstrap no_data_anywhere", view("x", { settings: single })],
    ["wait running_peer_silent", view("x", { peers: [running("a")] })],
    ["bootstrap no_data_anywhere", view("x", { peers: [peer("a", { status: "running", state: "dead" })] })],
    ["bootstrap no_data_anywhere", view("x", { peers: [peer("a", { status: "pending" })] })],
    // The answer of a member without a quorum is no running cluster.
    ["wait running_peer_silent", beside({}, { linearizable: false })],
    ["wait error name_taken", view("x", { nameConflicts: [{ name: "x", addresses: ["x:7980", "y:7980"] }] })],
  ];
  assertEquals(decideStart(view("x", { data: { kind: "unknown" } })), {
    kind: "wait",
    reason: { code: "inspecting", text: "looking at the own data-dir" },
  });
  for (const [expected, seen] of cases) assertEquals(toldOf(decideStart(seen)), expected, JSON.stringify(seen.data));
});

Deno.test("decideStart() waits for the first answer by gossip where there is gossip and more than one node", () => {
  const { gossipJoinedAtMs: _, ...unheard } = view("x");
  const seeds = ["x:7980", "a:7980", "b:7980"];
  const lonely = decideStart({ ...unheard, settings: settings({ seeds }) });
  assertEquals([toldOf(lonely), lonely.reason.text], [
    "wait no_peer_answers",
    "no other node has answered by gossip yet: asked a:7980, b:7980",
  ]);
  const unnamed = decideStart({ ...unheard, settings: settings({ seeds: ["x:7980"] }) });
  assertEquals(unnamed.reason.text, "no other node has answered by gossip yet; no address of one is known");
  assertEquals(
    toldOf(decideStart({ ...unheard, settings: settings({ requiredSize: 1 }) })),
    "bootstrap no_data_anywhere",
  );
  assertEquals(
    toldOf(decideStart({ ...unheard, settings: settings({ gossip: false }) })),
    "bootstrap no_data_anywhere",
  );
});

Deno.test("decideStart() refuses a size that contradicts the cluster's record, unless the cluster had it before", () => {
  const started = (requiredSize: number, recordedSize: number | undefined, formerSizes: readonly number[] = []) =>
    toldOf(decideStart(
      beside(
        { settings: settings({ requiredSize }) },
        { ...(recordedSize === undefined ? {} : { recordedSize }), formerSizes },
      ),
    ));
  assertEquals(started(3, 3), "join cluster_runs");
  assertEquals(started(3, undefined), "join cluster_runs");
  assertEquals(started(5, 3), "refuse size_contradicts_record");
  assertEquals(started(5, 3, [5]), "join cluster_runs");
});

Deno.test("decideStart() joins none of two clusters, unless its record or its data names one of them", () => {
  const other = answering(answer("z", [member("z")], { clusterId: "c2", leaderId: "id-z" }));
  const two = {
    peers: [running("a"), running("z")],
    endpoints: new Map([serves("a"), ["http://z:2379", other] as const]),
  };
  assertEquals(toldOf(decideStart(view("x", two))), "wait two_clusters");
  const seen = { clusterId: "c1", voters: [] };
  assertEquals(
    toldOf(decideStart(view("x", { ...two, record: { nonce: "n", pledges: [], seen } }))),
    "join cluster_runs",
  );
  assertEquals(toldOf(decideStart(view("b", { ...two, data: data("b", members) }))), "restart still_listed");
  // Two clusters that hold data and do not run.
  const holder = (name: string, id: string) =>
    peer(name, {
      facts: facts(name, {
        data: { kind: "held", clusterId: id, memberId: "m", lineage: { id, epoch: 1, token: id }, revision: 1 },
      }),
    });
  const stopped = { peers: [holder("a", "one"), holder("z", "two")] };
  assertEquals(toldOf(decideStart(view("x", stopped))), "wait two_clusters");
  const lost = { lineage: { id: "one", epoch: 1, token: "one" }, how: "founded", renounced: [] } as const;
  assertEquals(
    toldOf(decideStart(view("x", { ...stopped, record: { nonce: "n", pledges: [], lost } }))),
    "bootstrap no_data_anywhere",
  );
});

const theirs = { id: "l", epoch: 1, token: "t" };

Deno.test("decideStart() joins no cluster of another lineage than the one that its record names", () => {
  const joins = (change: Partial<View>, cluster: Parameters<typeof answer>[2] = {}) =>
    toldOf(decideStart(beside(change, { lineage: theirs, ...cluster })));
  const seen = { clusterId: "c9", voters: [], lineageId: "other" };
  const lost = { lineage: { id: "other", epoch: 1, token: "o" }, how: "founded", renounced: [] } as const;
  const record = { nonce: "n", pledges: [] };
  assertEquals(joins({}), "join cluster_runs");
  assertEquals(joins({ record: { ...record, seen } }), "wait error other_cluster");
  assertEquals(joins({ record: { ...record, lost } }), "wait error other_cluster");
  assertEquals(joins({ record: { ...record, lost: { ...lost, lineage: theirs } } }), "join cluster_runs");
  assertEquals(joins({ record: { ...record, seen: { ...seen, lineageId: "l" } } }), "join cluster_runs");
  assertEquals(joins({ record: { ...record, seen: { clusterId: "c9", voters: [] } } }), "join cluster_runs");
  // Its very cluster: the lineage was adopted since.
  assertEquals(joins({ record: { ...record, seen: { ...seen, clusterId: "c1" } } }), "join cluster_runs");
  // An operator gave the former cluster up with a new name, and with no earlier one.
  const named = (newCluster: string, before?: string) =>
    joins({
      settings: settings({ newCluster }),
      record: { ...record, seen: { ...seen, ...(before === undefined ? {} : { newCluster: before }) } },
    });
  assertEquals(named("blue"), "join cluster_runs");
  assertEquals(named("blue", "green"), "join cluster_runs");
  assertEquals(named("blue", "blue"), "wait error other_cluster");
  // The cluster keeps no lineage: its members publish it, and one of them has not yet.
  const { facts: _, ...mute } = running("a");
  assertEquals(toldOf(decideStart(beside({ peers: [mute] }))), "wait lineage_unknown");
  assertEquals(
    toldOf(decideStart(beside({ peers: [goPeer("a", { status: "running" })], record: { ...record, lost } }))),
    "join cluster_runs",
  );
  // The whole bootstrap list names the cluster that runs: what was only seen is less.
  const holder = peer("a", {
    status: "running",
    facts: facts("a", { data: { kind: "held", clusterId: "c1", memberId: "id-a", lineage: theirs, revision: 1 } }),
  });
  const listed = { settings: settings({ seeds: ["a:7980"] }), peers: [holder], record: { ...record, seen } };
  assertEquals(joins(listed), "join cluster_runs");
  assertEquals(joins({ ...listed, record: { ...record, seen, lost } }), "wait error other_cluster");
  // Valid data and its own cluster: decided by the data.
  assertEquals(
    toldOf(decideStart(view("b", {
      peers: [running("a")],
      endpoints: new Map([serves("a", { lineage: theirs })]),
      data: data("b", members),
      record: { ...record, seen },
    }))),
    "restart still_listed",
  );
});

Deno.test("decideStart() joins no cluster that its store is not of, and waits for the store's answer for 15 s", () => {
  const on = settings({ snapshots: true });
  const stored = (lineage: Lineage | undefined, lives?: readonly Lineage[]): SnapshotLookup => ({
    kind: "newest",
    hash: "h",
    revision: 1,
    ...(lineage === undefined ? {} : { lineage }),
    takenAtWallMs: 0,
    verified: true,
    epochMax: 1,
    ...(lives === undefined
      ? {}
      : { lives: lives.map((lineage) => ({ lineage, newest: { hash: "h", revision: 1, takenAtWallMs: 0 } })) }),
  });
  const joins = (snapshotLookup: SnapshotLookup, change: Partial<View> = {}, lineage: Lineage = theirs) =>
    toldOf(decideStart(beside({ settings: on, snapshotLookup, ...change }, { lineage })));
  const other = { id: "other", epoch: 1, token: "o" };
  const unknown = { kind: "unknown" } as const;
  assertEquals(joins(unknown, { bootedAtMs: nowMs - 14_999 }), "wait snapshot_unknown");
  assertEquals(joins(unknown, { bootedAtMs: nowMs - 15_000 }), "join cluster_runs");
  assertEquals(joins(unknown, { bootedAtMs: nowMs, settings: settings() }), "join cluster_runs");
  assertEquals(joins({ kind: "absent" }, { bootedAtMs: nowMs }), "join cluster_runs");
  assertEquals(joins(stored(theirs)), "join cluster_runs");
  assertEquals(joins(stored(other)), "wait error other_lineage_stored");
  assertEquals(joins(stored(other), { settings: settings() }), "join cluster_runs");
  assertEquals(joins(stored(other, [other, theirs])), "join cluster_runs", "one of the lives is the cluster's");
  assertEquals(joins(stored(other, [other])), "wait error other_lineage_stored");
  assertEquals(joins(stored(undefined)), "join cluster_runs", "the original's file names no lineage");
  assertEquals(joins(stored({ ...other, epoch: 0 })), "join cluster_runs", "epoch 0 is no knowledge");
  assertEquals(joins(stored(other), {}, { ...theirs, epoch: 0 }), "join cluster_runs");
  assertEquals(
    joins(stored(other), {}, { ...theirs, name: "blue" }),
    "join cluster_runs",
    "begun anew beside those snapshots",
  );
});
