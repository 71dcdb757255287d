import fc from "fast-check";
import { decideBootstrap } from "../../lib/core/rules/bootstrap/commit.ts";
import { bootstrapPlanOf, pledgeOf, proposeBootstrap } from "../../lib/core/rules/bootstrap/proposal.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { facts, found, goPeer, nowMs, peer, settings, view } from "./facts.ts";
import type { SnapshotLookup } from "../../lib/core/facts/snapshot_lookup.ts";
import { quorumOf } from "../../lib/core/facts/cluster.ts";

const codeOf = (proposal: ReturnType<typeof proposeBootstrap>) =>
  proposal.kind === "wait" ? proposal.reason.code : proposal.plan.initialMembers.map((each) => each.name).join(" ");

Deno.test("proposeBootstrap() gives every initial member the same digest", () => {
  const names = ["a", "b", "c"];
  const digests = names.map((name) => {
    const proposal = proposeBootstrap(view(name, { peers: names.filter((each) => each !== name).map((n) => peer(n)) }));
    return proposal.kind === "propose" ? proposal.plan.digest : proposal.reason.code;
  });
  assertEquals(new Set(digests).size, 1, digests.join(" "));
});

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

Deno.test("bootstrapPlanOf() makes another token for the same names and addresses on new disks", () => {
  const on = (nonce: string) =>
    bootstrapPlanOf([{ name: "a", peerUrl: "http://a:2380", nonce }], { kind: "empty" }, undefined).lineage.token;
  assertEquals(on("1"), on("1"));
  assert(on("1") !== on("2"));
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
