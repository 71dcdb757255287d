/** Queries: against a model in memory, at one revision, in a bounded number of round trips. */
import fc from "fast-check";
import { type Db, field, open, type Query, type Table } from "../../../lib/e2db/mod.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { assertDbError } from "./assert_db_error.ts";
import { CountingKv } from "./counting_kv.ts";
import { type DbCase, dbCases } from "./table_suite.ts";

const fields = {
  id: field.increment(),
  n: field.number().index(),
  s: field.string().index(),
  u: field.string().unique(),
  d: field.date().index(),
  b: field.boolean().index(),
  plain: field.number(),
};

interface Row {
  id: number;
  n: number | null;
  s: string | null;
  u: string | null;
  d: Date | null;
  b: boolean | null;
  plain: number | null;
}
type Rows = Table<Row, Partial<Row>, number>;

const number = fc.constantFrom(-Infinity, -1e300, -2.5, -1, -5e-324, 0, 5e-324, 1, 2, 2.5, 1e300, Infinity);
const text: fc.Arbitrary<string> = fc.constantFrom(
  "",
  "\0",
  "a",
  "a\0",
  "a\0b",
  "ab",
  "b",
  "\u007f",
  "é",
  "\uffff",
  "😀",
  "😀a",
);
const date = fc.constantFrom(-1e12, -1, 0, 1, 1e12).map((ms) => new Date(ms));
const rowArbitrary = fc.record({
  n: fc.option(number),
  s: fc.option(text),
  d: fc.option(date),
  b: fc.option(fc.boolean()),
  plain: fc.option(fc.constantFrom(1, 2, 3)),
});

/** A condition for the database, and the same condition as a plain function. */
interface Twin {
  query: (rows: Rows) => Query<Row>;
  holds: (row: Row) => boolean;
}

/** By code point, not by UTF-16 unit. */
const compareText = (a: string, b: string) => {
  const [x, y] = [[...a], [...b]];
  for (let i = 0; i < Math.min(x.length, y.length); i++) {
    const difference = x[i]!.codePointAt(0)! - y[i]!.codePointAt(0)!;
    if (difference !== 0) return difference;
  }
  return x.length - y.length;
};

const compare = (a: unknown, b: unknown): number => {
  if (a === null || b === null) return Number(a !== null) - Number(b !== null);
  if (typeof a === "string") return compareText(a, b as string);
  return a === b ? 0 : (a as number) < (b as number) ? -1 : +((a as number) > (b as number));
};

const leaf: fc.Arbitrary<Twin> = fc.oneof(
  fc.record({ op: fc.constantFrom("lt", "lte", "gt", "gte", "eq", "ne"), value: number }).map((
    { op, value },
  ): Twin => ({
    query: (rows) => rows.where("n")[op as "lt"](value),
    holds: ({ n }) => {
      if (op === "ne") return n !== value;
      if (n === null) return false;
      return { lt: n < value, lte: n <= value, gt: n > value, gte: n >= value, eq: n === value }[op]!;
    },
  })),
  fc.tuple(text, text).map(([low, high]): Twin => ({
    query: (rows) => rows.where("s").between(low, high),
    holds: ({ s }) => s !== null && compareText(s, low) >= 0 && compareText(s, high) <= 0,
  })),
  text.map((prefix): Twin => ({
    query: (rows) => rows.where("s").startsWith(prefix),
    holds: ({ s }) => s !== null && s.startsWith(prefix),
  })),
  fc.array(fc.option(text), { maxLength: 3 }).map((values): Twin => ({
    query: (rows) => rows.where("s").in(values),
    holds: ({ s }) => values.includes(s),
  })),
  fc.array(fc.nat(30), { maxLength: 4 }).map((ids): Twin => ({
    query: (rows) => rows.where("id").in(ids),
    holds: ({ id }) => ids.includes(id),
  })),
  fc.constantFrom("u1", "u2", "u7", "none").map((value): Twin => ({
    query: (rows) => rows.where("u").gte(value),
    holds: ({ u }) => u !== null && u >= value,
  })),
  date.map((value): Twin => ({
    query: (rows) => rows.where("d").lt(value),
    holds: ({ d }) => d !== null && d < value,
  })),
  fc.boolean().map((value): Twin => ({ query: (rows) => rows.where("b").eq(value), holds: ({ b }) => b === value })),
  fc.constantFrom("n", "u", "d", "plain").map((name): Twin => ({
    query: (rows) => rows.where(name as "n").isNull(),
    holds: (row) => row[name as "n"] === null,
  })),
  fc.constantFrom(1, 2).map((value): Twin => ({
    query: (rows) => rows.where("plain").eq(value),
    holds: ({ plain }) => plain === value,
  })),
);

const { condition } = fc.letrec<{ condition: Twin }>((tie) => ({
  condition: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    leaf,
    fc.tuple(tie("condition"), tie("condition")).map(([a, b]): Twin => ({
      query: (rows) => a.query(rows).and(b.query(rows)),
      holds: (row) => a.holds(row) && b.holds(row),
    })),
    fc.tuple(tie("condition"), tie("condition")).map(([a, b]): Twin => ({
      query: (rows) => a.query(rows).or(b.query(rows)),
      holds: (row) => a.holds(row) || b.holds(row),
    })),
    tie("condition").map((a): Twin => ({
      query: (rows) => a.query(rows).not(),
      holds: (row) => !a.holds(row),
    })),
  ),
}));

const orderNames = ["id", "n", "s", "u", "d", "b", "plain"] as const;
const queryArbitrary = fc.record({
  condition: fc.option(condition, { nil: undefined }),
  orderBy: fc.constantFrom(...orderNames),
  reverse: fc.boolean(),
  skip: fc.nat(5),
  limit: fc.option(fc.nat(12), { nil: undefined }),
});

function expected(
  rows: readonly Row[],
  { condition, orderBy, reverse }: Pick<QueryCase, "condition" | "orderBy" | "reverse">,
) {
  const found = rows.filter((row) => condition === undefined || condition.holds(row))
    .sort((a, b) => compare(a[orderBy], b[orderBy]) || a.id - b.id);
  return reverse ? found.reverse() : found;
}

interface QueryCase {
  condition: Twin | undefined;
  orderBy: typeof orderNames[number];
  reverse: boolean;
  skip: number;
  limit: number | undefined;
}

function build(rows: Rows, { condition, orderBy, reverse }: QueryCase): Query<Row> {
  const query = (condition?.query(rows) ?? rows.query()).scan().orderBy(orderBy);
  return reverse ? query.reverse() : query;
}

const ids = (rows: readonly { id: number }[]) => rows.map((row) => row.id);
export const seed = 20_261_123;

async function fill(db: Db, rows: readonly Partial<Row>[]): Promise<Rows> {
  const table = await db.table("rows", fields) as Rows;
  await table.deleteAll();
  await table.insertMany(rows.map((row, index) => ({ ...row, u: index % 4 === 0 ? null : `u${index}` })));
  return table;
}

/** `runs` sets of rows, each with ten queries. */
export const queryCases = (runs: number): DbCase[] =>
  dbCases((test) => {
    test(`every query returns the same as a filter and a sort in memory (seed ${seed})`, async (db) => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(rowArbitrary, { maxLength: 24 }),
          fc.array(queryArbitrary, { minLength: 10, maxLength: 10 }),
          fc.boolean(),
          async (content, queries, within) => {
            const table = await fill(db, content);
            const stored = await table.all();
            assertEquals(stored.length, content.length);
            const check = async (rows: Rows, model: readonly Row[]) => {
              for (const one of queries) {
                const query = build(rows, one);
                const all = expected(model, one);
                const end = one.limit === undefined ? undefined : one.skip + one.limit;
                const part = query.skip(one.skip);
                const limited = one.limit === undefined ? part : part.limit(one.limit);
                assertEquals(ids(await limited.all()), ids(all.slice(one.skip, end)), limited.explain());
                assertEquals(await limited.count(), all.length, limited.explain());
                const paged: Row[] = [];
                for (let cursor: string | undefined = "", page = query.limit(3); cursor !== undefined;) {
                  const { rows: some, cursor: next } = await page.page();
                  paged.push(...some);
                  assert(next === undefined || some.length === 3);
                  cursor = next;
                  if (next !== undefined) page = query.limit(3).after(next);
                }
                assertEquals(ids(paged), ids(all), `in pages: ${query.explain()}`);
              }
            };
            await check(table, stored);
            if (!within) return;
            // Within a transaction, including its own changes.
            const abandon = new Error("abandoned on purpose");
            await assertRejects(abandon, () =>
              db.transaction(async (tx) => {
                const inside = tx.table(table);
                for (const { id } of stored.slice(0, 3)) await inside.delete(id);
                for (const { id } of stored.slice(3, 6)) await inside.update(id, { n: 1, s: "a", plain: 1 });
                const extra = await inside.insert({ n: 0, s: "ab", b: true });
                const changed = stored.slice(3).map((row, index) =>
                  index < 3 ? { ...row, n: 1, s: "a", plain: 1 } : row
                );
                await check(inside, [...changed, extra]);
                throw abandon;
              }));
          },
        ),
        { seed, numRuns: runs },
      );
    });

    test("a query reads all its pages at one revision", async (db) => {
      const table = await fill(db, Array.from({ length: 300 }, (_, n) => ({ n })));
      let seen = 0;
      for await (const row of table.orderBy("n")) {
        if (seen++ === 0) {
          await table.where("n").gte(200).delete();
          await table.insert({ n: 150.5 });
        }
        assert(Number.isInteger(row.n));
      }
      assertEquals(seen, 300);
      assertEquals(await table.count(), 201);
    });

    test(
      "round trips are bounded: one forward, two backward, one for a count, whatever the table's size",
      async (db, under) => {
        const table = await fill(db, Array.from({ length: 600 }, (_, n) => ({ n, s: n % 2 ? "odd" : "even" })));
        assert(table !== undefined);
        const counting = new CountingKv(under.kv);
        const counted = await (await open({ kv: counting.kv, namespace: under.namespace })).table("rows", fields);
        const costs: [number, () => Promise<unknown>][] = [
          [1, () => counted.find(7)],
          [1, () => counted.findBy("u", "u5")],
          [1, () => counted.orderBy("n").limit(100).all()],
          [1, () => counted.where("n").between(100, 300).orderBy("n").skip(20).limit(100).all()],
          [2, () => counted.orderBy("n").reverse().limit(100).all()],
          [2, () => counted.where("n").lt(500).orderBy("n").reverse().skip(10).limit(20).all()],
          [1, () => counted.where("n").in([5, 500, 50]).all()],
          [1, () => counted.where("id").eq(3).or(counted.where("id").eq(4)).all()],
          [1, () => counted.count()],
          [1, () => counted.where("s").eq("odd").count()],
          [1, () => counted.where("s").eq("odd").limit(50).all()],
          [2, () => counted.where("id").eq(3).or(counted.where("u").eq("u5")).all()],
          // 128 rows, then as many as fill 2 MiB, at most 5,000.
          [2, () => counted.all()],
          [2, () => counted.update(9, { n: -1 })],
          [1, () => counted.insert({ id: 5_000, n: 1 }).then(() => {}, () => {})],
          [2, () => counted.delete(5_000)],
        ];
        for (const [index, [cost, action]] of costs.entries()) {
          // A given id needs one read of the counter.
          const extra = index === costs.length - 2 ? 1 : 0;
          assertEquals(await counting.during(action), cost + extra, `case ${index}: ${action}`);
        }
      },
    );

    test(
      "in a table of 6,000 rows a limited query costs two round trips, and etcd counts under 1,000 keys for it",
      async (db, under) => {
        const shape = { id: field.increment(), n: field.number().index(), state: field.string().index() };
        const made = await db.table("wide", shape);
        const all = Array.from(
          { length: 6_000 },
          (_, index) => ({ n: (index * 7) % 1_000, state: index % 50 ? "done" : "new" }),
        );
        // Sequentially, so that ids, and therefore samples, are reproducible.
        await made.insertMany(all);
        const rows = await made.all();
        const counting = new CountingKv(under.kv);
        const table = await (await open({ kv: counting.kv, namespace: under.namespace })).table("wide", shape);
        await table.count();
        await table.orderBy("n").limit(1).all();
        await table.where("state").eq("done").limit(1).all();
        const sorted = rows.toSorted((a, b) => a.n! - b.n! || a.id - b.id);
        const from = sorted.filter((row) => row.n! >= 300);
        const done = rows.filter((row) => row.state === "done").map((row) => row.id);
        const cases: [Query<typeof rows[number]>, number[]][] = [
          [table.orderBy("n").limit(100), ids(sorted).slice(0, 100)],
          [table.orderBy("n").skip(50).limit(10), ids(sorted).slice(50, 60)],
          [table.where("n").gte(300).orderBy("n").limit(100), ids(from).slice(0, 100)],
          [table.orderBy("n").reverse().limit(100), ids(sorted).reverse().slice(0, 100)],
          [
            table.where("n").lt(300).orderBy("n").reverse().limit(1),
            ids(sorted).filter((id) => !ids(from).includes(id)).slice(-1),
          ],
          [table.where("state").eq("done").orderBy("id").limit(20), done.slice(0, 20)],
          [table.orderBy("id").reverse().limit(3), ids(rows).slice(-3).reverse()],
          [table.where("id").gt(5_990), ids(rows).slice(-10)],
        ];
        for (const [query, expected] of cases) {
          counting.countedMost = 0;
          const cost = await counting.during(async () =>
            assertEquals(ids(await query.all()), expected, query.explain())
          );
          assert(cost <= 2, `${cost} round trips for ${query.explain()}`);
          assert(counting.countedMost < 1_000, `${counting.countedMost} keys counted for ${query.explain()}`);
        }
        const paged: number[] = [];
        for await (const row of table.orderBy("n").reverse()) paged.push(row.id);
        assertEquals(paged, ids(sorted).reverse());
      },
    );

    test("k large rows cost one more round trip for each 128 of them or 4 MiB", async (db, under) => {
      const large = await db.table("large", {
        id: field.increment(),
        tag: field.string().index(),
        body: field.string(),
      });
      await large.insertMany(Array.from({ length: 200 }, () => ({ tag: "x", body: "y".repeat(3_000) })));
      const counting = new CountingKv(under.kv);
      const counted = await (await open({ kv: counting.kv, namespace: under.namespace })).table("large", {
        id: field.increment(),
        tag: field.string().index(),
        body: field.string(),
      });
      const query = counted.where("tag").eq("x").limit(200);
      assertEquals(await counting.during(async () => assertEquals((await query.all()).length, 200)), 1 + 2);
    });

    test("a cursor of another query is refused", async (db) => {
      const table = await fill(db, [{ n: 1 }, { n: 2 }, { n: 3 }]);
      const { cursor } = await table.orderBy("n").limit(1).page();
      const others = [table.orderBy("s"), table.orderBy("n").reverse(), table.where("id").gt(0)];
      for (const other of others) await assertDbError("bad_cursor", () => other.after(cursor!).page());
      await assertDbError("bad_cursor", () => table.orderBy("n").after("nonsense").all());
    });

    test("a plan uses the index that narrows most, and explain() names it", async (db) => {
      const table = await fill(db, []);
      const plan = (query: Query<Row>) => query.explain();
      assertEquals(plan(table.where("id").eq(1)), "row id, 1 interval, in order");
      assertEquals(
        plan(table.where("n").gt(1).and(table.where("u").eq("x"))),
        "unique u, 1 interval, filtered, in order",
      );
      assertEquals(
        plan(table.where("n").gt(1).and(table.where("s").eq("x"))),
        "index s, 1 interval, filtered, in order",
      );
      assertEquals(plan(table.where("n").gt(1).orderBy("n").reverse()), "index n, 1 interval, in order");
      assertEquals(plan(table.where("n").gt(1).orderBy("s")), "index n, 1 interval, sorted in memory");
      assertEquals(plan(table.where("n").ne(1)), "index n, 2 intervals, in order");
      assertEquals(
        plan(table.where("n").eq(1).or(table.where("s").eq("a"))),
        "index n and index s, filtered and sorted in memory",
      );
    });
  });

async function assertRejects(error: Error, action: () => Promise<unknown>): Promise<void> {
  try {
    await action();
  } catch (thrown) {
    if (thrown === error) return;
    throw thrown;
  }
  throw new Error("nothing was thrown");
}
