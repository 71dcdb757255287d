import { decideRestart } from "../../../../lib/core/rules/start/restart.ts";
import { runningCluster } from "../../../../lib/core/evidence/running_cluster.ts";
import type { StartOutcome } from "../../../../lib/core/rules/start/outcome.ts";
import type { View } from "../../../../lib/core/facts/view.ts";
import type { ValidData } from "../../../../lib/core/facts/data_dir.ts";
import type { Lineage, Pledge, StartedData } from "../../../../lib/core/facts/node_record.ts";
import type { EtcdAnswer, EtcdMember } from "../../../../lib/core/facts/cluster.ts";
import type { GossipPeer, PeerData, PeerFacts } from "../../../../lib/core/facts/peer.ts";
import { assertEquals } from "../../../support/assert.ts";
import { answer, answering, data, facts, goPeer, member, nowMs, peer, settings, silent, view } from "../../facts.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const own: Lineage = { id: "line", epoch: 1, token: "first" };
const later: Lineage = { id: "line", epoch: 2, token: "second" };
const started: StartedData = { lineage: own, how: "founded", clusterId: "c1", renounced: [] };
const record = { nonce: "n", pledges: [], started };

const held = (name: string, change: Partial<Extract<PeerData, { kind: "held" }>> = {}): PeerData => ({
  kind: "held",
  clusterId: "c1",
  memberId: `id-${name}`,
  lineage: own,
  revision: 50,
  ...change,
});
const holder = (name: string, change: Partial<PeerFacts> = {}) =>
  peer(name, { facts: facts(name, { data: held(name), ...change }) });

/** Member b on its own data. */
function onData(change: Partial<View> = {}, own: Partial<ValidData> = {}): View {
  return view("b", { data: data("b", members, own), record, ...change });
}

/** a answers with a quorum. */
const beside = (change: Partial<View> = {}, own: Partial<ValidData> = {}, cluster: Partial<EtcdAnswer> = {}) =>
  onData({
    peers: [peer("a", { status: "running" })],
    endpoints: new Map([["http://a:2379", answering(answer("a", members, cluster))]]),
    ...change,
  }, own);

function decide(seen: View): StartOutcome {
  if (seen.data.kind !== "valid") throw new Error("no data");
  const cluster = runningCluster(seen, seen.data.clusterId);
  return decideRestart(seen, seen.data, cluster !== undefined && "via" in cluster ? cluster : undefined);
}

/** Kind; level, label, or whether the others serve; code. */
function told(seen: View): string {
  const outcome = decide(seen);
  const detail = outcome.kind === "wait"
    ? outcome.level
    : outcome.kind === "quarantine"
    ? outcome.label
    : outcome.kind === "restart"
    ? outcome.othersServe ? "beside" : "alone"
    : undefined;
  return [outcome.kind, detail, outcome.reason.code].filter((each) => each !== undefined).join(" ");
}

Deno.test("decideRestart() compares the own log with the cluster's before it starts or quarantines data, for ten seconds", () => {
  const terms = { clusterId: "c1", starts: [{ term: 2, index: 4 }] };
  const known = (change: Partial<PeerFacts>) => ({
    peers: [peer("a", { status: "running", facts: facts("a", change) })],
  });
  const seen = (change: Partial<View>, listed: readonly EtcdMember[] = members) =>
    told(
      beside({ bootedAtMs: nowMs - 9_999, logTerms: { ...terms, committedIndex: 37 }, ...change }, {}, {
        members: listed,
      }),
    );
  const removed = [members[0]!, members[2]!];
  assertEquals([seen({}), seen({}, removed)], ["wait asking_peers", "wait asking_peers"]);
  assertEquals(seen(known({ logTerms: terms })), "restart beside still_listed");
  assertEquals(seen(known({ logTerms: terms }), removed), "quarantine removed removed_member");
  assertEquals(seen(known({ logTerms: { ...terms, clusterId: "c2" } })), "wait asking_peers");
  // The terms of a member that does not answer are not the cluster's.
  const other = { peers: [peer("a", { status: "running" }), peer("c", { facts: facts("c", { logTerms: terms }) })] };
  assertEquals(seen(other), "wait asking_peers");
  const both = new Map(["a", "c"].map((name) => [`http://${name}:2379`, answering(answer(name, members))] as const));
  assertEquals(
    seen({ ...other, endpoints: both }),
    "restart beside still_listed",
    "one of two answering ones has them",
  );
  assertEquals(seen({ bootedAtMs: nowMs - 10_000 }), "restart beside still_listed");
  assertEquals(seen({ logTerms: { ...terms, starts: [], committedIndex: 0 } }), "restart beside still_listed");
  assertEquals(seen({ peers: [goPeer("a", { status: "running" })] }), "restart beside still_listed");
  const { logTerms: _, ...unread } = beside({ bootedAtMs: nowMs });
  assertEquals(told(unread), "restart beside still_listed");
});

Deno.test("decideRestart() beside its running cluster goes by the cluster's list", () => {
  const [a, b, c] = members as [typeof members[0], typeof members[0], typeof members[0]];
  const logs = { clusterId: "c1", members: [{ memberId: "id-b", index: 101 }] };
  const log = { lastLog: { term: 2, index: 100 }, raftIndex: 90 };
  const moved = [a!, { ...b!, peerUrls: ["http://old:2380"], clientUrls: ["http://old:2379"] }, c!];
  const asked = new Map([
    ["http://a:2379", answering(answer("a", moved))],
    ["http://old:2379", silent(nowMs - 1_000)],
  ]);
  const raft = { kind: "unreadable", atMs: nowMs } as const;
  const learning = moved.map((each) => each.id === "id-b" ? { ...each, isLearner: true } : each);
  const asLearner = new Map([...asked, ["http://a:2379", answering(answer("a", learning, { version: "3.4.45" }))]]);
  const cases: [string, View][] = [
    ["restart beside still_listed", beside()],
    ["quarantine removed removed_member", beside({}, {}, { members: [a!, c!] })],
    ["wait error removed_ahead", beside({}, { revision: 51 }, { members: [a!, c!], revision: 50 })],
    ["wait error log_went_back", beside({ record: { ...record, logs } }, log)],
    ["updateAddress address_changed", beside({ endpoints: asked, raft })],
    ["wait info asking_member", beside({ raft }, {}, { members: moved })],
    ["wait error log_went_back", beside({ endpoints: asked, raft, record: { ...record, logs } }, log)],
    ["restart beside address_changed", beside({ endpoints: asLearner, raft })],
    // A learner at its registered address.
    [
      "restart beside still_listed",
      beside({}, {}, { members: [a!, { ...b!, isLearner: true }, c!], version: "3.4.45" }),
    ],
    // A later life beside the own cluster's quorum.
    [
      "restart beside still_listed",
      beside({
        peers: [
          peer("a", { status: "running" }),
          peer("c", { facts: facts("c", { data: held("c", { clusterId: "c2", lineage: later }) }) }),
        ],
      }),
    ],
    // What another life has in the store decides nothing beside the own cluster.
    [
      "restart beside still_listed",
      beside({
        bootedAtMs: nowMs,
        settings: settings({ snapshots: true }),
        snapshotLookup: {
          kind: "newest",
          hash: "h",
          revision: 9,
          lineage: later,
          takenAtWallMs: 0,
          verified: true,
          epochMax: 2,
        },
      }),
    ],
  ];
  for (const [expected, seen] of cases) assertEquals(told(seen), expected);
  assertEquals(decide(beside({ endpoints: asked, raft })), {
    kind: "updateAddress",
    via: ["http://a:2379"],
    memberId: "id-b",
    peerUrl: "http://b:2380",
    reason: { code: "address_changed", text: "the cluster knows this member at http://old:2380" },
  });
});

Deno.test("decideRestart() without its cluster asks the peers for proof against the data, for a time", () => {
  const { facts: _, ...mute } = peer("a");
  const { gossipJoinedAtMs: __, ...unheard } = onData();
  const running = (change: Parameters<typeof peer>[1] = {}) => peer("a", { status: "running", ...change });
  const since = (ms: number) => nowMs - ms;
  const asking = "wait asking_peers", starts = "restart alone own_data";
  const cases: [string, View][] = [
    [starts, onData()],
    [asking, { ...unheard, bootedAtMs: since(1_999) }],
    [starts, { ...unheard, bootedAtMs: since(2_000) }],
    [asking, onData({ gossipJoinedAtMs: since(299) })],
    [starts, onData({ gossipJoinedAtMs: since(300) })],
    [starts, onData({ gossipJoinedAtMs: since(300), peers: [peer("a"), goPeer("c")] })],
    [asking, onData({ gossipJoinedAtMs: since(300), peers: [mute] })],
    [asking, onData({ gossipJoinedAtMs: since(1_999), peers: [mute] })],
    [starts, onData({ gossipJoinedAtMs: since(2_000), peers: [mute] })],
    [starts, onData({ gossipJoinedAtMs: since(300), peers: [{ ...mute, state: "dead" }] })],
    // Nobody to ask.
    [starts, { ...unheard, bootedAtMs: nowMs, settings: settings({ gossip: false }) }],
    [starts, { ...unheard, bootedAtMs: nowMs, data: data("b", [member("b")]) }],
    // A peer whose etcd runs was not asked yet.
    [asking, onData({ bootedAtMs: since(3_999), peers: [running()] })],
    [starts, onData({ bootedAtMs: since(4_000), peers: [running()] })],
    [starts, onData({ bootedAtMs: since(3_999), peers: [running({ state: "suspect" })] })],
    [starts, onData({ bootedAtMs: since(3_999), peers: [peer("a", { status: "pending" })] })],
    [
      starts,
      onData({ bootedAtMs: since(3_999), peers: [running()], endpoints: new Map([["http://a:2379", silent(0)]]) }),
    ],
  ];
  for (const [index, [expected, seen]] of cases.entries()) assertEquals(told(seen), expected, `case ${index}`);
});

Deno.test("decideRestart() takes no peer's word for a removal, and names the quorum that it starts for", () => {
  const exited = (cause: string) => onData({ etcd: { kind: "exited", atMs: nowMs, code: 1, cause, count: 1 } });
  assertEquals(told(exited("member_removed")), "restart alone removal_unproven");
  assertEquals(told(exited("unknown")), "restart alone own_data");
  const text = (list: readonly ReturnType<typeof member>[]) => decide(onData({ data: data("b", list) })).reason.text;
  assertEquals(
    text(members),
    "the data-dir is valid and nothing speaks against it; 2 of 3 voters make a quorum",
  );
  assertEquals(text([member("b"), member("c", { isLearner: true })]), "the data-dir is valid");
});

Deno.test("decideRestart() yields to a later life, waits for it, or stands beside it", () => {
  const ran = answering(answer("a", [member("a")], { clusterId: "c2", lineage: later }));
  const rival = peer("a", { facts: facts("a", { data: held("a", { clusterId: "c2", lineage: later }) }) });
  const seen = (change: Partial<View>) =>
    onData({ peers: [rival, peer("c")], endpoints: new Map([["http://a:2379", ran]]), ...change });
  assertEquals(told(seen({})), "quarantine superseded newer_epoch");
  assertEquals(told(seen({ endpoints: new Map() })), "wait info newer_epoch_silent");
  assertEquals(told(seen({ peers: [rival, holder("c")] })), "wait error two_epochs");
  const stands = { peers: [rival, { ...holder("c"), status: "running" as const }] };
  assertEquals(told(seen(stands)), "restart alone own_data");
  const logs = { clusterId: "c1", members: [{ memberId: "id-b", index: 101 }] };
  const doubtful = { data: data("b", members, { lastLog: { term: 2, index: 100 }, raftIndex: 90 }) };
  assertEquals(told(seen({ ...stands, ...doubtful, record: { ...record, logs } })), "wait error log_went_back");
});

Deno.test("decideRestart() quarantines a bootstrap that its initial members left for a cluster that runs", () => {
  const other: Lineage = { id: "other", epoch: 1, token: "other" };
  const ran = answering(answer("a", [member("a")], { clusterId: "c2", lineage: other }));
  const witness = (change: Partial<PeerFacts> = {}) =>
    peer("a", {
      facts: facts("a", { data: held("a", { clusterId: "c2", lineage: other }), renounced: ["first"], ...change }),
    });
  const seen = (change: Partial<View>) =>
    onData({ peers: [witness()], endpoints: new Map([["http://a:2379", ran]]), ...change });
  assertEquals(told(seen({})), "quarantine superseded bootstrap_renounced");
  assertEquals(told(seen({ peers: [witness({ renounced: [] })] })), "restart alone own_data");
  assertEquals(told(seen({ peers: [{ ...witness(), state: "dead" }] })), "restart alone own_data");
  assertEquals(told(seen({ endpoints: new Map() })), "restart alone own_data", "the other one does not run");
  assertEquals(told(seen({ peers: [witness(), holder("c")] })), "restart alone own_data", "a quorum of disks is here");
  const elsewhere = { data: held("a", { clusterId: "c3", lineage: other }) };
  assertEquals(
    told(seen({ peers: [witness(elsewhere)] })),
    "restart alone own_data",
    "it left it for one that is away",
  );
  const empty = { data: { kind: "none" } as const };
  assertEquals(told(seen({ peers: [witness(empty)] })), "restart alone own_data");
});

Deno.test("decideRestart() waits for a peer that inspects its disk: its record may know this member's log", () => {
  const joined = (peers: readonly GossipPeer[], agoMs: number) =>
    told(onData({ peers, gossipJoinedAtMs: nowMs - agoMs, bootedAtMs: nowMs - agoMs }));
  const looks = peer("c", { facts: facts("c", { data: { kind: "unknown" } }) });
  assertEquals(joined([peer("c")], 300), "restart alone own_data");
  assertEquals(joined([looks], 300), "wait asking_peers");
  assertEquals(joined([looks], 1_999), "wait asking_peers");
  assertEquals(joined([looks], 2_000), "restart alone own_data", "it takes too long");
});

Deno.test("decideRestart() waits for other disks where the store shows more than those that are here", () => {
  const stored = (epochMax: number, revision: number, lineage = own) =>
    ({
      kind: "newest",
      hash: "h",
      revision,
      lineage,
      takenAtWallMs: 0,
      verified: true,
      epochMax,
      lives: [{ lineage, newest: { hash: "h", revision, takenAtWallMs: 0 } }],
    }) as const;
  const seen = (change: Partial<View>) =>
    onData({ settings: settings({ snapshots: true }), bootedAtMs: nowMs - 10_000, ...change });
  assertEquals(told(seen({ snapshotLookup: stored(2, 9, later) })), "wait info newer_epoch_stored");
  assertEquals(told(seen({ snapshotLookup: stored(1, 51), peers: [holder("c")] })), "wait info quorum_behind_store");
  assertEquals(told(seen({ snapshotLookup: stored(1, 50), peers: [holder("c")] })), "restart alone own_data");
});

Deno.test("decideRestart() starts nothing that a newer log does not list, nor a copy or an older image", () => {
  const lost = { lineage: own, revision: 60, members: ["id-a", "id-c"], raftIndex: 100 };
  const survivor = (change: Partial<NonNullable<PeerFacts["quorumLost"]>> = {}) =>
    holder("a", { quorumLost: { ...lost, lastLog: { term: 2, index: 200 }, ...change } });
  const log = { lastLog: { term: 2, index: 100 } };
  assertEquals(told(onData({ peers: [survivor()] }, log)), "bootstrap removed_member");
  assertEquals(told(onData({ peers: [survivor({ members: ["id-b"] })] }, log)), "restart alone own_data");
  const copy = data("b", [member("b", { peerUrls: ["http://old:2380"], clientUrls: ["http://old:2379"] })]);
  assertEquals(told(onData({ data: copy })), "wait info asking_member");
  const logs = { clusterId: "c1", members: [{ memberId: "id-b", index: 101 }] };
  assertEquals(
    told(onData({ record: { ...record, logs } }, { ...log, raftIndex: 90 })),
    "wait error log_went_back",
  );
});

Deno.test("decideRestart() keeps its data for the recovery that it pledged to, unless a quorum of disks is here", () => {
  const pledge: Pledge = {
    initialMembers: [{ name: "b", peerUrl: "http://elsewhere:2380", nonce: "n" }],
    source: { kind: "survivor", name: "c", revision: 50 },
    lineage: later,
    digest: "0123456789abcdef",
    token: "second",
    replaces: "c1",
  };
  const pledged = (change: Partial<View>, of: Partial<Pledge> = {}) =>
    told(onData({ record: { ...record, pledges: [{ ...pledge, ...of }] }, ...change }));
  assertEquals(pledged({}), "wait recovery_pending");
  assertEquals(pledged({}, { token: "first" }), "restart alone own_data");
  assertEquals(pledged({}, { replaces: "c2" }), "restart alone own_data", "it was not there when the node pledged");
  assertEquals(pledged({ peers: [holder("c")] }), "restart alone own_data");
  const begun = peer("a", {
    facts: facts("a", { data: held("a", { clusterId: "", lineage: { id: "x", epoch: 1, token: "second" } }) }),
  });
  assertEquals(pledged({ peers: [holder("c"), begun] }), "wait recovery_pending");
  // The last of several counts.
  const both = [pledge, { ...pledge, token: "first" }];
  assertEquals(told(onData({ record: { ...record, pledges: both } })), "restart alone own_data");
});

Deno.test("decideRestart() waits for a peer that recovers this lineage, and for none that recovers another one", () => {
  const promise = { digest: "d", token: "second", initialMembers: [] };
  const recovering = (lineage: Lineage, change: Partial<PeerFacts> = {}) =>
    holder("a", {
      data: held("a", { clusterId: "c9" }),
      quorumLost: { lineage, revision: 1, members: [], raftIndex: 1, lastLog: { term: 1, index: 1 } },
      pledges: [promise],
      ...change,
    });
  const seen = (lineage: Lineage, change: Partial<PeerFacts> = {}) =>
    told(onData({ peers: [recovering(lineage, change)] }));
  assertEquals(seen(own), "wait recovery_runs");
  assertEquals(seen(own, { pledges: [] }), "restart alone own_data");
  assertEquals(seen({ ...own, id: "other" }), "restart alone own_data");
  assertEquals(seen({ ...own, epoch: 0 }), "restart alone own_data", "the life before this one");
});

Deno.test("decideRestart() restarts a quorum of disks whatever the store holds, and whatever other clusters run", () => {
  const snapshotLookup = {
    kind: "newest",
    hash: "h",
    revision: 1_000_000_000,
    lineage: later,
    takenAtWallMs: 0,
    verified: true,
    epochMax: 2,
  } as const;
  assertEquals(told(onData({ peers: [holder("c")], snapshotLookup })), "restart alone own_data");
  const foreign = answering(answer("x", [member("x")], { clusterId: "cX", leaderId: "id-x" }));
  const beside = { peers: [holder("c"), peer("x", { status: "running" })] };
  assertEquals(
    told(onData({ ...beside, endpoints: new Map([["http://x:2379", foreign]]) })),
    "restart alone own_data",
  );
});
