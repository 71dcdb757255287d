import { agreed, type BootstrapProgress, decideBootstrap } from "../../../../lib/core/rules/bootstrap/commit.ts";
import { bootstrapPlanOf, pledgeOf, proposeBootstrap } from "../../../../lib/core/rules/bootstrap/proposal.ts";
import { planOf } from "../../../../lib/core/evidence/order.ts";
import type { View } from "../../../../lib/core/facts/view.ts";
import type { BootstrapPlan, Lineage, Pledge } from "../../../../lib/core/facts/node_record.ts";
import type { GossipPeer, PeerFacts } from "../../../../lib/core/facts/peer.ts";
import type { Settings } from "../../../../lib/core/facts/settings.ts";
import type { SnapshotLookup } from "../../../../lib/core/facts/snapshot_lookup.ts";
import { assert, assertEquals } from "../../../support/assert.ts";
import { data, facts, found, goPeer, member, nowMs, peer, settings, view } from "../../facts.ts";

const wallMs = 1_700_000_000_000;
const line: Lineage = { id: "line", epoch: 1, token: "t" };

const snapshotOf = (ageMs: number): SnapshotLookup => ({
  kind: "newest",
  hash: "0123456789abcdef",
  revision: 9,
  lineage: line,
  takenAtWallMs: wallMs - ageMs,
  verified: true,
  epochMax: 1,
});

/** a, with b and c, which propose the same as a does; `each` changes what they publish. */
function gathered(change: Partial<View> = {}, each: (name: string) => Partial<PeerFacts> = () => ({})) {
  const { snapshotLookup } = change;
  const published = snapshotLookup === undefined ? {} : { snapshotLookup: found(snapshotLookup) };
  const peersOf = (proposal: string | undefined) =>
    ["b", "c"].map((name) =>
      peer(name, {
        facts: facts(name, { ...published, ...(proposal === undefined ? {} : { proposal }), ...each(name) }),
      })
    );
  const proposal = proposeBootstrap(view("a", { peers: peersOf(undefined), ...change }));
  if (proposal.kind === "wait") throw new Error(proposal.reason.code);
  const { plan } = proposal;
  return { plan, seen: view("a", { peers: peersOf(plan.digest), ...change }) };
}

const settled = (plan: BootstrapPlan, change: Partial<BootstrapProgress> = {}): BootstrapProgress => ({
  plan,
  agreedSinceMs: nowMs - 300,
  ...change,
});

function told(step: ReturnType<typeof decideBootstrap>): string {
  return "reason" in step ? `${step.kind} ${step.reason.code}` : step.kind;
}

Deno.test("decideBootstrap() carries a pledge out over the data that it was given with, not over data that came back", () => {
  const { plan } = gathered();
  const pledge = pledgeOf(plan, undefined, "c1");
  const started = peer("b", {
    facts: facts("b", {
      data: { kind: "held", clusterId: "c2", memberId: "", lineage: pledge.lineage, revision: 0 },
    }),
  });
  const step = (of: Pledge, change: Partial<View> = {}) =>
    decideBootstrap(view("a", { record: { nonce: "nonce-a", pledges: [of] }, peers: [started], ...change }), {}).kind;
  const onDisk = { data: data("a", [member("a")]) };
  assertEquals(step(pledge, onDisk), "commit");
  assertEquals(step(pledge), "commit", "it is quarantined already");
  assertEquals(step(pledgeOf(plan, undefined), onDisk), "wait", "it was not mounted");
  assertEquals(step(pledgeOf(plan, undefined, "c9"), onDisk), "wait", "another one was");
  const made = { lineage: pledge.lineage, how: "restored", clusterId: "c1", renounced: [] } as const;
  const record = { nonce: "nonce-a", pledges: [pledgeOf(plan, undefined)], started: made };
  assertEquals(step(pledge, { ...onDisk, record }), "commit", "the commit made it");
});

const withPeer = (seen: View, name: string, change: (of: GossipPeer) => GossipPeer): View => ({
  ...seen,
  peers: seen.peers.map((each) => each.name === name ? change(each) : each),
});

Deno.test("decideBootstrap() pledges once all initial members have proposed the same for 300 ms", () => {
  const { plan, seen } = gathered();
  const decide = (progress: BootstrapProgress, of = seen) => decideBootstrap(of, progress);
  assertEquals(decide(settled(plan)), { kind: "pledge", plan, pledge: pledgeOf(plan, undefined) });
  const text = (progress: BootstrapProgress, of = seen) => {
    const step = decide(progress, of);
    return step.kind === "wait" ? `${step.reason.code}: ${step.reason.text}` : step.kind;
  };
  const lasting = "views_settle: all initial members see the same nodes; waiting for their views to settle";
  assertEquals(text({}), lasting);
  assertEquals(text({ plan }), lasting);
  assertEquals(text({ agreedSinceMs: 0 }), lasting);
  assertEquals(text(settled(plan, { agreedSinceMs: nowMs - 299 })), lasting);
  assertEquals(text(settled({ ...plan, digest: "another" })), lasting);
  const waits = 'views_settle: waiting for "c" to see the same 3 nodes';
  const changes: ((of: GossipPeer) => GossipPeer)[] = [
    (of) => ({ ...of, facts: { ...of.facts!, proposal: "another" } }),
  ];
  for (const change of changes) assertEquals(text(settled(plan), withPeer(seen, "c", change)), waits);
  assert(agreed(plan, seen));
  const unlike: ((of: GossipPeer) => GossipPeer)[] = [
    ...changes,
    (of) => ({ ...of, state: "suspect" }),
    (of) => ({ ...of, name: "d" }),
    (of) => ({ ...of, peerUrl: "http://elsewhere:2380" }),
    (of) => ({ ...of, facts: { ...of.facts!, nonce: "another disk" } }),
    ({ facts: _, ...of }) => of,
  ];
  for (const change of unlike) assert(!agreed(plan, withPeer(seen, "c", change)), change.toString());
  // One alone has nobody to wait for.
  const alone = view("a", { settings: settings({ requiredSize: 1 }) });
  const proposal = proposeBootstrap(alone);
  assert(proposal.kind === "propose");
  assertEquals(decide({ plan: proposal.plan, agreedSinceMs: nowMs }, alone).kind, "pledge");
  assertEquals(decide({ plan: proposal.plan }, alone).kind, "wait");
});

Deno.test("decideBootstrap() starts when every initial member has pledged the same, or when one of them has started", () => {
  const { plan } = gathered();
  const pledge = pledgeOf(plan, undefined);
  const promised = (of: Pick<Pledge, "digest" | "token" | "initialMembers" | "verified">) => () => ({ pledges: [of] });
  const record = { nonce: "nonce-a", pledges: [pledge] };
  const step = (each: (name: string) => Partial<PeerFacts>, change: Partial<View> = {}) => {
    const { seen } = gathered({ record, ...change }, each);
    const decided = decideBootstrap(seen, settled(plan));
    return "reason" in decided ? `${decided.kind} ${decided.reason.code}: ${decided.reason.text}` : decided.kind;
  };
  assertEquals(step(promised(pledge)), "commit all_pledged: every initial member has pledged");
  assertEquals(
    step((name) => ({ pledges: name === "b" ? [pledge] : [] })),
    'wait pledged: pledged; waiting for the pledge of "c"',
  );
  assertEquals(
    step(promised({ ...pledge, verified: "hash" })),
    'wait pledged: pledged; waiting for the pledge of "b", "c"',
  );
  assertEquals(
    step(() => ({ pledges: [{ ...pledge, digest: "later" }] })),
    'wait pledged: pledged; waiting for the pledge of "b", "c"',
  );
  // What was verified last counts.
  const { seen } = gathered({ record: { ...record, pledges: [{ ...pledge, verified: "hash" }] } });
  assertEquals(decideBootstrap(seen, settled(plan)).kind, "pledge");
  // The last of several pledges counts, here and at the others.
  const former = { ...pledge, digest: "former", token: "former" };
  const again = gathered({ record: { ...record, pledges: [former, pledge] } }, () => ({ pledges: [former, pledge] }));
  assertEquals(told(decideBootstrap(again.seen, settled(again.plan))), "commit all_pledged");
  // One that has moved is none of those who pledged.
  const elsewhere = pledge.initialMembers.map((each) =>
    each.name === "a" ? { ...each, peerUrl: "http://old:2380" } : each
  );
  const moved = gathered(
    { record: { ...record, pledges: [{ ...pledge, initialMembers: elsewhere }] } },
    promised(pledge),
  );
  assertEquals(told(decideBootstrap(moved.seen, settled(moved.plan))), "wait pledged");
  const data = { kind: "held", clusterId: "", memberId: "", lineage: pledge.lineage, revision: 0 } as const;
  const started = (state: GossipPeer["state"], of: Partial<PeerFacts> = { data }) =>
    decideBootstrap(view("a", { record, peers: [peer("b", { state, facts: facts("b", of) })] }), {});
  assertEquals(started("alive"), {
    kind: "commit",
    pledge,
    reason: { code: "initial_member_started", text: '"b" has started' },
  });
  assertEquals(started("suspect").kind, "commit");
  assertEquals(started("dead").kind, "wait");
  // Another one pledged at this node's address.
  const others = pledge.initialMembers.map((each) => each.name === "a" ? { ...each, name: "z" } : each);
  const replaced = { nonce: "nonce-a", pledges: [{ ...pledge, initialMembers: others }] };
  const begun = view("a", { record: replaced, peers: [peer("b", { facts: facts("b", { data }) })] });
  assertEquals(told(decideBootstrap(begun, {})), "wait peer_holds_data");
  assertEquals(started("alive", { data: { ...data, lineage: line } }).kind, "wait");
  assertEquals(
    told(decideBootstrap(view("a", { record, settings: settings({ hold: { sinceWallMs: 0 } }) }), {})),
    "wait held",
  );
});

Deno.test("--restore-max-age: an older snapshot waits for an approval, one of that age does not", () => {
  const hourMs = 3_600_000;
  const decide = (ageMs: number, change: Partial<Settings> = { restoreMaxAgeMs: hourMs }) => {
    const { plan, seen } = gathered({
      settings: settings({ snapshots: true, ...change }),
      snapshotLookup: snapshotOf(ageMs),
    });
    return { step: decideBootstrap(seen, settled(plan)), plan };
  };
  assertEquals(decide(hourMs).step.kind, "prepare");
  const old = decide(hourMs + 1);
  const name = planOf(old.plan.digest);
  assertEquals(old.step, {
    kind: "wait",
    plan: old.plan,
    reason: {
      code: "snapshot_too_old",
      text: `restore plan ${name}: snapshot of 2023-11-14T21:13:19Z at revision 9, waiting for approval`,
      hint: `run "e2d restore approve ${name}"`,
    },
  });
  assertEquals(decide(hourMs + 1, { restoreMaxAgeMs: hourMs, approved: [name] }).step.kind, "prepare");
  assertEquals(decide(100 * hourMs, {}).step.kind, "prepare", "any age without the flag");
  // An empty cluster has no age.
  const empty = gathered({ settings: settings({ restoreMaxAgeMs: 1 }) });
  assertEquals(decideBootstrap(empty.seen, settled(empty.plan)).kind, "pledge");
});

Deno.test("--restore=ask waits for an approval whatever the age, also of a survivor's data", () => {
  const asked = gathered({
    settings: settings({ snapshots: true, restore: "ask" }),
    snapshotLookup: snapshotOf(3_600_000),
  });
  const step = decideBootstrap(asked.seen, settled(asked.plan));
  assertEquals(told(step), "wait restore_asks");
  const both = gathered({
    settings: settings({ snapshots: true, restore: "ask", restoreMaxAgeMs: 1 }),
    snapshotLookup: snapshotOf(3_600_000),
  });
  assertEquals(told(decideBootstrap(both.seen, settled(both.plan))), "wait snapshot_too_old");
  const surviving = (restore: Settings["restore"]) => {
    const { plan, seen } = survivors({ settings: settings({ restore, restoreMaxAgeMs: 1 }) });
    const decided = decideBootstrap(seen, settled(plan));
    return decided.kind === "wait" ? `${decided.reason.code}: ${decided.reason.text}` : decided.kind;
  };
  assertEquals(surviving("auto"), "export");
  const name = planOf(survivors().plan.digest);
  const text = `restore plan ${name}: survivor "a" at revision 50, waiting for approval`;
  assertEquals(surviving("ask"), `restore_asks: ${text}`);
  assertEquals(surviving("never"), `restore_never: ${text}`);
});

Deno.test("decideBootstrap() restores a snapshot that every initial member has verified", () => {
  const change = { settings: settings({ snapshots: true }), snapshotLookup: snapshotOf(3_600_000) };
  const step = (progress: Partial<BootstrapProgress>, each: (name: string) => Partial<PeerFacts> = () => ({})) => {
    const { plan, seen } = gathered(change, each);
    return decideBootstrap(seen, settled(plan, progress));
  };
  const { plan } = gathered(change);
  assertEquals(step({}), { kind: "prepare", plan });
  const hash = "feedbeef00112233";
  const waits = step({ verified: hash }, (name) => name === "b" ? { verified: hash } : { verified: "other" });
  assert(waits.kind === "wait");
  assertEquals([waits.reason.code, waits.reason.text], ["verifying", 'waiting for "c" to verify feedbeef0011']);
  assertEquals(step({ verified: hash }, () => ({ verified: hash })), {
    kind: "pledge",
    plan,
    pledge: pledgeOf(plan, hash),
  });
});

/** The data of a is all that is left of a, b and c. */
function survivors(change: Partial<View> = {}, each: (name: string) => Partial<PeerFacts> = () => ({})) {
  const members = ["a", "b", "c"].map((name) => member(name));
  return gathered({
    data: data("a", members, { lastLog: { term: 2, index: 100 } }),
    record: {
      nonce: "nonce-a",
      pledges: [],
      started: { lineage: line, how: "founded", clusterId: "c1", renounced: [] },
    },
    leaderlessSinceMs: 0,
    ...change,
  }, each);
}

Deno.test("decideBootstrap() exports a survivor's data once, and its initial members fetch and verify that", () => {
  const { plan, seen } = survivors();
  assertEquals(plan.source, { kind: "survivor", name: "a", revision: 50 });
  assertEquals(decideBootstrap(seen, settled(plan)), { kind: "export", plan });
  const offer = { hash: "feedbeef00112233", revision: 50, url: "http://a/export" };
  assertEquals(decideBootstrap(seen, settled(plan, { offer })), {
    kind: "prepare",
    plan,
    from: "http://a/export",
  });
  assertEquals(told(decideBootstrap(seen, settled(plan, { offer, verified: "other" }))), "prepare");
  assertEquals(told(decideBootstrap(seen, settled(plan, { offer, verified: offer.hash }))), "wait verifying");
  const verified = survivors({}, () => ({ verified: offer.hash }));
  assertEquals(decideBootstrap(verified.seen, settled(plan, { offer, verified: offer.hash })).kind, "pledge");
  // As b sees it.
  const quorumLost = {
    lineage: line,
    revision: 50,
    members: ["id-a", "id-b", "id-c"],
    raftIndex: 100,
    lastLog: { term: 2, index: 100 },
  };
  const held = { kind: "held", clusterId: "c1", memberId: "id-a", lineage: line, revision: 50 } as const;
  const atB = (of: Partial<PeerFacts>, state: GossipPeer["state"] = "alive") => {
    const peers = [
      peer("a", { state, facts: facts("a", { data: held, quorumLost, proposal: plan.digest, ...of }) }),
      peer("c", { facts: facts("c", { proposal: plan.digest }) }),
    ];
    const own = view("b", { peers });
    const proposal = proposeBootstrap(own);
    assert(proposal.kind === "wait" || proposal.plan.digest === plan.digest, "every node computes the same");
    return decideBootstrap(own, settled(plan));
  };
  const waits = atB({});
  assert(waits.kind === "wait");
  assertEquals([waits.reason.code, waits.reason.text], ["export_runs", 'waiting for "a" to export its data']);
  // Neither what another one offers nor what a survivor that gossip doubts offers is fetched.
  const fourth = (a: GossipPeer["state"], offerOfC: PeerFacts["offer"]) => {
    const peers = [
      peer("c", { facts: facts("c", offerOfC === undefined ? {} : { offer: offerOfC }) }),
      peer("d"),
      peer("a", {
        state: a,
        facts: facts("a", { data: held, quorumLost, ...offerOfC === undefined ? { offer } : {} }),
      }),
    ];
    const proposal = proposeBootstrap(view("b", { peers }));
    assert(proposal.kind === "propose");
    const agreeing = peers.map((each) => ({ ...each, facts: { ...each.facts!, proposal: proposal.plan.digest } }));
    return told(decideBootstrap(view("b", { peers: agreeing }), settled(proposal.plan)));
  };
  assertEquals(fourth("alive", undefined), "prepare");
  assertEquals(fourth("alive", offer), "wait export_runs");
  assertEquals(fourth("suspect", undefined), "wait export_runs");
  const fetches = atB({ offer });
  assertEquals(fetches.kind === "prepare" && fetches.from, "http://a/export");
});

Deno.test("decideBootstrap() asks an operator where the sources contradict each other", () => {
  const other: Lineage = { id: "line", epoch: 2, token: "other" };
  const stored = snapshotOf(3_600_000) as Extract<SnapshotLookup, { kind: "newest" }>;
  const { hash, revision, takenAtWallMs } = stored;
  const snapshotLookup: SnapshotLookup = {
    ...stored,
    fork: true,
    lives: [
      { lineage: line, newest: { hash, revision, takenAtWallMs } },
      { lineage: other, newest: { hash: "other", revision, takenAtWallMs } },
    ],
  };
  const { plan, seen } = gathered({ settings: settings({ snapshots: true }), snapshotLookup });
  const step = decideBootstrap(seen, settled(plan));
  assertEquals(told(step), "wait stored_fork");
  assertEquals(step.kind === "wait" && step.plan, plan);
});

Deno.test("decideBootstrap() beside legacy peers bootstraps as they do, or waits with the reason", () => {
  const pending = { status: "pending" } as const;
  const go = ["B", "A"].map((name) => goPeer(name, pending));
  const step = (change: Partial<View>) => {
    const decided = decideBootstrap(view("T", { peers: go, ...change }), {});
    return "reason" in decided ? `${decided.kind} ${decided.reason.code}: ${decided.reason.text}` : decided.kind;
  };
  const commits = decideBootstrap(view("T", { peers: go }), {});
  assertEquals(commits, {
    kind: "commitWithLegacyPeers",
    members: ["A", "B", "T"].map((name) => ({ name, peerUrl: `http://${name}:2380` })),
    reason: { code: "legacy_bootstrap", text: "3 of 3 nodes are ready to bootstrap as the Go e2d does" },
  });
  const one = [goPeer("B", pending), goPeer("A")];
  assertEquals(
    step({ peers: one }),
    "pending legacy_bootstrap: 2 of 3 nodes are ready to bootstrap as the Go e2d does",
  );
  const { facts: _, ...mute } = peer("N");
  const unclear = 'wait peer_holds_data: "N" holds data, or has not reported yet whether it does';
  assertEquals(step({ peers: [...go, mute] }), unclear);
  assertEquals(step({ peers: [...go, peer("N", { facts: facts("N", { data: { kind: "unknown" } }) })] }), unclear);
  assertEquals(
    step({ peers: [goPeer("B", pending), peer("N", pending)] }).split(":")[0],
    "commitWithLegacyPeers legacy_bootstrap",
  );
  assertEquals(step({ peers: [goPeer("B", pending)] }).split(":")[0], "wait too_few_peers");
  assertEquals(
    step({ peers: [...go, peer("N")] }),
    "wait mixed_too_many: 4 nodes are present for -n 3, and nodes of the Go e2d are among them",
  );
  const many = decideBootstrap(view("T", { peers: [...go, peer("N")] }), {});
  assertEquals(many.kind === "wait" && many.reason.hint, "stop 1 of them until the cluster runs");
  const few = decideBootstrap(view("T", { peers: [goPeer("B", pending)] }), {});
  assertEquals(few.kind === "wait" && Object.keys(few.reason), ["code", "text"]);
  const on = settings({ snapshots: true });
  assertEquals(step({ settings: on, snapshotLookup: { kind: "unknown" } }).split(":")[0], "wait snapshot_unknown");
  assertEquals(step({ settings: on, snapshotLookup: snapshotOf(1) }).split(":")[0], "wait mixed_restore");
  assertEquals(
    step({ settings: on, snapshotLookup: { kind: "absent" } }),
    "commitWithLegacyPeers legacy_bootstrap: 3 of 3 nodes are ready to bootstrap as the Go e2d does",
  );
  const seen = { clusterId: "c1", voters: [] };
  assertEquals(step({ record: { nonce: "n", pledges: [], seen } }).split(":")[0], "wait cluster_seen");
  // One that gossip holds for dead is none of them.
  assertEquals(
    step({ peers: [peer("b"), peer("c"), goPeer("A", { state: "dead" })] }).split(":")[0],
    "wait views_settle",
  );
});

Deno.test("decideBootstrap() commits to a pledge only after every initial member published the same pledge", () => {
  const initialMembers = ["a", "b", "c"].map((name) => ({
    name,
    peerUrl: `http://${name}:2380`,
    nonce: `nonce-${name}`,
  }));
  const pledge = pledgeOf(bootstrapPlanOf(initialMembers, { kind: "empty" }, undefined), undefined);
  const record = { nonce: "nonce-a", pledges: [pledge] };
  const b = peer("b", { facts: facts("b", { pledges: [pledge] }) });
  assertEquals(decideBootstrap(view("a", { record, peers: [b, peer("c")] }), {}).kind, "wait");
  const c = peer("c", { facts: facts("c", { pledges: [pledge] }) });
  assertEquals(decideBootstrap(view("a", { record, peers: [b, c] }), {}).kind, "commit");
  const renewed = peer("c", { facts: facts("c", { pledges: [pledge], nonce: "another" }) });
  assertEquals(decideBootstrap(view("a", { record, peers: [b, renewed] }), {}).kind, "wait");
});

Deno.test("decideBootstrap() follows an initial member that has started", () => {
  const initialMembers = ["a", "b", "c"].map((name) => ({
    name,
    peerUrl: `http://${name}:2380`,
    nonce: `nonce-${name}`,
  }));
  const pledge = pledgeOf(bootstrapPlanOf(initialMembers, { kind: "empty" }, undefined), undefined);
  const held = { kind: "held", clusterId: "", memberId: "", lineage: pledge.lineage, revision: 0 } as const;
  const peers = [peer("b", { facts: facts("b", { data: held }) })];
  assertEquals(
    decideBootstrap(view("a", { record: { nonce: "nonce-a", pledges: [pledge] }, peers }), {}).kind,
    "commit",
  );
});

Deno.test("decideBootstrap() bootstraps with legacy peers by their sorted list once all N are Pending", () => {
  const pending = { status: "pending" } as const;
  const two = view("T", { peers: [goPeer("B", pending), goPeer("A", { status: "unknown" })] });
  assertEquals(decideBootstrap(two, {}).kind, "pending");
  const three = decideBootstrap(view("T", { peers: [goPeer("B", pending), goPeer("A", pending)] }), {});
  assertEquals(three.kind === "commitWithLegacyPeers" ? three.members.map((each) => each.name) : three.kind, [
    "A",
    "B",
    "T",
  ]);
});
