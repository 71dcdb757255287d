/** Schema changes while programs use the table, Standard Schemas, export and import, check(). */
import * as v from "valibot";
import { z } from "zod";
import { field, type FieldMap, type Kv, open } from "../../../lib/e2db/mod.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { assertDbError } from "./assert_db_error.ts";
import { type DbCase, dbCases, testKey } from "./table_suite.ts";

const first = { id: field.increment(), name: field.string(), age: field.number() };

async function linesFrom(lines: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const line of lines) all.push(line);
  return all;
}

export const schemaCases = (): DbCase[] =>
  dbCases((test) => {
    test("an added field reads as null in older rows, or as its default, and by its index, too", async (db) => {
      const before = await db.table("people", first);
      await before.insertMany([{ name: "a" }, { name: "b" }]);
      const after = await db.table("people", {
        ...first,
        note: field.string(),
        rank: field.number().default(7).index(),
      });
      assertEquals(await after.find(1), { id: 1, name: "a", age: null, note: null, rank: 7 });
      assertEquals(await after.where("rank").eq(7).count(), 2);
      await after.insert({ name: "c", rank: 8 });
      // The older program keeps unknown fields, and maintains the index that it does not know.
      await before.update(3, { age: 1 });
      await before.insert({ name: "d" });
      assertEquals((await after.find(3))!.rank, 8);
      assertEquals((await after.where("rank").eq(7).all()).map((row) => row.name), ["a", "b", "d"]);
    });

    test("an added index is built while others write, and used when it is ready", async (db) => {
      const before = await db.table("people", first);
      await before.insertMany(Array.from({ length: 250 }, (_, index) => ({ name: `n${index}`, age: index % 10 })));
      let stop = false;
      const writer = (async () => {
        for (let index = 0; !stop; index++) {
          await before.update(1 + (index * 37) % 250, { age: index % 10 });
          if (index % 3 === 0) await before.insert({ name: "late", age: 3 });
          if (index % 5 === 0) await before.delete(1 + (index * 53) % 250).catch(() => {});
          await new Promise<void>((resolve) => queueMicrotask(resolve));
        }
      })().catch((error) => {
        if (error.code !== "not_found") throw error;
      });
      const [one, two] = await Promise.all([
        db.table("people", { ...first, age: field.number().index() }),
        db.table("people", { ...first, age: field.number().index() }),
      ]);
      stop = true;
      await writer;
      for (const table of [one, two, before]) {
        const model = (await table.all()).filter((row) => row.age === 3).map((row) => row.id);
        assertEquals((await table.where("age").eq(3).all()).map((row) => row.id), model);
      }
    });

    test(
      "a row that changes between the builder's reading and its writing is entered as it is then",
      async (db, under) => {
        const before = await db.table("people", first);
        await before.insertMany([{ age: 1 }, { age: 2 }, { age: 3 }]);
        const { kv } = under;
        let rivals = 0;
        const rival: Kv = {
          range: (request) => kv.range(request),
          txn: async (request) => {
            const builds = request.success.some((operation) =>
              operation.kind === "put" && new TextDecoder().decode(operation.key).includes("/people/i/age/")
            );
            if (builds && rivals++ === 0) {
              await before.update(1, { age: 10 });
              await before.delete(2);
              await before.insert({ age: 20 });
            }
            return await kv.txn(request);
          },
          watch: (request) => kv.watch(request),
          grantLease: (ttl) => kv.grantLease(ttl),
          keepLease: (id) => kv.keepLease(id),
          revokeLease: (id) => kv.revokeLease(id),
          close: () => {},
        };
        const builder = await open({ kv: rival, namespace: under.namespace });
        const table = await builder.table("people", { ...first, age: field.number().index() });
        assert(rivals > 1, "the builder was not disturbed");
        assertEquals((await table.orderBy("age").all()).map((row) => row.age), [3, 10, 20]);
      },
    );

    test("an index cannot become unique while rows share a value, and the table stays unchanged", async (db) => {
      const plain = await db.table("people", { ...first, name: field.string().index() });
      await plain.insertMany([{ name: "a" }, { name: "b" }, { name: "b" }, {}, {}]);
      const unique = { ...first, name: field.string().unique() };
      const error = await assertDbError("duplicate", () => db.table("people", unique));
      assertEquals([error.table, error.field], ["people", "name"]);
      assertEquals((await db.check()).problems, []);
      await plain.update(3, { name: "c" });
      const table = await db.table("people", unique);
      assertEquals((await table.findBy("name", "c"))!.id, 3);
      await assertDbError("duplicate", () => plain.insert({ name: "a" }));
      assertEquals(await table.where("name").isNull().count(), 2);
    });

    test("a changed type, id or encryption is refused with a hint", async (db) => {
      const table = await db.table("people", first);
      await table.insert({ name: "a" });
      const changes: [FieldMap, string][] = [
        [{ ...first, age: field.string() }, "age"],
        [{ ...first, name: field.string().encrypted() }, "name"],
        [{ ...first, id: field.id() }, "id"],
      ];
      for (const [fields, name] of changes) {
        const error = await assertDbError("schema_change", () => db.table("people", fields));
        assertEquals([error.table, error.field], ["people", name]);
        assert(error.hint!.length > 20);
      }
      assertEquals((await table.find(1))!.name, "a");
    });

    test("a field becomes required only when every row has a value; alter() makes it optional again", async (db) => {
      const table = await db.table("people", first);
      await table.insert({ name: "a" });
      const required = { ...first, age: field.number().required() };
      assertEquals((await assertDbError("schema_change", () => db.table("people", required))).field, "age");
      await table.insert({ name: "still allowed" });
      for (const { id } of await table.all()) await table.update(id, { age: 1 });
      await db.table("people", required);
      await assertDbError("missing_required", () => table.insert({ name: "b" }));
      await db.alter("people", { makeOptional: ["age"] });
      await table.insert({ name: "b" });
      await assertDbError("schema_change", () => db.alter("people", { dropIndex: ["nothing"] }));
      await assertDbError("unknown_table", () => db.alter("nobody", {}));
    });

    test("alter() drops an index, which is built again when it is declared again", async (db) => {
      const fields = { ...first, age: field.number().index() };
      const table = await db.table("people", fields);
      await table.insertMany([{ age: 1 }, { age: 2 }]);
      await db.alter("people", { dropIndex: ["age"] });
      await assertDbError("not_indexed", () => table.where("age").eq(1).all());
      await table.update(1, { age: 5 });
      await table.delete(2);
      const again = await db.table("people", fields);
      assertEquals(await again.orderBy("age").all(), [{ id: 1, name: null, age: 5 }]);
    });

    test("an invalid declaration is refused before anything is written", async (db) => {
      const nonsense: FieldMap[] = [
        { name: field.string() },
        { id: field.id(), other: field.increment() },
        { id: field.id(), secret: field.string().encrypted().unique() },
        { id: field.id(), data: field.json().index() },
        { id: field.id(), "no/slash": field.string() },
        { id: field.id().encrypted() },
      ];
      for (const fields of nonsense) await assertDbError("bad_schema", () => db.table("people", fields));
      await assertDbError("bad_schema", () => db.table("a/b", first));
      await assertDbError("bad_schema", () => db.table("people", z.object({ id: z.string() }), { encrypted: ["id"] }));
      assertEquals(await db.tables(), []);
    });

    test("a zod schema instead of a field map validates, transforms and types the rows", async (db) => {
      const schema = z.object({
        id: z.string(),
        email: z.email().toLowerCase(),
        age: z.number().int().min(0).optional(),
        tags: z.array(z.string()).default([]),
        secret: z.string().optional(),
      });
      const users = await db.table("users", schema, { unique: ["email"], index: ["age"], encrypted: ["secret"] });
      const made = await users.insert({ email: "A@B.ch", age: 3, secret: "s" });
      assertEquals(made, { id: made.id, email: "a@b.ch", age: 3, tags: [], secret: "s" });
      assertEquals(await users.findBy("email", "a@b.ch"), made);
      assertEquals(await users.where("age").between(1, 5).all(), [made]);
      assertEquals((await assertDbError("wrong_type", () => users.insert({ email: "nonsense" }))).field, "email");
      assertEquals(
        (await assertDbError("missing_required", () => users.insert({} as { email: string }))).field,
        "email",
      );
      assertEquals((await assertDbError("wrong_type", () => users.update(made.id, { age: -1 }))).field, "age");
      assertEquals((await users.update(made.id, { tags: ["x"] })).secret, "s");
    });

    test("a valibot schema does the same, with an increment id", async (db) => {
      const schema = v.object({ id: v.number(), name: v.string(), at: v.optional(v.date()) });
      const rows = await db.table("rows", schema, { increment: true, index: ["name", "at"] });
      const at = new Date(5);
      assertEquals([(await rows.insert({ name: "a", at })).id, (await rows.insert({ name: "b" })).id], [1, 2]);
      assertEquals(await rows.where("at").eq(at).all(), [{ id: 1, name: "a", at }]);
      assertEquals(
        (await assertDbError("wrong_type", () => rows.insert({ name: 5 as unknown as string }))).field,
        "name",
      );
    });

    test(
      "export() and import() copy a table to another database, with encrypted fields sealed or in clear text",
      async (db, under) => {
        const fields = {
          id: field.increment(),
          name: field.string().unique(),
          at: field.date(),
          secret: field.string().encrypted(),
        };
        const table = await db.table("people", fields);
        await table.insertMany(
          Array.from({ length: 30 }, (_, n) => ({ name: `n${n}`, at: new Date(n), secret: `s${n}` })),
        );
        const sealed = await linesFrom(table.export());
        assertEquals(sealed.length, 31);
        assert(!sealed.join("").includes('"s1"'));
        const clear = (await linesFrom(table.export({ secrets: "clear" }))).join("");
        assert(clear.includes('"s1"'));

        const other = await open({ kv: under.kv, namespace: `${under.namespace}.other`, key: testKey });
        const copy = await other.table("people", fields);
        assertEquals(await copy.import(sealed), { inserted: 30, replaced: 0, skipped: 0 });
        assertEquals(await copy.all(), await table.all());
        assertEquals((await copy.insert({ name: "next" })).id, 31);
        assertEquals(await copy.import(sealed, { onConflict: "skip" }), { inserted: 0, replaced: 0, skipped: 30 });
        const halves = [clear.slice(0, 333), clear.slice(333)];
        assertEquals(await copy.import(halves, { onConflict: "replace" }), { inserted: 0, replaced: 30, skipped: 0 });
        assertEquals((await copy.find(3))!.secret, "s2");
        assertEquals((await other.check()).problems, []);

        await assertDbError("duplicate", () => copy.import(sealed));
        await assertDbError("bad_import", () => copy.import([]));
        await assertDbError("bad_import", () => copy.import(['{"id":1}\n']));
        const header = sealed[0]!;
        assert((await assertDbError("bad_import", () => copy.import([header, "{"]))).message.includes("line 2"));
        // A sealed value under another row's id cannot be decrypted, and is refused at the import.
        const moved = sealed[1]!.replace('"id":1', '"id":99').replace('"n0"', '"moved"');
        await assertDbError("bad_import", () => copy.import([header, moved]));
        const stranger = await open({ kv: under.kv, namespace: `${under.namespace}.x`, key: new Uint8Array(32) });
        await assertDbError("wrong_key", async () => (await stranger.table("people", fields)).import(sealed));
      },
    );

    test("check() reports a missing, an orphaned and a stale entry and an unreadable row", async (db, under) => {
      const table = await db.table("people", { ...first, name: field.string().unique() });
      await table.insertMany([{ name: "a" }, { name: "b" }, { name: "c" }]);
      const clean = await db.check();
      assertEquals([clean.rows, clean.problems], [3, []]);
      const prefix = `${under.namespace}!t/people/`;
      const keys = async (space: string) => {
        const key = new TextEncoder().encode(prefix + space);
        const end = new TextEncoder().encode(prefix + space.slice(0, -1) + "0");
        return (await under.kv.range({ key, end })).kvs;
      };
      const put = (key: Uint8Array, value: Uint8Array) =>
        under.kv.txn({ compares: [], success: [{ kind: "put", key, value }], failure: [] });
      const entries = await keys("u/name/");
      const spoilt = entries[1]!.value.slice();
      spoilt[1]! ^= 1;
      await under.kv.txn({ compares: [], success: [{ kind: "delete", key: entries[0]!.key }], failure: [] });
      await put(entries[1]!.key, spoilt);
      await put(new Uint8Array([...entries[2]!.key, 1]), entries[2]!.value);
      const row = (await keys("r/"))[2]!;
      await put(row.key, new Uint8Array([9]));
      const { problems } = await db.check();
      const found = problems.map(({ field, kind, id }) => `${kind} ${field} ${id ?? ""}`).sort();
      // The entries of the unreadable row count as orphans.
      assertEquals(found, [
        "missing name 1",
        "orphan name ",
        "orphan name ",
        "stale name 2",
        "unreadable id 3",
      ]);
      await assertDbError("corrupt", () => table.find(3));
      await db.drop("people");
    });
  });
