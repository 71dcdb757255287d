import { compareLogs } from "../../../lib/core/evidence/log_position.ts";
import { assertEquals } from "../../support/assert.ts";

Deno.test("compareLogs() orders logs by the term, then by the index, as raft votes", () => {
  const logs = [[3, 1], [2, 9], [2, 5], [1, 50]].map(([term, index]) => ({ term: term!, index: index! }));
  assertEquals(logs.toSorted(compareLogs).map(({ term, index }) => `${term}/${index}`), ["1/50", "2/5", "2/9", "3/1"]);
  assertEquals(compareLogs({ term: 2, index: 5 }, { term: 2, index: 5 }), 0);
});
