/** Lines that must not compile: `deno check` fails when a marked line compiles. */
import * as v from "valibot";
import { z } from "zod";
import { field, MemoryKv, open, type Table } from "../../lib/e2db/mod.ts";
import { assertEquals } from "../support/assert.ts";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false;
const same = <A, B>(_proof: Same<A, B>) => {};

type RowOfTable<T> = T extends Table<infer Row, infer _I, infer _Id> ? Row : never;
type InsertOfTable<T> = T extends Table<infer _R, infer Insert, infer _Id> ? Insert : never;
type IdOfTable<T> = T extends Table<infer _R, infer _I, infer Id> ? Id : never;

// Never called: its lines are for the compiler.
async function compileOnly(): Promise<void> {
  const db = await open({ kv: new MemoryKv(), namespace: "types" });
  const users = await db.table("users", {
    id: field.id(),
    email: field.string().unique().required(),
    role: field.string<"admin" | "user">().index(),
    age: field.number().index(),
    active: field.boolean().default(true),
    created: field.date(),
    extra: field.json<{ tags: string[] }>(),
  });

  same<RowOfTable<typeof users>, {
    id: string;
    email: string;
    role: "admin" | "user" | null;
    age: number | null;
    active: boolean;
    created: Date | null;
    extra: { tags: string[] } | null;
  }>(true);
  same<IdOfTable<typeof users>, string>(true);
  same<InsertOfTable<typeof users>, {
    email: string;
    id?: string | undefined;
    active?: boolean | undefined;
    role?: "admin" | "user" | null | undefined;
    age?: number | null | undefined;
    created?: Date | null | undefined;
    extra?: { tags: string[] } | null | undefined;
  }>(true);

  await users.insert({ email: "a" });
  // @ts-expect-error -- a required field is missing
  await users.insert({ age: 1 });
  // @ts-expect-error -- a required field cannot be null
  await users.insert({ email: null });
  // @ts-expect-error -- no such field
  await users.insert({ email: "a", colour: "red" });
  // @ts-expect-error -- wrong type
  await users.insert({ email: "a", age: "old" });
  // @ts-expect-error -- not one of the texts
  await users.insert({ email: "a", role: "root" });
  // @ts-expect-error -- wrong type of id
  await users.find(1);
  // @ts-expect-error -- no such field
  users.where("colour");
  // @ts-expect-error -- wrong type of value
  users.where("age").eq("old");
  // @ts-expect-error -- only text can start with something
  users.where("age").startsWith("a");
  // @ts-expect-error -- JSON cannot be compared
  users.where("extra");
  // @ts-expect-error -- null is neither below nor above
  users.where("age").lt(null);
  users.where("age").eq(null);
  users.where("role").startsWith("a");
  users.where("created").between(new Date(0), new Date(1));
  // @ts-expect-error -- no such field
  users.orderBy("colour");
  // @ts-expect-error -- no such field
  await users.update("id", { colour: "red" });
  // @ts-expect-error -- a row of find() has no such field
  (await users.find("id"))?.colour;
  // @ts-expect-error -- the row may not be there
  (await users.find("id")).email;
  // @ts-expect-error -- find() may give null for an optional field
  (await users.find("id"))!.age.toFixed();
  await users.upsert({ email: "a" }, { on: "email" });
  // @ts-expect-error -- no such field
  await users.upsert({ email: "a" }, { on: "colour" });
  await db.transaction(async (tx) => {
    // @ts-expect-error -- tables keep their types in a transaction
    await tx.table(users).insert({ age: 1 });
  });
  for await (const change of users.watch()) {
    if (change.kind === "delete") same<typeof change.row, undefined>(true);
    else same<typeof change.row.email, string>(true);
  }

  const counted = await db.table("counted", { n: field.increment(), x: field.number() });
  same<IdOfTable<typeof counted>, number>(true);
  // @ts-expect-error -- wrong type of id
  await counted.find("1");

  const zod = await db.table(
    "zod",
    z.object({ id: z.string(), email: z.string(), tags: z.array(z.string()).default([]) }),
    { unique: ["email"] },
  );
  await zod.insert({ email: "a" });
  // @ts-expect-error -- required by the schema
  await zod.insert({ tags: [] });
  same<RowOfTable<typeof zod>["tags"], string[]>(true);
  // @ts-expect-error -- a list cannot be compared
  zod.where("tags");
  // @ts-expect-error -- no such field to index
  await db.table("zod", z.object({ id: z.string() }), { index: ["colour"] });

  const valibot = await db.table("valibot", v.object({ key: v.string(), at: v.optional(v.date()) }), { id: "key" });
  await valibot.insert({});
  await valibot.find("key");
  // @ts-expect-error -- wrong type
  await valibot.insert({ at: 5 });
}

Deno.test("the types of e2db refuse wrong names and values (see the lines marked in this file, held by deno check)", () => {
  assertEquals(typeof compileOnly, "function");
});
