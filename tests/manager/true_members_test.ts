import { falseMembers, requireTrueMembers } from "../../lib/manager/true_members.ts";
import { data, member } from "../core/facts.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";

const members = ["a", "b"].map((name) => member(name));

Deno.test("falseMembers() keeps etcd 3.6 and later off a list that calls a member removed, and lets 3.5 go on", async () => {
  const contradictory = data("a", members, { contradictory: ["id-b"] });
  for (const version of ["3.6.14", "3.7.3"]) {
    assert(falseMembers(contradictory, version)?.includes("(b)"), version);
    const error = await assertE2dError("members_contradict", () => requireTrueMembers(contradictory, version));
    assert(error.hint?.includes("move the data-dir aside"));
  }
  for (const version of ["3.4.23", "3.5.33"]) assertEquals(falseMembers(contradictory, version), undefined);
  assertEquals(falseMembers(data("a", members, { contradictory: [] }), "3.6.14"), undefined);
  assertEquals(falseMembers(data("a", members), "3.6.14"), undefined);
  assertEquals(falseMembers({ kind: "absent" }, "3.6.14"), undefined);
});
