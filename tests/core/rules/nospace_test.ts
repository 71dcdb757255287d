import { decideReclaim } from "../../../lib/core/rules/nospace.ts";
import { assertEquals } from "../../support/assert.ts";
import { alarm, answer, answering, member, view } from "../facts.ts";
import type { EtcdAnswer, EtcdMember } from "../../../lib/core/facts/cluster.ts";

const members = ["a", "b", "c"].map((name) => member(name));

/** a leads and is asked. */
function decide(changes: Readonly<Record<string, Partial<EtcdAnswer> | "silent">>) {
  const answers = new Map(members.map((each) => {
    const change = changes[each.name] ?? {};
    return [each.name, change === "silent" ? undefined : answer(each.name, members, change)] as const;
  }));
  const endpoints = new Map(
    members.flatMap((each) => {
      const given = answers.get(each.name);
      return given === undefined ? [] : [[each.clientUrls[0]!, answering(given)] as const];
    }),
  );
  return decideReclaim(view("a", { endpoints }), answers.get("a")!);
}

Deno.test("decideReclaim() reclaims space when any member is full, followers first and the own member last", () => {
  const wanted = [members[1], members[2], members[0]].map((each) => each!.clientUrls[0]);
  for (const alarms of [[alarm("NOSPACE", "a")], [alarm("NOSPACE", "c")]]) {
    const decision = decide({ a: { alarms } });
    assertEquals(decision.kind === "reclaim" && decision.endpoints, wanted);
  }
});

Deno.test("decideReclaim() does nothing without that alarm", () => {
  assertEquals(decide({}).kind, "nothing");
  assertEquals(decide({ a: { alarms: [alarm("CORRUPT", "x")] } }).kind, "nothing");
});

Deno.test("decideReclaim() stops no member while another one does not serve", () => {
  const full = { alarms: [alarm("NOSPACE", "a")] };
  for (
    const other of ["silent", { linearizable: false }, { alarms: [alarm("CORRUPT", "b")] }, {
      leaderId: "ffff",
    }] as const
  ) {
    const decision = decide({ a: full, b: other });
    assertEquals(decision.kind === "wait" && decision.reason.code, "nospace_waits");
  }
});

Deno.test("decideReclaim() defragments no member that may receive a snapshot, on a release that this can corrupt", () => {
  const full = { alarms: [alarm("NOSPACE", "a")], raftIndex: 10_000, raftAppliedIndex: 10_000 };
  const behind = (version: string) => decide({ a: full, b: { version, raftAppliedIndex: 8_000 }, c: full });
  const decision = behind("3.6.4");
  assertEquals(decision.kind === "wait" && decision.reason.code, "nospace_waits");
  assertEquals(behind("3.6.5").kind, "reclaim");
});

Deno.test("decideReclaim() names the member that does not serve, and asks the own etcd's answer alone about itself", () => {
  const full = answer("a", members, { alarms: [alarm("NOSPACE", "a")] });
  const others = new Map(["b", "c"].map((name) => [`http://${name}:2379`, answering(answer(name, members))] as const));
  assertEquals(decideReclaim(view("a", { endpoints: others }), full), {
    kind: "reclaim",
    endpoints: ["http://b:2379", "http://c:2379", "http://a:2379"],
    reason: {
      code: "database_full",
      text: "the database is full: old revisions are forgotten, members defragmented, the alarm is disarmed",
    },
  });
  const text = (of: Partial<EtcdMember>) => {
    const list = members.map((each) => each.id === "id-b" ? { ...each, ...of } : each);
    const decision = decideReclaim(view("a", { endpoints: others }), { ...full, members: list });
    return decision.kind === "wait" ? decision.reason.text.slice(0, 35) : decision.kind;
  };
  assertEquals(text({ clientUrls: [] }), 'the database is full, and "b" does ');
  assertEquals(text({ name: "", clientUrls: [] }), 'the database is full, and "id-b" do');
  const unlisted = { ...full, members: members.slice(1) };
  assertEquals(decideReclaim(view("a", { endpoints: others }), unlisted), { kind: "nothing" });
});
