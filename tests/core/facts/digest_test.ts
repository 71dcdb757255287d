import { digestOf } from "../../../lib/core/facts/digest.ts";
import { assert, assertEquals } from "../../support/assert.ts";

Deno.test("digestOf() gives the same value on every node and in every release: approvals and nonces are named by it", () => {
  assertEquals(digestOf(), "027ae52ecfc796215593990d4b41437c");
  assertEquals(digestOf("a"), "ea3320b0ed527f6bf96f7626c7ccb330");
  assertEquals(digestOf("end life", "token of one", "ü"), "c2c5596bf9aa838c9d26e901cd8eb9f0");
  assertEquals(digestOf("x".repeat(1_000)), "515d0bd9cb520185d14e481487fe6fe5");
});

Deno.test("digestOf() tells lists of parts apart that join to the same text", () => {
  const lists = [["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""], ["", "abc"], ["1:a", "b"], ["1:a1:b"], [], [""]];
  const digests = lists.map((parts) => digestOf(...parts));
  assertEquals(new Set(digests).size, lists.length);
  for (const digest of digests) assert(/^[0-9a-f]{32}$/.test(digest), digest);
});
