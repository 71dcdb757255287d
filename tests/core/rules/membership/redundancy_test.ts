import { missingVoters, silentVoters } from "../../../../lib/core/rules/membership/redundancy.ts";
import type { Plan } from "../../../../lib/core/facts/plan.ts";
import type { View } from "../../../../lib/core/facts/view.ts";
import type { EtcdAnswer } from "../../../../lib/core/facts/cluster.ts";
import type { GossipPeer } from "../../../../lib/core/facts/peer.ts";
import { assertEquals } from "../../../support/assert.ts";
import { answer, answering, facts, member, nowMs, peer, settings, silent, view } from "../../facts.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const own = answer("b", members, { recordedSize: 3 });
const held = (name: string, etcdHung?: string) =>
  peer(name, {
    facts: facts(name, {
      data: {
        kind: "held",
        clusterId: "c1",
        memberId: `id-${name}`,
        lineage: { id: "l", epoch: 1, token: "t" },
        revision: 0,
      },
      ...(etcdHung === undefined ? {} : { etcdHung }),
    }),
  });
const dead = (agoMs: number, state: "dead" | "left" = "dead") => peer("c", { state, sinceMs: nowMs - agoMs });

/** Node b, a follower of a; etcd has not reached c for `silentMs`, 0: it answers. */
function follower(
  c: GossipPeer | undefined,
  silentMs: number,
  change: Partial<View> = {},
  others: GossipPeer[] = [],
): View {
  return view("b", {
    peers: [held("a"), ...c === undefined ? [] : [c], ...others],
    endpoints: new Map([
      ["http://a:2379", answering(answer("a", members))],
      ["http://b:2379", answering(answer("b", members))],
      ["http://c:2379", silentMs === 0 ? answering(answer("c", members)) : silent(nowMs - silentMs)],
    ]),
    memberSinceMs: new Map(members.map(({ id }) => [id, 0])),
    ...change,
  });
}
const found = (of: View, plan?: Plan, cluster = own) => {
  const reduced = silentVoters(of, cluster, plan);
  return reduced === undefined ? "all answer" : `${reduced.level} ${reduced.reason.text}`;
};
const silentC = 'warn 2 of 3 voters answer; "c": silent';

Deno.test("silentVoters() reports a voter after 7 s of silence, and gossip's silence alone after 10 s", () => {
  assertEquals(found(follower(held("c"), 6_999)), "all answer");
  assertEquals(found(follower(held("c"), 7_000)), silentC);
  assertEquals(found(follower(dead(7_000), 1)), silentC, "gossip saw it first");
  assertEquals(found(follower(dead(9_999), 0)), "all answer");
  assertEquals(
    found(follower(dead(10_000), 0)),
    'warn 3 of 3 voters answer; "c": silent by gossip, and etcd there answers',
  );
  const listed = (agoMs: number) => follower(held("c"), 20_000, { memberSinceMs: new Map([["id-c", nowMs - agoMs]]) });
  assertEquals([found(listed(6_999)), found(listed(7_000))], ["all answer", silentC]);
  assertEquals(
    found(follower(held("c"), 20_000, { memberSinceMs: new Map() })),
    "all answer",
    "it was listed just now",
  );
  const learner = answer("b", [members[0]!, members[1]!, member("c", { isLearner: true })]);
  assertEquals(found(follower(held("c"), 20_000), undefined, learner), "all answer");
  const unnamed = (change: Parameters<typeof member>[1]) =>
    found(
      follower(undefined, 20_000),
      undefined,
      answer("b", [members[0]!, members[1]!, member("c", { name: "", ...change })]),
    );
  assertEquals(unnamed({}), 'warn 2 of 3 voters answer; "http://c:2380": silent');
  assertEquals(unnamed({ peerUrls: [] }), 'warn 2 of 3 voters answer; "id-c": silent');
});

Deno.test("silentVoters() is no warning while all that are silent were stopped normally", () => {
  const left = (name: string) => [name, { peerUrl: `http://${name}:2380`, leftAtMs: nowMs - 20_000 }] as const;
  const stopped = { rememberedPeers: new Map([left("c")]) };
  const one = follower(dead(20_000, "left"), 20_000, stopped);
  assertEquals(found(one), 'info 2 of 3 voters answer; "c": stopped normally');
  const two = new Map(one.endpoints).set("http://a:2379", silent(nowMs - 20_000));
  assertEquals(
    found({ ...one, endpoints: two }),
    'warn 1 of 3 voters answer; "a": silent; "c": stopped normally',
  );
  const hint = silentVoters(one, own, undefined)?.reason.hint;
  assertEquals(hint, '"c" since 22:13:00 UTC, expected back until 22:15:00 UTC');
});

const plan = (operations: Plan["operations"], purpose: Plan["purpose"] = "upgrade"): Plan => ({
  id: "p",
  purpose,
  text: "plan",
  createdAtWallMs: 0,
  operations,
});
const upgrade = (memberId: string) => ({ kind: "upgrade", memberId, to: "3.7" }) as const;

Deno.test("a member that a plan restarts or defragments is expected to be silent, while its node is there", () => {
  const quiet = follower(held("c"), 20_000);
  const defragment = { kind: "defragment", memberId: "id-c", sizeBytes: 1 } as const;
  assertEquals(found(quiet, plan([{ kind: "snapshot" }, upgrade("id-c")])), "all answer");
  assertEquals(found(quiet, plan([defragment])), "all answer");
  assertEquals(found(quiet, plan([upgrade("id-a")])), silentC);
  assertEquals(found(quiet, plan([{ kind: "moveLeaderFrom", memberId: "id-c" }])), silentC);
  assertEquals(found(follower(dead(20_000), 20_000), plan([upgrade("id-c")])), silentC);
  assertEquals(found(follower(held("c", "id-c"), 20_000), plan([upgrade("id-c")])), silentC, "its etcd hangs");
});

Deno.test("missingVoters() compares with the cluster record, else with -n, and tells what lets voters join", () => {
  const missing = (of: View, cluster: EtcdAnswer, given?: Plan) => {
    const reduced = missingVoters(of, cluster, given);
    return reduced === undefined ? "enough" : `${reduced.level} ${reduced.reason.text} | ${reduced.reason.hint}`;
  };
  const two = answer("b", members.slice(0, 2), { recordedSize: 3 });
  const base = view("b");
  assertEquals(missing(base, own), "enough");
  const few = "warn the cluster has 2 of its 3 voters";
  assertEquals(missing(base, two), `${few} | start another node with the same settings`);
  const { recordedSize: _, ...unrecorded } = two;
  assertEquals(missing(base, unrecorded), `${few} | start another node with the same settings`);
  assertEquals(
    missing(base, { ...two, recordedSize: 5 }),
    "warn the cluster has 2 of its 5 voters | start 3 more nodes with the same settings",
  );
  assertEquals(missing(base, two, plan([], "scale")), "enough");
  assertEquals(missing(base, two, plan([])), `${few} | start another node with the same settings`);
  const standby = { peers: [peer("d"), held("a"), peer("e", { state: "dead" })] };
  assertEquals(missing(view("b", standby), two), `${few} | "d" can join; e2d why there tells what it waits for`);
  const paused = view("b", { ...standby, settings: settings({ paused: true }) });
  assertEquals(missing(paused, two), `${few} | automatic action is paused: e2d resume lets nodes join`);
  const joining = { ...two, members: [...two.members, member("d", { isLearner: true })] };
  assertEquals(missing(base, joining), `${few}; "d" is joining | undefined`);
});

Deno.test("the hint tells when the silent voter is removed, what keeps it, and who takes its place", () => {
  const hint = (of: View) => silentVoters(of, own, undefined)?.reason.hint;
  const since = '"c" since 22:13:00 UTC; ';
  const noStandby = "no standby node is here: start another node with the same settings";
  const removedAt = (time: string) => `${since}it is removed at ${time} UTC unless it answers; ${noStandby}`;
  assertEquals(hint(follower(dead(20_000), 20_000)), removedAt("22:14:00"));
  // Gossip's silence needs no time of its own where it knew the node.
  assertEquals(hint(follower(dead(1_000), 20_000)), removedAt("22:14:00"));
  assertEquals(hint(follower(undefined, 20_000))?.includes("it is removed at 22:14:00 UTC unless it answers"), true);
  const late = (ms: number) => hint(follower(dead(ms), ms));
  assertEquals(late(59_000)?.includes("it is removed at 22:13:21 UTC"), true);
  assertEquals(late(59_999)?.includes("it is removed at 22:13:20 UTC"), true);
  assertEquals(late(60_000)?.includes("it has been silent for 60 s or more"), true);
  const replaced = (...names: string[]) =>
    hint(follower(dead(20_000), 20_000, {}, names.map((name) => peer(name))))?.split("; ").at(-1);
  assertEquals(replaced("d"), '"d" takes its place');
  assertEquals(replaced("d", "e"), '"d", "e" take its place');
  const few = follower(dead(20_000), 20_000, { settings: settings({ requiredSize: 5 }) });
  assertEquals(
    hint(few),
    `${since}it stays a member, because 2 voters would be fewer than a quorum of -n 5, and no successor waits; ${noStandby}`,
  );
  const paused = follower(dead(20_000), 20_000, { settings: settings({ paused: true }) });
  assertEquals(hint(paused), `${since}it is not removed while automatic action is paused`);
  assertEquals(hint(follower(held("c"), 20_000)), `${since}its node is there: see e2d status on it`);
  assertEquals(hint(follower(held("c", "id-c"), 20_000)), removedAt("22:14:00"), "its etcd hangs");
  assertEquals(
    hint(follower(dead(20_000), 0)),
    'look at e2d on the machine of "c": it stays a member while its etcd answers',
  );
});
