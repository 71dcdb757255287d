import { decideRoom } from "../../lib/core/make_room.ts";
import type { EtcdAnswer } from "../../lib/core/view.ts";
import { assertEquals } from "../support/assert.ts";
import { answer, answering, member, view } from "./facts.ts";

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
  return decideRoom(view("a", { endpoints }), answers.get("a")!);
}

Deno.test("decideRoom() makes room when any member is full, followers first and the own member last", () => {
  const wanted = [members[1], members[2], members[0]].map((each) => each!.clientUrls[0]);
  for (const alarms of [["NOSPACE"], [`NOSPACE of ${members[2]!.id}`]]) {
    const decision = decide({ a: { alarms } });
    assertEquals(decision.kind === "make" && decision.endpoints, wanted);
  }
});

Deno.test("decideRoom() does nothing without that alarm", () => {
  assertEquals(decide({}).kind, "nothing");
  assertEquals(decide({ a: { alarms: ["CORRUPT of 1"] } }).kind, "nothing");
});

Deno.test("decideRoom() stops no member while another one does not serve", () => {
  const full = { alarms: ["NOSPACE"] };
  for (
    const other of ["silent", { linearizable: false }, { alarms: ["CORRUPT"] }, { leaderId: "ffff" }] as const
  ) {
    const decision = decide({ a: full, b: other });
    assertEquals(decision.kind === "wait" && decision.reason.code, "room_waits");
  }
});
