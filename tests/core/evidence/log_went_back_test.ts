import fc from "fast-check";
import { logWentBack, seenLogs, withAnswer } from "../../../lib/core/evidence/log_went_back.ts";
import { decideStart } from "../../../lib/core/rules/start/start.ts";
import type { View } from "../../../lib/core/facts/view.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { answer, data, facts, member, peer, settings, view } from "../facts.ts";
import type { MemberAnswer } from "../../../lib/core/facts/cluster.ts";

const members = ["a", "b", "c"].map((name) => member(name));

Deno.test("withAnswer() does not count an index as stored that a power failure may still lose", () => {
  // One raft Ready a step: its committed index is published, then its entries are synced. A crash loses what is unsynced.
  fc.assert(
    fc.property(
      fc.array(fc.record({ entries: fc.nat(3), asked: fc.nat(2), crash: fc.boolean() }), { maxLength: 40 }),
      (readies) => {
        let synced = 1;
        let crashes = 0;
        let known: ReadonlyMap<string, MemberAnswer> = new Map();
        for (const { entries, asked, crash } of readies) {
          const committed = synced + entries;
          for (let i = 0; i < asked; i++) known = withAnswer(known, answer("c", members, { raftIndex: committed }), 0);
          // At most one such crash between two answers that differ: the known limit.
          if (crash && crashes++ === 0 && asked > 0) continue;
          synced = committed;
        }
        return (known.get("id-c")?.storedIndex ?? 0) <= synced;
      },
    ),
    { seed: 17, numRuns: 300 },
  );
});

Deno.test("withAnswer() forgets what another cluster's member of the same id reported", () => {
  let known = withAnswer(new Map(), answer("c", members, { raftIndex: 10 }), 1);
  known = withAnswer(known, answer("c", members, { raftIndex: 20 }), 2);
  assertEquals(known.get("id-c")?.storedIndex, 10);
  known = withAnswer(known, answer("c", members, { raftIndex: 5, clusterId: "c2" }), 3);
  assertEquals(known.get("id-c")?.storedIndex, 0);
});

Deno.test("seenLogs() keeps the highest index of each listed member of one cluster", () => {
  const record = {
    nonce: "n",
    pledges: [],
    logs: { clusterId: "c1", members: [{ memberId: "id-b", index: 9 }, { memberId: "id-old", index: 4 }] },
  };
  const known = new Map([
    ["id-b", { clusterId: "c1", atMs: 0, raftIndex: 9, storedIndex: 7 }],
    ["id-c", { clusterId: "c1", atMs: 0, raftIndex: 9, storedIndex: 8 }],
    ["id-x", { clusterId: "c2", atMs: 0, raftIndex: 9, storedIndex: 8 }],
  ]);
  const listed = new Set(["id-b", "id-c"]);
  assertEquals(seenLogs(record, known, { clusterId: "c1", listed })?.members, [
    { memberId: "id-b", index: 9 },
    { memberId: "id-c", index: 8 },
  ]);
  assertEquals(seenLogs(record, new Map(), { clusterId: "c3", listed }), undefined);
  const unlisted = seenLogs(record, known, { clusterId: "c1", listed: new Set() });
  assertEquals(
    unlisted?.members.map(({ memberId }) => memberId),
    ["id-b", "id-c", "id-old"],
    "none of another cluster",
  );
});

const logs = (index: number, clusterId = "c1") => ({ clusterId, members: [{ memberId: "id-c", index }] });

function back(index: number, change: Partial<View> = {}): View {
  return view("c", {
    data: data("c", members, { lastLog: { term: 2, index: 100 }, raftIndex: 90 }),
    peers: [peer("a", { facts: facts("a", { logs: logs(index) }) })],
    ...change,
  });
}

function outcome(seen: View): string {
  const { kind, reason } = decideStart(seen);
  return kind === "wait" ? reason.code : kind;
}

Deno.test("decideStart() starts no member whose log ends before a peer, or its own record, saw it reach", () => {
  assertEquals(outcome(back(100)), "restart");
  assertEquals(outcome(back(101)), "log_went_back");
  assertEquals(outcome(back(101, { peers: [] })), "restart");
  const record = { nonce: "n", pledges: [], logs: logs(101) };
  assertEquals(outcome(back(0, { record })), "log_went_back");
  assertEquals(outcome(back(0, { record: { ...record, logs: logs(101, "c2") } })), "restart");
  // After a snapshot from the leader the log may end before what is applied.
  const applied = data("c", members, { lastLog: { term: 2, index: 10 }, raftIndex: 150 });
  assertEquals(outcome(back(120, { data: applied })), "restart");
});

Deno.test("decideStart() lets an operator approve: a voter among others joins anew, a single one starts from what it has", () => {
  const approved = (seen: View) => {
    const plan = decideStart(seen).reason.choices![0]!.plan;
    return outcome({ ...seen, settings: settings({ approved: [plan] }) });
  };
  assertEquals(approved(back(101)), "quarantine");
  const alone = [member("c")];
  const single = back(0, {
    data: data("c", alone, { lastLog: { term: 2, index: 100 } }),
    record: { nonce: "n", pledges: [], logs: logs(101) },
    settings: settings({ requiredSize: 1 }),
    peers: [],
  });
  assertEquals(outcome(single), "log_went_back");
  assertEquals(approved(single), "restart");
  assert(decideStart(single).reason.hint!.includes("what was written later is lost"));
  assertEquals(logWentBack(single), { ownIndex: 100, seenIndex: 101, witness: "this node" });
});

Deno.test("withAnswer() takes the index before a higher one for stored, and forgets who answered longest ago", () => {
  const told = (...indexes: number[]) => {
    let known: ReadonlyMap<string, MemberAnswer> = new Map();
    for (const raftIndex of indexes) known = withAnswer(known, answer("c", members, { raftIndex }), 5);
    return known.get("id-c");
  };
  assertEquals(told(10), { clusterId: "c1", atMs: 5, raftIndex: 10, storedIndex: 0 });
  assertEquals(told(10, 10)?.storedIndex, 0);
  assertEquals(told(10, 11)?.storedIndex, 10);
  assertEquals(told(10, 20, 15, 16)?.storedIndex, 15);
  let many: ReadonlyMap<string, MemberAnswer> = new Map();
  const hear = (name: string) => many = withAnswer(many, answer(name, []), 0);
  for (let at = 0; at < 64; at++) hear(`m${at}`);
  assertEquals(many.size, 64);
  hear("m0");
  hear("new");
  assertEquals([many.size, many.has("id-m0"), many.has("id-m1"), many.has("id-m2")], [64, true, false, true]);
});

Deno.test("seenLogs() names no index that is not known, and every member where no list is known", () => {
  const record = { nonce: "n", pledges: [] };
  const of = (storedIndex: number) => ({ clusterId: "c1", atMs: 0, raftIndex: 9, storedIndex });
  const all = new Map([["id-c", of(3)], ["id-b", of(0)], ["id-a", of(1)]]);
  assertEquals(seenLogs(record, all, { clusterId: "c1", listed: new Set() })?.members, [
    { memberId: "id-a", index: 1 },
    { memberId: "id-c", index: 3 },
  ]);
  assertEquals(seenLogs(record, new Map([["id-b", of(0)]]), { clusterId: "c1", listed: new Set() }), undefined);
  const kept = { ...record, logs: { clusterId: "c1", members: [{ memberId: "id-c", index: 7 }] } };
  assertEquals(seenLogs(kept, all, { clusterId: "c1", listed: new Set(["id-c"]) })?.members, [
    { memberId: "id-c", index: 7 },
  ]);
});

Deno.test("logWentBack() names the witness that saw most, among peers that are here", () => {
  const other = peer("b", { facts: facts("b", { logs: logs(300) }) });
  const seen = back(200);
  assertEquals(logWentBack({ ...seen, peers: [...seen.peers, other] }), {
    ownIndex: 100,
    seenIndex: 300,
    witness: '"b"',
  });
  assertEquals(logWentBack({ ...seen, peers: [other, ...seen.peers] })?.witness, '"b"');
  assertEquals(logWentBack({ ...seen, peers: [{ ...other, state: "suspect" }] })?.witness, '"b"');
  assertEquals(logWentBack({ ...seen, peers: [{ ...other, state: "dead" }] }), undefined);
  const elsewhere = peer("b", {
    facts: facts("b", { logs: { clusterId: "c1", members: [{ memberId: "id-x", index: 300 }] } }),
  });
  assertEquals(logWentBack({ ...seen, peers: [elsewhere] }), undefined);
  const record = { nonce: "n", pledges: [], logs: logs(200) };
  assertEquals(logWentBack({ ...seen, record })?.witness, "this node", "the first of those that saw as much");
  const emptied = data("c", members, { lastLog: { term: 0, index: 0 }, raftIndex: 0 });
  assertEquals(logWentBack({ ...back(1), data: emptied }), { ownIndex: 0, seenIndex: 1, witness: '"a"' });
  assertEquals(logWentBack({ ...seen, data: emptied, peers: [elsewhere] }), undefined, "nobody saw this member");
  assertEquals(logWentBack({ ...seen, data: { kind: "absent" } }), undefined);
  assertEquals(logWentBack({ ...seen, data: data("c", members) }), undefined, "the end of its log was not read");
});
