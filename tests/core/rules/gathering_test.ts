import { gatheredText, unaccounted } from "../../../lib/core/rules/gathering.ts";
import { assertEquals } from "../../support/assert.ts";
import { peer, settings, view } from "../facts.ts";

Deno.test("unaccounted() names every known address at which nobody lives: bootstrap peers and remembered ones", () => {
  const seen = view("a", {
    settings: settings({ seeds: ["a:7980", "b:7980", "x:7980"] }),
    peers: [peer("b"), peer("c", { state: "suspect" }), peer("d", { state: "dead" })],
  });
  assertEquals(unaccounted(seen), ["x:7980", "c:7980", "d:7980"]);
});

Deno.test("gatheredText() names five silent bootstrap addresses at most, and no others", () => {
  const text = (names: string) =>
    gatheredText(
      1,
      view("a", { settings: settings({ seeds: names.split("") }), peers: [peer("z", { state: "dead" })] }),
    );
  assertEquals(text(""), "1 of 3 nodes have gathered");
  assertEquals(text("cb"), "1 of 3 nodes have gathered; no answer from b, c");
  assertEquals(text("fedcb"), "1 of 3 nodes have gathered; no answer from b, c, d, e, f");
  assertEquals(text("hgfedcb"), "1 of 3 nodes have gathered; no answer from b, c, d, e, f and 2 more");
});
