import fc from "fast-check";
import { bootstrapPlanOf, pledgeOf, proposeBootstrap } from "../../../../lib/core/rules/bootstrap/proposal.ts";
import { quorumOf } from "../../../../lib/core/facts/cluster.ts";
import type { View } from "../../../../lib/core/facts/view.ts";
import type { BootstrapMember, Lineage, NodeRecord } from "../../../../lib/core/facts/node_record.ts";
import type { GossipPeer, PeerFacts } from "../../../../lib/core/facts/peer.ts";
import type { Settings } from "../../../../lib/core/facts/settings.ts";
import type { SnapshotLookup } from "../../../../lib/core/facts/snapshot_lookup.ts";
import { assert, assertEquals } from "../../../support/assert.ts";
import { data, facts, found, goPeer, member, nowMs, peer, settings, view } from "../../facts.ts";

const wallMs = 1_700_000_000_000;
const line: Lineage = { id: "line", epoch: 1, token: "t" };
const named = (name: string, change: Partial<BootstrapMember> = {}): BootstrapMember => ({
  name,
  peerUrl: `http://${name}:2380`,
  nonce: `nonce-${name}`,
  ...change,
});

type Newest = Extract<SnapshotLookup, { kind: "newest" }>;
const snapshotOf = (ageMs: number): Newest => ({
  kind: "newest",
  hash: "h",
  revision: 9,
  lineage: line,
  takenAtWallMs: wallMs - ageMs,
  verified: true,
  epochMax: 1,
});

/** a, with b and c; each peer has found in the store what a has. */
function gathered(change: Partial<View> = {}, more: readonly GossipPeer[] = []): View {
  const { snapshotLookup } = change;
  const published = snapshotLookup === undefined || snapshotLookup.kind === "unknown"
    ? {}
    : { snapshotLookup: found(snapshotLookup) };
  const peers = [...more, peer("c"), peer("b")].map((each) =>
    each.facts === undefined ? each : { ...each, facts: { ...each.facts, ...published } }
  );
  return view("a", { peers, ...change });
}

function told(seen: View): string {
  const proposal = proposeBootstrap(seen);
  if (proposal.kind === "wait") return `wait ${proposal.reason.code}${proposal.isStandby ? " standby" : ""}`;
  const names = proposal.plan.initialMembers.map(({ name }) => name).join(" ");
  return `${proposal.kind} ${names}${proposal.ask === undefined ? "" : ` ask ${proposal.ask.code}`}`;
}

/** Code, text and choice of a wait. */
function reason(seen: View): string {
  const proposal = proposeBootstrap(seen);
  if (proposal.kind !== "wait") return proposal.kind;
  const { code, text, choices = [] } = proposal.reason;
  return [`${code}: ${text}`, ...choices.map(({ label }) => label)].join(" | ");
}

Deno.test("proposeBootstrap() proposes those who are here, sorted by name, and counts no suspect and no node of the original", () => {
  assertEquals(proposeBootstrap(gathered()), {
    kind: "propose",
    plan: bootstrapPlanOf([named("c"), named("a"), named("b")], { kind: "empty" }, undefined),
  });
  assertEquals(told(gathered({}, [goPeer("d")])), "propose a b c");
  const alone = proposeBootstrap(view("a"));
  assertEquals(alone, { kind: "wait", reason: { code: "too_few_peers", text: "1 of 3 nodes have gathered" } });
  assertEquals(told(view("a", { peers: [peer("b"), peer("c", { state: "suspect" })] })), "wait too_few_peers");
  assertEquals(told(view("a", { peers: [peer("b"), goPeer("c")] })), "wait too_few_peers");
  const twice = (change: Partial<GossipPeer>) => reason(view("a", { peers: [peer("c", change), peer("b")] }));
  const text = 'same_address_twice: two nodes have the name "b" or the peer URL "http://b:2380"';
  assertEquals(twice({ peerUrl: "http://b:2380" }), text);
  assertEquals(twice({ name: "b", peerUrl: "http://c:2380" }).split(":")[0], "same_address_twice");
});

Deno.test("proposeBootstrap() lets data start first, and names what keeps it from proposing", () => {
  const held = { kind: "held", clusterId: "c1", memberId: "id-d", lineage: line, revision: 1 } as const;
  const holder = peer("d", { facts: facts("d", { data: held }) });
  assertEquals(told(gathered({}, [holder])), "wait peer_holds_data");
  assertEquals(told(gathered({}, [{ ...holder, state: "dead" }])), "propose a b c");
  const silent = (count: number) => gathered({ settings: settings({ seeds: ["x:1", "y:1"].slice(0, count) }) });
  assertEquals(told(silent(2)), "wait too_many_silent");
  assertEquals(told(silent(1)), "propose a b c");
});

Deno.test("a node with data of an earlier life is no initial member of the recovery that does not wait for it", () => {
  const next = { ...line, epoch: 2, token: "next" };
  const held = { kind: "held", clusterId: "c1", memberId: "id", lineage: line, revision: 1 } as const;
  const lost = { lineage: next, revision: 1, members: ["id-d"], raftIndex: 9, lastLog: { term: 2, index: 9 } };
  const survivor = peer("d", {
    facts: facts("d", { data: { ...held, clusterId: "c2", memberId: "id-d", lineage: next }, quorumLost: lost }),
  });
  const earlier = peer("a", { facts: facts("a", { data: held }) });
  assertEquals(told(view("c", { peers: [earlier, peer("b"), survivor] })), "propose b c d");
  assertEquals(told(view("c", { peers: [earlier, survivor] })), "wait too_few_peers");
});

Deno.test("a node that is left over waits as a standby node, and reports a bootstrap list that names other nodes", () => {
  const seen = view("d", { peers: ["c", "b", "a"].map((name) => peer(name)) });
  assertEquals(told(seen), "wait standby standby");
  assertEquals(reason(seen), 'standby: "a", "b", "c" bootstrap the cluster; this node is a standby node');
  const listed = view("d", {
    peers: ["a", "b", "c", "e", "f"].map((name) => peer(name)),
    settings: settings({ seeds: ["d:7980", "e:7980", "f:7980"] }),
  });
  assertEquals(told(listed), "wait standby_unlisted standby");
});

Deno.test("proposeBootstrap() proposes one of several sources once an operator has approved its plan", () => {
  const other: Lineage = { id: "line", epoch: 2, token: "other" };
  const stored = snapshotOf(3_600_000);
  const { hash, revision, takenAtWallMs } = stored;
  const snapshotLookup: Newest = {
    ...stored,
    fork: true,
    lives: [line, other].map((lineage, at) => ({
      lineage,
      newest: { hash: at === 0 ? hash : "other", revision, takenAtWallMs },
    })),
  };
  const seen = (approved: readonly string[]) =>
    proposeBootstrap(gathered({ settings: settings({ snapshots: true, approved }), snapshotLookup }));
  const asks = seen([]);
  assert(asks.kind === "propose" && asks.ask !== undefined);
  assertEquals(asks.ask.choices!.map(({ label }) => label), [
    "the snapshot of 2023-11-14T21:13:20Z at revision 9 (epoch 1, life t)",
    "the snapshot of 2023-11-14T21:13:20Z at revision 9 (epoch 2, life other)",
  ]);
  const chosen = seen([asks.ask.choices![1]!.plan]);
  assert(chosen.kind === "propose" && chosen.ask === undefined);
  assertEquals(chosen.plan.source, { kind: "snapshot", hash: "other", revision: 9 });
});

Deno.test("disks that may hold data get the quorum-loss time-out before anything takes their place", () => {
  const wait = (change: Partial<View>, set: Partial<Settings> = {}, more: readonly GossipPeer[] = []) =>
    reason(
      gathered({ bootedAtMs: nowMs, settings: settings({ seeds: ["a:7980", "b:7980"], ...set }), ...change }, more),
    );
  const dead = (of: PeerFacts["data"]) => [peer("d", { state: "dead", facts: facts("d", { data: of }) })];
  const empty = "may hold data and must answer before an empty cluster is bootstrapped, or until";
  const goOn = " | continue without them: an empty cluster is bootstrapped";
  assertEquals(wait({}), "propose");
  assertEquals(wait({}, { seeds: ["d:7980"] }), `disks_awaited: "d:7980" ${empty} 10 min have passed${goOn}`);
  assertEquals(
    wait({}, { seeds: ["d:7980"], quorumLossTimeoutMs: "never" }),
    `disks_awaited: "d:7980" ${empty} an operator approves${goOn}`,
  );
  assertEquals(wait({ bootedAtMs: nowMs - 600_000 }, { seeds: ["d:7980"] }), "propose");
  // What a silent peer published last holds.
  assertEquals(wait({}, { seeds: ["d:7980"] }, dead({ kind: "none" })), "propose");
  assertEquals(wait({}, {}, dead({ kind: "unknown" })), `disks_awaited: "d:7980" ${empty} 10 min have passed${goOn}`);
  assertEquals(
    wait({}, {}, dead({ kind: "none", lost: line })),
    `disks_awaited: "d:7980", "the data of d" ${empty} 10 min have passed${goOn}`,
  );
  const { facts: _, ...mute } = peer("d", { state: "dead" });
  assertEquals(wait({}, {}, [mute]), `disks_awaited: "d:7980" ${empty} 10 min have passed${goOn}`);
  // Data that a record names and that is not mounted, here and at a peer.
  const lost = { lineage: line, how: "founded", clusterId: "c1", renounced: [] } as const;
  const record: NodeRecord = { nonce: "nonce-a", pledges: [], lost };
  const unmounted = [peer("d", { facts: facts("d", { data: { kind: "none", lost: line } }) })];
  assertEquals(wait({ record }), `disks_awaited: "the data of a" ${empty} 10 min have passed${goOn}`);
  assertEquals(wait({}, {}, unmounted), `disks_awaited: "the data of d" ${empty} 10 min have passed${goOn}`);
  // An operator began anew by name: an address that does not answer is waited for all the same.
  assertEquals(wait({ record }, { newCluster: "blue" }, unmounted), "propose");
  assertEquals(
    wait({ record }, { newCluster: "blue", seeds: ["d:7980"] }),
    `disks_awaited: "d:7980" ${empty} 10 min have passed${goOn}`,
  );
  const named: Newest = { ...snapshotOf(3_600_000), lineage: { ...line, name: "blue" } };
  const restored =
    'disks_awaited: "the data of a" may hold data and must answer before a snapshot is restored, or until ' +
    "10 min have passed | continue without them: a snapshot is restored";
  assertEquals(wait({ record, snapshotLookup: named }, { newCluster: "blue", snapshots: true }), restored);
});

Deno.test("where an operator must approve a restore anyway, no disk is waited for besides", () => {
  const seeds = ["d:7980"];
  const restore = (set: Partial<Settings>, snapshotLookup: SnapshotLookup) =>
    told(gathered({ bootedAtMs: nowMs, settings: settings({ seeds, snapshots: true, ...set }), snapshotLookup }));
  assertEquals(restore({}, snapshotOf(3_600_000)), "wait disks_awaited");
  assertEquals(restore({ restore: "ask" }, snapshotOf(3_600_000)), "propose a b c");
  assertEquals(restore({ restore: "ask" }, { kind: "absent" }), "wait disks_awaited");
});

Deno.test("a snapshot that is younger than three intervals is watched for two: its writer may live", () => {
  const watch = (ageMs: number, change: Partial<View> = {}) =>
    reason(gathered({ settings: settings({ snapshots: true }), snapshotLookup: snapshotOf(ageMs), ...change }));
  const alive =
    "snapshot_writer_alive: the newest snapshot is very recent, so its cluster may run elsewhere; waiting " +
    "for 2 min without a newer one | restore it now";
  assertEquals(watch(180_000), "propose");
  assertEquals(watch(179_999), alive);
  assertEquals(watch(0, { newestSinceMs: nowMs - 120_000 }), "propose");
  assertEquals(watch(0, { newestSinceMs: nowMs - 119_999 }), alive);
  assertEquals(watch(0, { newestSinceMs: nowMs - 120_000, watchingSinceMs: nowMs - 119_999 }), alive);
  // Only what the last look into the store showed counts.
  const newestAskedMs = nowMs - 10_000;
  assertEquals(watch(0, { newestSinceMs: nowMs - 130_000, newestAskedMs }), "propose");
  assertEquals(watch(0, { newestSinceMs: nowMs - 129_999, newestAskedMs }), alive);
  assertEquals(watch(190_000, { newestAskedMs }), "propose");
  assertEquals(watch(189_999, { newestAskedMs }), alive);
});

Deno.test("the voters of a cluster that this node saw run get the time-out to come back, all but those who are here", () => {
  const voter = (name: string, at = name) => ({ name, peerUrl: `http://${at}:2380` });
  const wait = (
    voters: readonly ReturnType<typeof voter>[],
    change: Partial<View> = {},
    more: readonly GossipPeer[] = [],
  ) => reason(gathered({ lastCluster: { clusterId: "c1", voters, atMs: nowMs - 1_000 }, ...change }, more));
  const silent = (names: string) =>
    `cluster_silent: a cluster of ${names} was seen running and may still run | bootstrap without it`;
  const [a, b, x] = [voter("a"), voter("b"), voter("x")];
  assertEquals(wait([a, b]), "propose");
  assertEquals(wait([a, b, x]), silent('"x"'));
  assertEquals(wait([voter("former", "b"), voter("c", "former")]), "propose", "by its address, and by its name");
  const at = (agoMs: number) => ({ lastCluster: { clusterId: "c1", voters: [x], atMs: nowMs - agoMs } });
  assertEquals(wait([x], at(599_999)), silent('"x"'));
  assertEquals(wait([x], at(600_000)), "propose");
  assertEquals(wait([x], { ...at(600_000), watchingSinceMs: nowMs - 599_999 }), silent('"x"'));
  const never = settings({ quorumLossTimeoutMs: "never" });
  assertEquals(wait([x], { ...at(900_000), settings: never }), silent('"x"'));
  // An operator gave it up.
  const blue = settings({ newCluster: "blue" });
  const record: NodeRecord = { nonce: "nonce-a", pledges: [], seen: { clusterId: "c1", voters: [] } };
  assertEquals(wait([x], { settings: blue, record }), "propose");
  assertEquals(wait([x], { settings: blue }), silent('"x"'));
  assertEquals(
    wait([x], { settings: blue, record: { ...record, seen: { ...record.seen!, newCluster: "blue" } } }).split(":")[0],
    "cluster_seen",
  );
  // One whose node is here, and whose data is not mounted.
  const lost = { lineage: line, how: "founded", clusterId: "c1", renounced: [] } as const;
  assertEquals(wait([a, b], { record: { nonce: "nonce-a", pledges: [], lost } }), silent('"a"'));
  const unmounted = peer("d", { facts: facts("d", { data: { kind: "none", lost: line } }) });
  assertEquals(wait([a, b, voter("d")], {}, [unmounted]), silent('"d"'));
  const { facts: _, ...mute } = peer("d", { state: "dead" });
  assertEquals(wait([a, b, voter("d")], {}, [mute]), silent('"d"'));
});

Deno.test("bootstrapPlanOf() names a cluster that begins anew, and continues the lineage and the name of a restored one", () => {
  const initialMembers = [named("b"), named("a")];
  const snapshot = { kind: "snapshot", hash: "h", revision: 1 } as const;
  const empty = bootstrapPlanOf(initialMembers, { kind: "empty" }, undefined);
  const token = `e2d-${empty.digest.slice(0, 24)}`;
  assertEquals(empty.initialMembers.map(({ name }) => name), ["a", "b"]);
  assertEquals(empty.lineage, { id: token, epoch: 1, token });
  const blue = bootstrapPlanOf(initialMembers, { kind: "empty" }, undefined, "blue");
  assertEquals(blue.lineage.name, "blue");
  assert(blue.digest !== empty.digest);
  assertEquals(bootstrapPlanOf(initialMembers, snapshot, undefined, "blue").lineage.name, undefined);
  const restored = bootstrapPlanOf(initialMembers, snapshot, { id: "line", epoch: 3, name: "green" }, "blue");
  assertEquals(restored.lineage, {
    id: "line",
    epoch: 4,
    token: `e2d-${restored.digest.slice(0, 24)}`,
    name: "green",
  });
});

Deno.test("survivors take part first, then those who pledged and are here, then the first by name", () => {
  const moved = (name: string) => named(name, { peerUrl: "http://old:2380" });
  const renewed = (name: string) => named(name, { nonce: "another" });
  const other = (name: string) => named(name, { nonce: "another", peerUrl: "http://old:2380" });
  const among = (
    self: string,
    names: string,
    pledges: readonly (readonly BootstrapMember[])[],
    record: Partial<NodeRecord> = {},
  ) => {
    const peers = names.split("").filter((name) => name !== self).map((name, at) =>
      peer(name, {
        facts: facts(name, {
          formerNonces: [`old-${name}`],
          pledges: at === 0
            ? pledges.map((initialMembers, each) => ({ digest: `d${each}`, token: `t${each}`, initialMembers }))
            : [],
        }),
      })
    );
    return told(view(self, { peers, record: { nonce: `nonce-${self}`, pledges: [], ...record } }));
  };
  const [b, c, d] = ["b", "c", "d"].map((name) => named(name)) as [BootstrapMember, BootstrapMember, BootstrapMember];
  const bcd = "wait standby standby";
  assertEquals(among("a", "abcd", []), "propose a b c");
  assertEquals(among("a", "abcd", [[b, c, d]]), bcd);
  assertEquals(among("a", "abcd", [[moved("b"), moved("c"), moved("d")]]), bcd, "on the same disks");
  assertEquals(among("a", "abcd", [[renewed("b"), renewed("c"), renewed("d")]]), bcd, "at the same addresses");
  assertEquals(among("a", "abcd", [[b, c, named("d", { nonce: "old-d", peerUrl: "http://old:2380" })]]), bcd);
  assertEquals(among("a", "abcd", [[other("b"), other("c"), other("d")]]), "wait pledged_elsewhere");
  assertEquals(among("a", "abcd", [[b, c, other("d")]]), "propose a b c", "d is another one");
  assertEquals(among("a", "abcde", [[b, c, d], [b, c, named("e")]]), bcd, "d and e are pledged as b and c are");
  assertEquals(among("a", "abcde", [[named("a"), b, c], [c, d, named("e")]]), "wait pledged_elsewhere");
  const own = named("z", { nonce: "old-z", peerUrl: "http://old:2380" });
  assertEquals(among("z", "bcdz", [[c, d, own]], { formerNonces: ["old-z"] }), "propose c d z");
  assertEquals(among("z", "bcdz", [[c, d, own]]), "wait standby standby");
});

Deno.test("a survivor of a lost quorum takes part before those who pledged, and silent addresses hold nobody up", () => {
  const members = ["z", "x", "y"].map((name) => member(name));
  const pledged = ["a", "b", "c"].map((name) => named(name));
  const pledge = { digest: "d", token: "t", initialMembers: pledged };
  const survivor = view("z", {
    data: data("z", members, { lastLog: { term: 2, index: 100 } }),
    record: { nonce: "n", pledges: [], started: { lineage: line, how: "founded", clusterId: "c1", renounced: [] } },
    leaderlessSinceMs: 0,
    bootedAtMs: nowMs,
    settings: settings({ seeds: ["x:7980", "y:7980"] }),
    peers: ["a", "b", "c"].map((name) => peer(name, { facts: facts(name, { pledges: [pledge] }) })),
    endpoints: new Map(["x", "y"].map((name) => [`http://${name}:2379`, {
      last: { kind: "unreachable", code: "refused" },
      atMs: nowMs,
      failingSinceMs: 0,
      failures: 9,
      appliedIndex: 0,
      progressAtMs: 0,
    }])),
  });
  assertEquals(told(survivor), "propose a b z");
});

Deno.test("proposeBootstrap() never lets two disjoint groups of one universe found", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(1, 3, 5),
      fc.integer({ min: 1, max: 12 }),
      fc.infiniteStream(fc.boolean()),
      (size, count, side) => {
        const names = "abcdefghijkl".slice(0, count).split("");
        const seeds = names.map((name) => `${name}:7980`);
        const left = names.filter(() => side.next().value);
        const right = names.filter((name) => !left.includes(name));
        const founds = [left, right].map((group) => {
          const [first, ...others] = group;
          if (first === undefined) return false;
          const proposal = proposeBootstrap(view(first, {
            settings: settings({ requiredSize: size, seeds }),
            peers: others.map((name) => peer(name, { facts: facts(name, { requiredSize: size }) })),
          }));
          return proposal.kind === "propose";
        });
        assert(!(founds[0] && founds[1]), `${left.join("")} and ${right.join("")} would both found for -n ${size}`);
      },
    ),
    { seed: 5, numRuns: 2_000 },
  );
});

Deno.test("proposeBootstrap() rules an earlier pledge out only when the rest of its initialMembers is no quorum", () => {
  fc.assert(
    fc.property(fc.subarray(["a", "b", "c", "d", "e", "f", "g"], { minLength: 5, maxLength: 5 }), (pledged) => {
      const initialMembers = pledged.map((name) => ({ name, peerUrl: `http://${name}:2380`, nonce: `nonce-${name}` }));
      const pledge = pledgeOf(bootstrapPlanOf(initialMembers, { kind: "empty" }, undefined), undefined);
      // Only c to g are here now.
      const here = ["d", "e", "f", "g"].map((name) =>
        peer(name, { facts: facts(name, { requiredSize: 5, pledges: pledged.includes(name) ? [pledge] : [] }) })
      );
      const seen = view("c", {
        settings: settings({ requiredSize: 5 }),
        peers: here,
        record: { nonce: "nonce-c", pledges: pledged.includes("c") ? [pledge] : [] },
      });
      const away = pledged.filter((name) => name === "a" || name === "b").length;
      const known = pledged.some((name) => !["a", "b"].includes(name));
      assertEquals(proposeBootstrap(seen).kind, known && away >= quorumOf(5) ? "wait" : "propose");
    }),
    { seed: 6, numRuns: 100 },
  );
});

Deno.test("proposeBootstrap() gives every initial member the same digest", () => {
  const names = ["a", "b", "c"];
  const digests = names.map((name) => {
    const proposal = proposeBootstrap(view(name, { peers: names.filter((each) => each !== name).map((n) => peer(n)) }));
    return proposal.kind === "propose" ? proposal.plan.digest : proposal.reason.code;
  });
  assertEquals(new Set(digests).size, 1, digests.join(" "));
});

const codeOf = (proposal: ReturnType<typeof proposeBootstrap>) =>
  proposal.kind === "wait" ? proposal.reason.code : proposal.plan.initialMembers.map((each) => each.name).join(" ");

Deno.test("proposeBootstrap() bootstraps no empty cluster beside one that was seen, unless a new name gives that one up", () => {
  const seen = { clusterId: "c1", voters: [{ name: "a", peerUrl: "http://a:2380" }], newCluster: "first" };
  const plan = (newCluster?: string, snapshot?: SnapshotLookup) => {
    const said = snapshot?.kind === "newest" ? found(snapshot) : undefined;
    const peers = ["b", "c"].map((name) => peer(name, said && { facts: facts(name, { snapshotLookup: said }) }));
    return codeOf(proposeBootstrap(view("a", {
      record: { nonce: "nonce-a", pledges: [], seen },
      settings: settings({ snapshots: snapshot !== undefined, ...(newCluster === undefined ? {} : { newCluster }) }),
      peers,
      ...(snapshot === undefined ? {} : { snapshotLookup: snapshot }),
    })));
  };
  assertEquals(plan(), "cluster_seen");
  assertEquals(plan("first"), "cluster_seen");
  assertEquals(plan("second"), "a b c");
  const taken = { revision: 9, takenAtWallMs: 0, verified: true, epochMax: 1 };
  assertEquals(plan(undefined, { kind: "newest", hash: "h", ...taken }), "a b c");
});

Deno.test("proposeBootstrap() waits with the reason for whatever is missing, unknown or contradictory", () => {
  const seen = { clusterId: "c1", voters: [{ name: "x", peerUrl: "http://x:2380" }] };
  const cases: [string, ReturnType<typeof view>][] = [
    ["too_few_peers", view("a", { peers: [peer("b")] })],
    [
      "peer_inspecting",
      view("a", { peers: [peer("b"), peer("c", { facts: facts("c", { data: { kind: "unknown" } }) })] }),
    ],
    [
      "peer_data_unusable",
      view("a", { peers: [peer("b"), peer("c", { facts: facts("c", { data: { kind: "unusable", why: "x" } }) })] }),
    ],
    ["size_contradiction", view("a", { peers: [peer("b"), peer("c", { facts: facts("c", { requiredSize: 5 }) })] })],
    [
      "snapshot_contradiction",
      view("a", { peers: [peer("b"), peer("c", { facts: facts("c", { snapshotLookup: "absent" }) })] }),
    ],
    ["cluster_seen", view("a", { peers: [peer("b"), peer("c")], record: { nonce: "nonce-a", pledges: [], seen } })],
    [
      "cluster_seen",
      view("a", { peers: [peer("b"), peer("c"), peer("d", { facts: facts("d", { seen: { clusterId: "c1" } }) })] }),
    ],
    ["same_address_twice", view("a", { peers: [peer("b"), peer("c", { peerUrl: "http://b:2380" })] })],
  ];
  for (const [code, facts] of cases) assertEquals(codeOf(proposeBootstrap(facts)), code);
});

Deno.test("proposeBootstrap() waits for the facts of a peer that is not of the original", () => {
  const { facts: _, ...mute } = peer("c");
  assertEquals(codeOf(proposeBootstrap(view("a", { peers: [peer("b"), mute] }))), "facts_missing");
});

Deno.test("bootstrapPlanOf() makes another token for the same names and addresses on new disks", () => {
  const on = (nonce: string) =>
    bootstrapPlanOf([{ name: "a", peerUrl: "http://a:2380", nonce }], { kind: "empty" }, undefined).lineage.token;
  assertEquals(on("1"), on("1"));
  assert(on("1") !== on("2"));
});

Deno.test("proposeBootstrap() waits for every disk that may hold data, up to the quorum-loss time-out or an approval", () => {
  const stored: SnapshotLookup = {
    kind: "newest",
    hash: "h",
    revision: 9,
    takenAtWallMs: 0,
    verified: true,
    epochMax: 1,
    lineage: { id: "line", epoch: 1, token: "t" },
  };
  const seeds = ["a", "b", "c", "d"].map((name) => `${name}:7980`);
  const gathered = (change: Parameters<typeof view>[1] = {}) =>
    view("a", {
      settings: settings({ seeds, snapshots: true }),
      peers: ["b", "c"].map((name) => peer(name, { facts: facts(name, { snapshotLookup: found(stored) }) })),
      snapshotLookup: stored,
      bootedAtMs: nowMs - 1_000,
      ...change,
    });
  const waiting = proposeBootstrap(gathered());
  assertEquals(codeOf(waiting), "disks_awaited");
  assertEquals(codeOf(proposeBootstrap(gathered({ bootedAtMs: 0 }))), "a b c", "the time-out has passed");
  const plan = waiting.kind === "wait" ? waiting.reason.choices![0]!.plan : "";
  const approved = settings({ seeds, snapshots: true, approved: [plan] });
  assertEquals(codeOf(proposeBootstrap(gathered({ settings: approved }))), "a b c", "an operator approved");
  const never = settings({ seeds, snapshots: true, quorumLossTimeoutMs: "never" });
  assertEquals(codeOf(proposeBootstrap(gathered({ settings: never, bootedAtMs: 0 }))), "disks_awaited");
  const absent = ["b", "c"].map((name) => peer(name, { facts: facts(name, { snapshotLookup: "absent" }) }));
  assertEquals(
    codeOf(proposeBootstrap(gathered({ snapshotLookup: { kind: "absent" }, peers: absent }))),
    "disks_awaited",
  );
  const anew = settings({ seeds, snapshots: true, newCluster: "blue" });
  assertEquals(
    codeOf(proposeBootstrap(gathered({ snapshotLookup: { kind: "absent" }, peers: absent, settings: anew }))),
    "disks_awaited",
    "the flag may have stayed from the first bootstrap: a disk that does not answer may hold what it made",
  );
});

Deno.test("proposeBootstrap() waits for data that its record names and that is not mounted, its own and a peer's", () => {
  const lineage = { id: "line", epoch: 1, token: "t" };
  const gathered = (lostHere: boolean, lostThere: boolean) =>
    view("a", {
      record: {
        nonce: "nonce-a",
        pledges: [],
        ...(lostHere ? { lost: { lineage, how: "founded", renounced: [], clusterId: "c1" } } : {}),
      },
      peers: [
        peer("b", lostThere ? { facts: facts("b", { data: { kind: "none", lost: lineage } }) } : {}),
        peer("c"),
      ],
      bootedAtMs: nowMs - 1_000,
    });
  assertEquals(codeOf(proposeBootstrap(gathered(false, false))), "a b c");
  assertEquals(codeOf(proposeBootstrap(gathered(true, false))), "disks_awaited");
  // A bootstrap whose etcd was never seen has made no data that could be waited for.
  const never = { nonce: "nonce-a", pledges: [], lost: { lineage, how: "founded", renounced: [] } } as const;
  assertEquals(codeOf(proposeBootstrap({ ...gathered(false, false), record: never })), "a b c");
  assertEquals(codeOf(proposeBootstrap(gathered(false, true))), "disks_awaited");
  // Nothing else asks an operator before an empty bootstrap, so `--restore ask` changes nothing.
  assertEquals(
    codeOf(proposeBootstrap({ ...gathered(true, false), settings: settings({ restore: "ask" }) })),
    "disks_awaited",
  );
});

Deno.test("proposeBootstrap() does not count an unmounted member's node as the member that is missing", () => {
  const voters = ["a", "b", "c"].map((name) => ({ name, peerUrl: `http://${name}:2380` }));
  const lineage = { id: "line", epoch: 1, token: "t" };
  const stored: SnapshotLookup = {
    kind: "newest",
    hash: "h",
    revision: 9,
    takenAtWallMs: 0,
    verified: true,
    epochMax: 0,
  };
  const gathered = view("a", {
    record: {
      nonce: "nonce-a",
      pledges: [],
      seen: { clusterId: "c1", voters },
      lost: { lineage, how: "founded", renounced: [], clusterId: "c1" },
    },
    lastCluster: { clusterId: "c1", voters, atMs: nowMs - 1_000 },
    settings: settings({ snapshots: true }),
    snapshotLookup: stored,
    peers: ["b", "c"].map((name) => peer(name, { facts: facts(name, { snapshotLookup: found(stored) }) })),
  });
  const waiting = proposeBootstrap(gathered);
  assertEquals(codeOf(waiting), "cluster_silent");
  const plan = waiting.kind === "wait" ? waiting.reason.choices![0]!.plan : "";
  const approved = settings({ snapshots: true, approved: [plan] });
  assertEquals(codeOf(proposeBootstrap({ ...gathered, settings: approved })), "a b c");
});

Deno.test("bootstrapPlanOf() carries the name of --new-cluster into the lineage, and keeps it through a restore", () => {
  const initialMembers = [{ name: "a", peerUrl: "http://a:2380", nonce: "n" }];
  const named = bootstrapPlanOf(initialMembers, { kind: "empty" }, undefined, "blue");
  assertEquals(named.lineage.name, "blue");
  assertEquals(bootstrapPlanOf(initialMembers, { kind: "empty" }, undefined).lineage.name, undefined);
  const restored = bootstrapPlanOf(
    initialMembers,
    { kind: "snapshot", hash: "h", revision: 1 },
    named.lineage,
    "green",
  );
  assertEquals([restored.lineage.name, restored.lineage.epoch], ["blue", 2]);
});

Deno.test("proposeBootstrap() restores no snapshot whose writer may be alive elsewhere", () => {
  const nowWallMs = 1_700_000_000_000;
  const gathered = (agoMs: number, watchedMs: number, approved: string[] = [], lookedMs = 0) => {
    const snapshotLookup: SnapshotLookup = {
      kind: "newest",
      hash: "h",
      revision: 9,
      takenAtWallMs: nowWallMs - agoMs,
      verified: true,
      epochMax: 1,
      lineage: { id: "line", epoch: 1, token: "t" },
    };
    return view("a", {
      nowWallMs,
      settings: settings({ snapshots: true, snapshotIntervalMs: 60_000, approved }),
      peers: ["b", "c"].map((name) => peer(name, { facts: facts(name, { snapshotLookup: found(snapshotLookup) }) })),
      snapshotLookup,
      newestSinceMs: nowMs - watchedMs,
      newestAskedMs: nowMs - lookedMs,
    });
  };
  const waiting = proposeBootstrap(gathered(30_000, 30_000));
  assertEquals(codeOf(waiting), "snapshot_writer_alive");
  assertEquals(codeOf(proposeBootstrap(gathered(150_000, 120_000))), "a b c", "no newer one came");
  assertEquals(codeOf(proposeBootstrap(gathered(180_000, 0))), "a b c", "old enough");
  const [unlooked, aged] = [gathered(150_000, 120_000, [], 5_000), gathered(180_000, 0, [], 5_000)];
  assertEquals(codeOf(proposeBootstrap(unlooked)), "snapshot_writer_alive", "the store was not asked since");
  assertEquals(codeOf(proposeBootstrap(aged)), "snapshot_writer_alive", "nor was it when the snapshot grew old");
  assertEquals(codeOf(proposeBootstrap(gathered(-3_600_000, 0))), "snapshot_writer_alive", "a clock is wrong");
  const plan = waiting.kind === "wait" ? waiting.reason.choices![0]!.plan : "";
  assertEquals(codeOf(proposeBootstrap(gathered(30_000, 0, [plan]))), "a b c");
});

Deno.test("bootstrapPlanOf() records the life and the revision that the next life begins with", () => {
  const initialMembers = ["a", "b"].map((name) => ({ name, peerUrl: `http://${name}:2380`, nonce: "n" }));
  const from = { token: "t", revision: 9 };
  const source = { kind: "snapshot", hash: "h", revision: 9 } as const;
  const { lineage, digest } = bootstrapPlanOf(initialMembers, source, { id: "line", epoch: 3, from });
  assertEquals([lineage.epoch, lineage.from], [4, from]);
  // Nodes of an earlier release compute the same plan.
  assertEquals(digest, bootstrapPlanOf(initialMembers, source, { id: "line", epoch: 3 }).digest);
});
