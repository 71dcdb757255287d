import { planScale } from "../../../lib/core/plans/scale.ts";
import type { EtcdAnswer, EtcdMember } from "../../../lib/core/facts/cluster.ts";
import type { View } from "../../../lib/core/facts/view.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, answering, facts, goPeer, member, peer, settings, view } from "../facts.ts";

/** Neither members nor peers come in the order of their names. */
const named = (names: string) => names.split("").map((name) => member(name));
const standbys = [peer("e"), peer("g"), peer("d"), peer("f")];

interface Case {
  readonly members?: readonly EtcdMember[];
  readonly own?: Partial<EtcdAnswer>;
  readonly view?: Partial<View>;
}

function plan(to: number, { members = named("cba"), own = {}, view: change = {} }: Case = {}) {
  const recordedSize = members.length;
  const asked = answer("a", members, { recordedSize, ...own });
  const others = members.filter(({ name }) => name !== "a");
  const endpoints = new Map(others.map(({ name }) => [`http://${name}:2379`, answering(answer(name, members))]));
  return planScale(view("a", { peers: standbys, endpoints, ...change }), asked, to, "p1");
}

function why(to: number, of: Case = {}): string {
  const outcome = plan(to, of);
  return outcome.kind === "refused" ? outcome.why : outcome.kind;
}

Deno.test("planScale() grows: the record first, then each standby node by name, as many as are missing", () => {
  const operations = [
    { kind: "resize", from: 3, to: 5 },
    { kind: "add", peerUrl: "http://d:2380" },
    { kind: "promote", peerUrl: "http://d:2380" },
    { kind: "add", peerUrl: "http://e:2380" },
    { kind: "promote", peerUrl: "http://e:2380" },
  ] as const;
  const expected = {
    kind: "plan",
    plan: {
      id: "p1",
      purpose: "scale",
      text: 'scale from 3 to 5: "d", "e" join',
      createdAtWallMs: 1_700_000_000_000,
      operations,
    },
  } as const;
  assertEquals(plan(5), expected);
  assertEquals(plan(5, { view: { settings: settings({ snapshots: true }) } }), {
    kind: "plan",
    plan: { ...expected.plan, operations: [{ kind: "snapshot" }, ...operations] },
  });
  assertEquals(plan(7).kind, "plan");
  // Without a record the size that this node was started with counts.
  assertEquals(plan(5, { own: { recordedSize: undefined } as unknown as Partial<EtcdAnswer> }), expected);
});

Deno.test("planScale() shrinks: the last by name leave, each after it has handed over, and the leader stays", () => {
  const shrunk = (leaderId: string) => {
    const members = named("abecd");
    const others = members.filter(({ name }) => name !== "a");
    const endpoints = new Map(
      others.map(({ name }) => [`http://${name}:2379`, answering(answer(name, members, { leaderId }))]),
    );
    const outcome = plan(3, { members, own: { leaderId }, view: { endpoints } });
    return outcome.kind === "plan" ? [outcome.plan.text, outcome.plan.operations] : outcome.why;
  };
  const leave = (name: string) => [
    { kind: "moveLeaderFrom", memberId: `id-${name}` },
    { kind: "remove", memberId: `id-${name}`, name },
  ];
  const resize = { kind: "resize", from: 5, to: 3 };
  assertEquals(shrunk("id-a"), ['scale from 5 to 3: "e", "d" leave', [resize, ...leave("e"), ...leave("d")]]);
  assertEquals(shrunk("id-e"), ['scale from 5 to 3: "d", "c" leave', [resize, ...leave("d"), ...leave("c")]]);
});

Deno.test("planScale() takes 1, 3, 5 and 7 for sizes", () => {
  const refusal = (size: number) => `${size} is not a valid cluster size: use 1, 3, 5, 7`;
  for (const size of [0, 2, 4, 6, 8, 9]) assertEquals(why(size), refusal(size));
  assertEquals(why(3), "the cluster has 3 members already");
  for (const size of [1, 5, 7]) assertEquals(why(size), "plan", `${size}`);
});

Deno.test("planScale() refuses, with the reason, while the cluster is not whole and well", () => {
  const [c, b, a] = named("cba") as [EtcdMember, EtcdMember, EtcdMember];
  const cases: [string, Case][] = [
    ["the cluster has no quorum now", { own: { linearizable: false } }],
    ["the cluster has no quorum now", { own: { leaderId: undefined } as unknown as Partial<EtcdAnswer> }],
    [
      '"x" runs the Go e2d, which does not support scaling',
      { view: { peers: [...standbys, goPeer("y", { state: "dead" }), goPeer("x")] } },
    ],
    ["plan", { view: { peers: [...standbys, goPeer("y", { state: "dead" })] } }],
    ["member id-b is joining; wait until it is a voter", { members: [a, { ...b, isLearner: true }, c] }],
    ["the cluster has 2 of its 3 members; wait until it is complete", { members: [a, b], own: { recordedSize: 3 } }],
    ['member "c" is unhealthy', {
      view: { endpoints: new Map([["http://b:2379", answering(answer("b", [a, b, c]))]]) },
    }],
    ["2 more nodes are needed; standby nodes now: 1", {
      view: {
        peers: [
          peer("d"),
          peer("e", { state: "suspect" }),
          peer("f", { facts: facts("f", { data: { kind: "unknown" } }) }),
        ],
      },
    }],
  ];
  for (const [expected, of] of cases) assertEquals(why(5, of), expected);
});
