import fc from "fast-check";
import { decideFounding } from "../../lib/core/commit.ts";
import { foundingOf, pledgeOf, proposeFounding } from "../../lib/core/founding.ts";
import { type Catalogue, quorumOf } from "../../lib/core/view.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { facts, goPeer, peer, settings, view } from "./facts.ts";

const codeOf = (proposal: ReturnType<typeof proposeFounding>) =>
  proposal.kind === "wait" ? proposal.reason.code : proposal.founding.founders.map((each) => each.name).join(" ");

Deno.test("proposeFounding() gives every founder the same digest", () => {
  const names = ["a", "b", "c"];
  const digests = names.map((name) => {
    const proposal = proposeFounding(view(name, { peers: names.filter((each) => each !== name).map((n) => peer(n)) }));
    return proposal.kind === "propose" ? proposal.founding.digest : proposal.reason.code;
  });
  assertEquals(new Set(digests).size, 1, digests.join(" "));
});

Deno.test("proposeFounding() founds nothing empty beside a cluster that was seen, unless a new name gives that one up", () => {
  const seen = { clusterId: "c1", voters: [{ name: "a", peerUrl: "http://a:2380" }], newCluster: "first" };
  const founding = (newCluster?: string, snapshot?: Catalogue) => {
    const said = snapshot?.kind === "newest" ? `newest:${snapshot.hash}` as const : undefined;
    const peers = ["b", "c"].map((name) => peer(name, said && { facts: facts(name, { catalogue: said }) }));
    return codeOf(proposeFounding(view("a", {
      record: { nonce: "nonce-a", pledges: [], seen },
      settings: settings({ snapshots: snapshot !== undefined, ...(newCluster === undefined ? {} : { newCluster }) }),
      peers,
      ...(snapshot === undefined ? {} : { catalogue: snapshot }),
    })));
  };
  assertEquals(founding(), "cluster_seen");
  assertEquals(founding("first"), "cluster_seen");
  assertEquals(founding("second"), "a b c");
  const taken = { revision: 9, takenAtWallMs: 0, verified: true, epochMax: 1 };
  assertEquals(founding(undefined, { kind: "newest", hash: "h", ...taken }), "a b c");
});

Deno.test("proposeFounding() waits with the reason for whatever is missing, unknown or contradictory", () => {
  const seen = { clusterId: "c1", voters: [{ name: "x", peerUrl: "http://x:2380" }] };
  const cases: [string, ReturnType<typeof view>][] = [
    ["too_few_peers", view("a", { peers: [peer("b")] })],
    ["peer_looks", view("a", { peers: [peer("b"), peer("c", { facts: facts("c", { data: { kind: "unknown" } }) })] })],
    [
      "peer_data_unusable",
      view("a", { peers: [peer("b"), peer("c", { facts: facts("c", { data: { kind: "unusable", why: "x" } }) })] }),
    ],
    ["size_contradiction", view("a", { peers: [peer("b"), peer("c", { facts: facts("c", { requiredSize: 5 }) })] })],
    [
      "catalogue_contradiction",
      view("a", { peers: [peer("b"), peer("c", { facts: facts("c", { catalogue: "absent" }) })] }),
    ],
    ["cluster_seen", view("a", { peers: [peer("b"), peer("c")], record: { nonce: "nonce-a", pledges: [], seen } })],
    [
      "cluster_seen",
      view("a", { peers: [peer("b"), peer("c"), peer("d", { facts: facts("d", { seen: { clusterId: "c1" } }) })] }),
    ],
    ["same_address_twice", view("a", { peers: [peer("b"), peer("c", { peerUrl: "http://b:2380" })] })],
  ];
  for (const [code, facts] of cases) assertEquals(codeOf(proposeFounding(facts)), code);
});

Deno.test("proposeFounding() waits for the facts of a peer that is not of the original", () => {
  const { facts: _, ...mute } = peer("c");
  assertEquals(codeOf(proposeFounding(view("a", { peers: [peer("b"), mute] }))), "facts_missing");
});

Deno.test("proposeFounding() never lets two disjoint groups of one universe found", () => {
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
          const proposal = proposeFounding(view(first, {
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

Deno.test("proposeFounding() rules an earlier pledge out only when the rest of its founders is no quorum", () => {
  fc.assert(
    fc.property(fc.subarray(["a", "b", "c", "d", "e", "f", "g"], { minLength: 5, maxLength: 5 }), (pledged) => {
      const founders = pledged.map((name) => ({ name, peerUrl: `http://${name}:2380`, nonce: `nonce-${name}` }));
      const pledge = pledgeOf(foundingOf(founders, { kind: "empty" }, undefined), undefined);
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
      assertEquals(proposeFounding(seen).kind, known && away >= quorumOf(5) ? "wait" : "propose");
    }),
    { seed: 6, numRuns: 100 },
  );
});

Deno.test("foundingOf() makes another token for the same names and addresses on new disks", () => {
  const on = (nonce: string) =>
    foundingOf([{ name: "a", peerUrl: "http://a:2380", nonce }], { kind: "empty" }, undefined).lineage.token;
  assertEquals(on("1"), on("1"));
  assert(on("1") !== on("2"));
});

Deno.test("decideFounding() commits to a pledge only when every founder says that it pledged the same", () => {
  const founders = ["a", "b", "c"].map((name) => ({ name, peerUrl: `http://${name}:2380`, nonce: `nonce-${name}` }));
  const pledge = pledgeOf(foundingOf(founders, { kind: "empty" }, undefined), undefined);
  const record = { nonce: "nonce-a", pledges: [pledge] };
  const b = peer("b", { facts: facts("b", { pledges: [pledge] }) });
  assertEquals(decideFounding(view("a", { record, peers: [b, peer("c")] }), {}).kind, "wait");
  const c = peer("c", { facts: facts("c", { pledges: [pledge] }) });
  assertEquals(decideFounding(view("a", { record, peers: [b, c] }), {}).kind, "commit");
  const renewed = peer("c", { facts: facts("c", { pledges: [pledge], nonce: "another" }) });
  assertEquals(decideFounding(view("a", { record, peers: [b, renewed] }), {}).kind, "wait");
});

Deno.test("decideFounding() follows a founder that has started", () => {
  const founders = ["a", "b", "c"].map((name) => ({ name, peerUrl: `http://${name}:2380`, nonce: `nonce-${name}` }));
  const pledge = pledgeOf(foundingOf(founders, { kind: "empty" }, undefined), undefined);
  const held = { kind: "held", clusterId: "", memberId: "", lineage: pledge.lineage, revision: 0 } as const;
  const peers = [peer("b", { facts: facts("b", { data: held }) })];
  assertEquals(
    decideFounding(view("a", { record: { nonce: "nonce-a", pledges: [pledge] }, peers }), {}).kind,
    "commit",
  );
});

Deno.test("decideFounding() founds with Go nodes by their list, sorted, once all N say Pending", () => {
  const pending = { status: "pending" } as const;
  const two = view("T", { peers: [goPeer("B", pending), goPeer("A", { status: "unknown" })] });
  assertEquals(decideFounding(two, {}).kind, "pending");
  const three = decideFounding(view("T", { peers: [goPeer("B", pending), goPeer("A", pending)] }), {});
  assertEquals(three.kind === "commitWithGo" ? three.members.map((each) => each.name) : three.kind, ["A", "B", "T"]);
});
