import { allPages } from "../../lib/cloud/pages.ts";
import { assertE2dError, assertEquals } from "../support/assert.ts";

Deno.test("allPages() joins the pages in order, an empty one among them", async () => {
  const pages = [[1, 2], [], [3]];
  const found = await allPages<number, number>(
    "count",
    (page = 0) => Promise.resolve({ items: pages[page]!, next: page + 1 < pages.length ? page + 1 : undefined }),
  );
  assertEquals(found, [1, 2, 3]);
});

Deno.test("allPages() refuses pages that lead in a circle at the first repetition", async () => {
  let asked = 0;
  const circle: Record<string, string> = { first: "a", a: "b", b: "a" };
  const error = await assertE2dError("cloud_answer", () =>
    allPages<number, string>("count", (page = "first") => {
      asked++;
      return Promise.resolve({ items: [], next: circle[page] });
    }));
  assertEquals(error.message, "Cannot count: the pages of the response do not end");
  assertEquals(asked, 3);
});

Deno.test("allPages() refuses pages without end", async () => {
  let asked = 0;
  await assertE2dError(
    "cloud_answer",
    () => allPages<number, number>("count", () => Promise.resolve({ items: [], next: ++asked })),
  );
  assertEquals(asked, 1001);
});
