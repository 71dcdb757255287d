import {
  membershipContradiction,
  requireConsistentMembers,
} from "../../lib/manager/data_dir/membership_contradiction.ts";
import { data, member } from "../core/facts.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";

const members = ["a", "b"].map((name) => member(name));

Deno.test("membershipContradiction() rejects a contradictory member list for etcd 3.6 and later, not for 3.5", async () => {
  const contradictory = data("a", members, { contradictory: ["id-b"] });
  for (const version of ["3.6.14", "3.7.3"]) {
    assert(membershipContradiction(contradictory, version)?.includes("(b)"), version);
    const error = await assertE2dError("members_contradict", () => requireConsistentMembers(contradictory, version));
    assert(error.hint?.includes("rename the data-dir"));
  }
  for (const version of ["3.4.23", "3.5.33"]) assertEquals(membershipContradiction(contradictory, version), undefined);
  assertEquals(membershipContradiction(data("a", members, { contradictory: [] }), "3.6.14"), undefined);
  assertEquals(membershipContradiction(data("a", members), "3.6.14"), undefined);
  assertEquals(membershipContradiction({ kind: "absent" }, "3.6.14"), undefined);
});
