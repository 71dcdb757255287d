/** Cases for tables, which run on the store in memory and on real etcd. */
import { type Db, DuplicateError, field, open, versionOf } from "../../../lib/e2db/mod.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { assertDbError } from "./assert_db_error.ts";
import type { KvUnderTest } from "./kv_suite.ts";

export interface DbUnderTest extends KvUnderTest {
  /** A name that no other case uses. */
  namespace: string;
}

export interface DbCase {
  promise: string;
  run(under: DbUnderTest): Promise<void>;
}

export const testKey = new Uint8Array(32).fill(7);

const roleFields = {
  id: field.increment(),
  name: field.string().unique(),
  description: field.string().index().required(),
  resourceQuota: field.string(),
  superAdminOnly: field.boolean().default(false),
  notIndexed: field.string(),
};

const fourRoles = [
  { name: "user", description: "user" },
  { name: "admin", description: "administrator" },
  { name: "superadmin", description: "administrator" },
  { name: "smoot", description: "administrator" },
];

export async function rolesTable(db: Db) {
  const roles = await db.table("roles", roleFields);
  for (const role of fourRoles) await roles.insert(role);
  return roles;
}

const names = (rows: { name: string | null }[]) => rows.map((row) => row.name);

/** Opens a database on the given store, and runs check() at the end of every case. */
export function dbCases(register: (add: AddCase) => void): DbCase[] {
  const cases: DbCase[] = [];
  register((promise, run) =>
    cases.push({
      promise,
      async run(under) {
        const db = await open({ kv: under.kv, namespace: under.namespace, key: testKey });
        await run(db, under);
        assertEquals((await db.check()).problems, []);
      },
    })
  );
  return cases;
}

export type AddCase = (promise: string, run: (db: Db, under: DbUnderTest) => Promise<void>) => void;

export const tableCases = (): DbCase[] =>
  dbCases((test) => {
    test("find() returns a row by its increment id, which counts from 1", async (db) => {
      const roles = await rolesTable(db);
      assertEquals(await roles.find(1), {
        id: 1,
        name: "user",
        description: "user",
        resourceQuota: null,
        superAdminOnly: false,
        notIndexed: null,
      });
      assertEquals(await roles.find(5), undefined);
      assertEquals((await roles.all()).map((row) => row.id), [1, 2, 3, 4]);
    });

    test("findBy() returns a row by a unique field, or undefined", async (db) => {
      const roles = await rolesTable(db);
      assertEquals((await roles.findBy("name", "superadmin"))?.id, 3);
      assertEquals(await roles.findBy("name", "nobody"), undefined);
    });

    test("where().all() returns each row of an index value once, in order of id", async (db) => {
      const roles = await rolesTable(db);
      const found = await roles.where("description").eq("administrator").all();
      assertEquals(names(found), ["admin", "superadmin", "smoot"]);
      // The original appended to the given slice, so a second read contained every row twice.
      const again = await roles.where("description").eq("administrator").orderBy("id").reverse().all();
      assertEquals(names(again), ["smoot", "superadmin", "admin"]);
    });

    test("a condition on a field without index is refused, and allowed with scan()", async (db) => {
      const roles = await rolesTable(db);
      const query = roles.where("notIndexed").eq("value");
      for (const action of [() => query.all(), () => query.count(), () => query.delete()]) {
        const error = await assertDbError("not_indexed", action);
        assertEquals([error.table, error.field], ["roles", "notIndexed"]);
      }
      assertEquals(await query.scan().all(), []);
      assertEquals(await roles.where("notIndexed").isNull().scan().count(), 4);
    });

    test("insert() refuses a missing required field, a wrong type, an unknown field and a duplicate, by name", async (db) => {
      const roles = await rolesTable(db);
      const refused = async (code: Parameters<typeof assertDbError>[0], row: unknown) => {
        const error = await assertDbError(code, () => roles.insert(row as { description: string }));
        assertEquals(error.table, "roles");
        return error.field;
      };
      assertEquals(await refused("missing_required", { name: "x" }), "description");
      assertEquals(await refused("missing_required", { name: "x", description: null }), "description");
      assertEquals(await refused("wrong_type", { description: 5 }), "description");
      assertEquals(await refused("wrong_type", { description: "d", superAdminOnly: "yes" }), "superAdminOnly");
      assertEquals(await refused("unknown_field", { description: "d", colour: "red" }), "colour");
      assertEquals(await refused("duplicate", { name: "smoot", description: "d" }), "name");
      assertEquals(await refused("duplicate", { id: 2, description: "d" }), "id");
      assertEquals(await refused("wrong_type", { description: "lone \ud800" }), "description");
      assertEquals(await refused("too_large", { description: "x".repeat(5_000) }), "description");
      assertEquals(await refused("too_large", { description: "d", notIndexed: "x".repeat(1_600_000) }), undefined);
      assertEquals(await roles.count(), 4);
    });

    test("count() counts by id, index, and residual condition", async (db) => {
      const roles = await rolesTable(db);
      assertEquals(await roles.where("description").eq("administrator").count(), 3);
      assertEquals(await roles.where("id").eq(1).count(), 1);
      assertEquals(await roles.where("id").eq(10).count(), 0);
      const some = roles.where("description").eq("administrator").and(roles.where("superAdminOnly").eq(false));
      assertEquals(await some.and(roles.where("name").ne("smoot")).count(), 2);
    });

    test("and, or and not filter the rows of an index", async (db) => {
      const roles = await rolesTable(db);
      const administrators = roles.where("description").eq("administrator");
      const smoot = roles.where("name").eq("smoot");
      const superadmin = roles.where("name").eq("superadmin");
      assertEquals(names(await administrators.and(smoot).all()), ["smoot"]);
      assertEquals(names(await administrators.and(smoot.and(roles.where("superAdminOnly").eq(false))).all()), [
        "smoot",
      ]);
      assertEquals(names(await administrators.and(smoot.or(superadmin)).orderBy("id").all()), ["superadmin", "smoot"]);
      assertEquals(names(await administrators.and(smoot.not()).all()), ["admin", "superadmin"]);
      assertEquals(names(await roles.where("id").eq(1).or(smoot).all()), ["user", "smoot"]);
    });

    test("update() moves a row between index values, and keeps fields that are not given", async (db) => {
      const roles = await rolesTable(db);
      const updated = await roles.update(1, { description: "updated user" });
      assertEquals([updated.name, updated.description], ["user", "updated user"]);
      assertEquals(await roles.where("description").eq("user").all(), []);
      assertEquals(await roles.where("description").eq("updated user").all(), [updated]);
      await assertDbError("not_found", () => roles.update(9, { description: "x" }));
      await assertDbError("wrong_type", () => roles.update(1, { id: 2 }));
      assertEquals((await roles.update(2, { name: null })).name, null);
      assertEquals((await roles.insert({ name: "admin", description: "d" })).id, 5);
    });

    test("update(), replace() and delete() with a version refuse a row that changed", async (db) => {
      const roles = await rolesTable(db);
      const [mine, theirs] = [(await roles.find(1))!, (await roles.find(1))!];
      assertEquals(versionOf(mine), versionOf(theirs));
      const newer = await roles.update(1, { resourceQuota: "1" }, { version: versionOf(theirs)! });
      await assertDbError("stale_version", () => roles.update(1, { resourceQuota: "2" }, { version: versionOf(mine) }));
      await assertDbError("stale_version", () => roles.replace(mine, { version: versionOf(mine) }));
      await assertDbError("stale_version", () => roles.delete(1, { version: versionOf(mine) }));
      assertEquals((await roles.findBy("name", "user"))!.resourceQuota, "1");
      assertEquals(versionOf((await roles.findBy("name", "user"))!), versionOf(newer));
      assertEquals(await roles.delete(1, { version: versionOf(newer) }), true);
      assertEquals(versionOf({}), undefined);
    });

    test("replace() replaces a whole row, and clears omitted fields", async (db) => {
      const roles = await rolesTable(db);
      await roles.update(1, { resourceQuota: "1" });
      const row = await roles.replace({ id: 1, description: "whole" });
      assertEquals([row.name, row.resourceQuota, row.description], [null, null, "whole"]);
    });

    test("upsert() inserts first and updates later, by id or by a unique field", async (db) => {
      const roles = await rolesTable(db);
      const made = await roles.upsert({ name: "new", description: "a" }, { on: "name" });
      const kept = await roles.upsert({ name: "new", description: "b" }, { on: "name" });
      assertEquals([made.id, kept.id, kept.description], [5, 5, "b"]);
      assertEquals((await roles.upsert({ id: 5, description: "c" })).name, "new");
      assertEquals((await roles.upsert({ id: 70, description: "far" })).id, 70);
      assertEquals((await roles.insert({ description: "next" })).id, 71);
      await assertDbError("unknown_field", () => roles.upsert({ description: "x" }, { on: "description" }));
    });

    const deletions: [string, (roles: Awaited<ReturnType<typeof rolesTable>>) => Promise<number>, string[]][] = [
      ["an absent id", (roles) => roles.where("id").eq(20).delete(), ["user", "admin", "superadmin", "smoot"]],
      ["an id", (roles) => roles.where("id").eq(3).delete(), ["user", "admin", "smoot"]],
      ["an index value", (roles) => roles.where("description").eq("administrator").delete(), ["user"]],
      ["a unique value", (roles) => roles.where("name").eq("smoot").delete(), ["user", "admin", "superadmin"]],
      [
        "an absent index value",
        (roles) => roles.where("description").eq("dinosaur").delete(),
        names(fourRoles) as string[],
      ],
      ["everything", (roles) => roles.deleteAll(), []],
    ];
    for (const [what, remove, left] of deletions) {
      test(`delete() by ${what} removes exactly those rows and returns their number`, async (db) => {
        const roles = await rolesTable(db);
        assertEquals(await remove(roles), 4 - left.length);
        assertEquals(names(await roles.all()), left);
      });
    }

    test("delete() of an id returns whether the row existed", async (db) => {
      const roles = await rolesTable(db);
      assertEquals([await roles.delete(2), await roles.delete(2)], [true, false]);
      assertEquals((await roles.insert({ description: "d" })).id, 5);
    });

    test("fields of a shared group spread into a table are its fields; a later one of the same name replaces them", async (db) => {
      const nested = { name: field.string().unique(), other: field.number(), masked: field.string().index() };
      const models = await db.table("models", {
        id: field.increment(),
        ...nested,
        email: field.string().index(),
        masked: field.string(),
        maskedIndex: field.string().index(),
      });
      await models.insert({ name: "Steve", other: 42, email: "steve@mail.org" });
      await models.insert({ name: "Smoot", other: 666, email: "smoot@wellington.me" });
      await models.insert({ name: "Jim", masked: "real value", maskedIndex: "real indexed value" });
      assertEquals(await models.where("name").eq("Smoot").count(), 1);
      await assertDbError("not_indexed", () => models.where("masked").eq("real value").count());
      assertEquals(await models.where("maskedIndex").eq("indexed").count(), 0);
      assertEquals(await models.where("maskedIndex").eq("real indexed value").count(), 1);
    });

    test(
      "encrypted fields are unreadable in etcd and with another key, and come back with theirs",
      async (db, under) => {
        const fields = {
          path: field.id(),
          description: field.string().index(),
          data: field.bytes().encrypted(),
          note: field.string().encrypted(),
        };
        const certs = await db.table("certs", fields);
        const data = new TextEncoder().encode("secret data");
        const made = await certs.insert({ path: "ca.crt", description: "cluster cert", data, note: "hush" });
        assertEquals(made, { path: "ca.crt", description: "cluster cert", data, note: "hush" });
        assertEquals(await certs.where("description").eq("cluster cert").all(), [made]);
        assertEquals(await certs.all(), [made]);
        const stored = await under.kv.range({ key: new Uint8Array([0]), end: new Uint8Array([0]) });
        for (const { value } of stored.kvs) {
          const text = new TextDecoder().decode(value);
          assert(!text.includes("hush") && !text.includes("secret data") && !text.includes(btoa("secret data")));
        }
        const next = await certs.update("ca.crt", { description: "updated", data: new Uint8Array([1]) });
        assertEquals([next.note, next.data], ["hush", new Uint8Array([1])]);
        assertEquals(await certs.where("description").eq("updated").all(), [next]);

        const options = { kv: under.kv, namespace: under.namespace };
        const stranger = await (await open({ ...options, key: new Uint8Array(32) })).table("certs", fields);
        const error = await assertDbError("wrong_key", () => stranger.find("ca.crt"));
        assertEquals([error.table, error.field], ["certs", "data"]);
        const keyless = await (await open(options)).table("certs", fields);
        await assertDbError("wrong_key", () => keyless.find("ca.crt"));
        await assertDbError("wrong_key", () => keyless.insert({ path: "b", note: "x" }));
        // A change returns the whole row, so it needs the key; without it nothing is written.
        await assertDbError("wrong_key", () => keyless.update("ca.crt", { description: "blind" }));
        const rotated = await open({ ...options, key: new Uint8Array(32), oldKeys: [testKey] });
        assertEquals((await (await rotated.table("certs", fields)).find("ca.crt"))!.note, "hush");
        await assertDbError("not_indexed", () => certs.where("note").eq("hush").scan().all());
      },
    );

    test("every type is read as it was written", async (db) => {
      const table = await db.table("types", {
        id: field.id(),
        text: field.string(),
        number: field.number(),
        flag: field.boolean(),
        when: field.date(),
        bytes: field.bytes(),
        json: field.json<unknown>(),
      });
      const rows = [
        { text: "nul \0 \ufeff 😀", number: -1.5, flag: false, when: new Date(-1), bytes: new Uint8Array([0, 255]) },
        { text: "", number: Infinity, flag: true, when: new Date(8.64e15), bytes: new Uint8Array() },
        { number: -Infinity, json: { $date: 1, list: [null, new Date(5), { $x: new Uint8Array([1]) }], nested: {} } },
      ];
      for (const row of rows) {
        const { id, ...made } = await table.insert(row);
        const blank = { text: null, number: null, flag: null, when: null, bytes: null, json: null };
        assertEquals(made, { ...blank, ...row });
        assertEquals(await table.find(id), { id, ...made });
      }
      assertEquals((await table.insert({ number: -0 })).number, 0);
      for (const json of [() => 1, 1n, new Map(), { deep: Symbol() }]) {
        await assertDbError("wrong_type", () => table.insert({ json }));
      }
      await assertDbError("wrong_type", () => table.insert({ number: NaN }));
    });

    test("rows over 2 KiB are found by every index, and can be changed", async (db) => {
      const table = await db.table("large", {
        id: field.increment(),
        tag: field.string().index(),
        body: field.string(),
      });
      for (let index = 0; index < 5; index++) await table.insert({ tag: "big", body: String(index).repeat(300_000) });
      const found = await table.where("tag").eq("big").all();
      assertEquals(found.map((row) => row.body![0]), ["0", "1", "2", "3", "4"]);
      await table.update(2, { body: "small" });
      assertEquals((await table.where("tag").eq("big").reverse().limit(4).all()).map((row) => row.id), [5, 4, 3, 2]);
    });

    test("insertMany() and deleteAll() split rows that exceed one transaction; a transaction refuses them", async (db) => {
      const roles = await db.table("roles", roleFields);
      const rows = Array.from({ length: 150 }, (_, index) => ({ name: `r${index}`, description: "many" }));
      assertEquals((await roles.insertMany(rows)).map((row) => row.id).at(-1), 150);
      const large = rows.slice(0, 6).map((row, index) => ({
        ...row,
        name: `l${index}`,
        notIndexed: "x".repeat(400_000),
      }));
      assertEquals((await roles.insertMany(large)).length, 6);
      const error = await assertDbError("too_large", () =>
        db.transaction(async (tx) => {
          await tx.table(roles).insertMany(rows.map((row) => ({ ...row, name: `${row.name}x` })));
        }));
      assertEquals(error.table, "roles");
      await assertDbError("too_large", () => db.transaction((tx) => tx.table(roles).deleteAll()));
      assertEquals(await roles.count(), 156);
      assertEquals(await roles.deleteAll(), 156);
      assertEquals(await roles.count(), 0);
    });

    test("insertMany() stops at the first batch that fails, which stores nothing", async (db) => {
      const roles = await rolesTable(db);
      await assertDbError(
        "duplicate",
        () => roles.insertMany([{ name: "a", description: "d" }, { name: "smoot", description: "d" }]),
      );
      await assertDbError(
        "duplicate",
        () => roles.insertMany([{ name: "a", description: "d" }, { name: "a", description: "d" }]),
      );
      assertEquals(await roles.count(), 4);
    });

    test("drop() removes everything; the table is then unknown, and can be created again", async (db, under) => {
      const roles = await rolesTable(db);
      await db.drop("roles");
      for (const action of [() => roles.find(1), () => roles.count(), () => roles.insert({ description: "d" })]) {
        assertEquals((await assertDbError("unknown_table", action)).table, "roles");
      }
      await assertDbError("unknown_table", () => db.drop("roles"));
      await assertDbError("unknown_table", () => db.check(["roles"]));
      const prefix = new TextEncoder().encode(`${under.namespace}!`);
      const left = await under.kv.range({ key: prefix, end: new TextEncoder().encode(`${under.namespace}"`) });
      assertEquals(left.count, 0);
      const anew = await rolesTable(db);
      assertEquals((await anew.all()).map((row) => row.id), [1, 2, 3, 4]);
      assertEquals(await roles.count(), 4);
      assertEquals(await db.tables(), ["roles"]);
    });

    test("concurrent inserts get different increment ids without a gap, and one of them gets a unique value", async (db) => {
      const roles = await db.table("roles", roleFields);
      const made = await Promise.all(Array.from({ length: 40 }, () => roles.insert({ description: "d" })));
      assertEquals(
        made.map((row) => row.id).sort((a, b) => a - b),
        Array.from({ length: 40 }, (_, index) => index + 1),
      );
      const rivals = await Promise.allSettled(
        Array.from({ length: 10 }, () => roles.insert({ name: "one", description: "d" })),
      );
      assertEquals(rivals.filter((rival) => rival.status === "fulfilled").length, 1);
      for (const rival of rivals) if (rival.status === "rejected") assert(rival.reason instanceof DuplicateError);
    });
  });
