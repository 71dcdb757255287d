import { isPresent } from "../../../lib/core/facts/peer.ts";
import { assertEquals } from "../../support/assert.ts";

Deno.test("isPresent() is true of a peer that gossip has not given up", () => {
  const states = ["alive", "suspect", "dead", "left"] as const;
  assertEquals(states.filter((state) => isPresent({ state })), ["alive", "suspect"]);
});
