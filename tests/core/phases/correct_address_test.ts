import { correctAddress } from "../../../lib/core/phases/correct_address.ts";
import type { EtcdAnswer, EtcdMember } from "../../../lib/core/facts/cluster.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, answering, data, member, nowMs, peer, silent, type StateChange } from "../facts.ts";
import { linesOf, problemOf, requestsOf, turnOf } from "../turns.ts";

const old = member("a", { peerUrls: ["http://old:2380"], clientUrls: ["http://old:2379"] });
const moved = [member("b"), old, member("c")];
const present = [member("b"), member("a"), member("c")];

/** Node a runs; its own etcd and that of b answer so. */
function corrected(
  own: Partial<EtcdAnswer> | undefined,
  b: Partial<EtcdAnswer> | undefined,
  members: readonly EtcdMember[],
  ...changes: readonly StateChange[]
) {
  const endpoints = new Map([["http://old:2379", silent(nowMs - 5_000)]]);
  const leader = { leaderId: "id-b" };
  if (own !== undefined) endpoints.set("http://a:2379", answering(answer("a", members, { ...leader, ...own })));
  if (b !== undefined) endpoints.set("http://b:2379", answering(answer("b", members, { ...leader, ...b })));
  const peers = [peer("b"), peer("c")];
  const problems = ["member_runs_twice", "address_taken"].map((code) =>
    [
      code,
      { level: "error", reason: { code, text: "before" } },
    ] as const
  );
  const turn = turnOf([
    {
      disk: { data: data("a", moved) },
      gossip: { peers, known: peers },
      membership: { endpoints, raft: { kind: "unreadable", atMs: nowMs } },
      reports: { problems: new Map(problems) },
    },
    ...changes,
  ]);
  correctAddress(turn);
  const [request] = requestsOf(turn);
  return [
    request?.kind === "memberUpdate"
      ? `${request.via.join(" ")} ${request.memberId} ${request.peerUrl}`
      : request?.kind,
    turn.node.reports.problems.size,
    linesOf(turn).filter((line) => line.includes("updateAddress")).length,
  ];
}

Deno.test("correctAddress() registers the present address through the own etcd, else through a member with a leader", () => {
  const via = (url: string) => [`${url} id-a http://a:2380`, 0, 1];
  assertEquals(corrected({}, {}, moved), via("http://a:2379"));
  assertEquals(corrected({ linearizable: false }, {}, moved), via("http://b:2379"));
  assertEquals(corrected({ leaderId: undefined } as unknown as EtcdAnswer, {}, moved), via("http://b:2379"));
  assertEquals(corrected(undefined, {}, moved), via("http://b:2379"));
});

Deno.test("correctAddress() registers nothing where it is registered, the list is not known, or a stop forbids it", () => {
  const nothing = [undefined, 2, 0];
  assertEquals(corrected({}, {}, present), [undefined, 0, 0], "the reports of a wrong address end");
  assertEquals(corrected(undefined, undefined, moved), nothing);
  assertEquals(corrected(undefined, { clusterId: "c2" }, moved), nothing, "another cluster's list");
  assertEquals(corrected({ linearizable: false }, { linearizable: false }, moved), nothing);
  const other = (name: string) => [`http://${name}:2379`, answering(answer(name, moved, { clusterId: name }))] as const;
  const two = { membership: { endpoints: new Map([other("b"), other("c")]) } };
  assertEquals(corrected(undefined, undefined, moved, two), nothing, "two other clusters");
  assertEquals(corrected({}, {}, [member("b"), member("c")]), nothing, "it is no member");
  assertEquals(corrected({}, {}, moved, { disk: { data: { kind: "unknown" } } }), nothing);
  assertEquals(corrected({ pause: { paused: true, version: 1 } }, {}, moved), nothing);
  const busy: StateChange = { effects: { inFlight: new Map([["cluster", { kind: "moveLeader", id: 1, to: "" }]]) } };
  assertEquals(corrected({}, {}, moved, busy), [undefined, 0, 0]);
  const turn = turnOf();
  correctAddress(turn);
  assertEquals(turn.effects, []);
});

Deno.test("correctAddress() reports a member that runs twice as an ERROR, and waits quietly for what passes", () => {
  const told = (...changes: readonly StateChange[]) => {
    const endpoints = new Map([["http://a:2379", answering(answer("a", moved, { leaderId: "id-b" }))]]);
    const turn = turnOf([{ disk: { data: data("a", moved) }, membership: { endpoints } }, ...changes]);
    correctAddress(turn);
    return [requestsOf(turn).length, [...turn.node.reports.problems.keys()].join(" "), turn.node.reports.waitingFor];
  };
  assertEquals(told(), [0, "", undefined], "the former address was not asked yet");
  const twice = {
    membership: {
      endpoints: new Map([
        ["http://a:2379", answering(answer("a", moved, { leaderId: "id-b" }))],
        ["http://old:2379", answering(answer("a", moved))],
      ]),
    },
  };
  assertEquals(told(twice), [0, "member_runs_twice", undefined]);
  const turn = turnOf([{ disk: { data: data("a", moved) } }, twice]);
  correctAddress(turn);
  assertEquals(problemOf(turn, "member_runs_twice")?.startsWith("error ready: "), true);
});
