/** Transactions, locks and watches under concurrent writers. */
import { type Db, field, type Kv, KvError, open, type TxnRequest } from "../../../lib/e2db/mod.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { assertDbError } from "./assert_db_error.ts";
import { type DbCase, dbCases } from "./table_suite.ts";
import { runWorkload } from "./serializability.ts";

const accountFields = { id: field.id(), owner: field.string().index(), balance: field.number().index() };

async function accounts(db: Db, count = 4) {
  const table = await db.table("accounts", accountFields);
  for (let index = 0; index < count; index++) await table.insert({ id: `a${index}`, owner: "x", balance: 100 });
  return table;
}

export const concurrencyCases = (): DbCase[] =>
  dbCases((test) => {
    test("transaction() is atomic, and returns the result of its function", async (db) => {
      const table = await accounts(db);
      const given = await db.transaction(async (tx) => {
        const inside = tx.table(table);
        await inside.update("a0", { balance: 50 });
        await inside.update("a1", { balance: 150 });
        assertEquals((await inside.find("a0"))!.balance, 50);
        assertEquals((await table.find("a0"))!.balance, 100);
        return "given";
      });
      assertEquals([given, (await table.find("a0"))!.balance], ["given", 50]);
      const reason = new Error("mine");
      const thrown = await db.transaction(async (tx) => {
        await tx.table(table).delete("a0");
        throw reason;
      }).catch((error) => error);
      assertEquals(thrown, reason);
      assertEquals(await table.count(), 4);
    });

    test("every kind of read sees the transaction's own changes", async (db) => {
      const table = await accounts(db);
      await db.transaction(async (tx) => {
        const inside = tx.table(table);
        await inside.insert({ id: "new", owner: "y", balance: 5 });
        await inside.delete("a0");
        await inside.update("a1", { owner: "y" });
        assertEquals(await inside.count(), 4);
        assertEquals((await inside.where("owner").eq("y").all()).map((row) => row.id), ["a1", "new"]);
        assertEquals((await inside.orderBy("balance").limit(1).all()).map((row) => row.id), ["new"]);
        assertEquals(await inside.find("a0"), undefined);
        await assertDbError("duplicate", () => inside.insert({ id: "new" }));
        assertEquals((await inside.insert({ id: "a0", balance: 7 })).balance, 7);
      });
      assertEquals((await table.find("a0"))!.balance, 7);
    });

    test("a unique value can move from one row to another within a transaction", async (db) => {
      const table = await db.table("names", { id: field.id(), name: field.string().unique() });
      await table.insert({ id: "1", name: "x" });
      await table.insert({ id: "2", name: "y" });
      await db.transaction(async (tx) => {
        const inside = tx.table(table);
        await inside.update("1", { name: null });
        await inside.update("2", { name: "x" });
        await inside.update("1", { name: "y" });
        await assertDbError("duplicate", () => inside.insert({ name: "x" }));
      });
      assertEquals([(await table.findBy("name", "x"))!.id, (await table.findBy("name", "y"))!.id], ["2", "1"]);
      await assertDbError("duplicate", () => db.transaction((tx) => tx.table(table).insert({ name: "y" })));
    });

    test("a transaction cannot be used once it has ended", async (db) => {
      const table = await accounts(db);
      const inside = await db.transaction((tx) => Promise.resolve(tx.table(table)));
      await assertDbError("conflict", () => inside.find("a0"));
      await assertDbError("conflict", () => inside.insert({}));
    });

    const rivals: [string, (table: Awaited<ReturnType<typeof accounts>>) => Promise<unknown>][] = [
      ["a row that was read changes", (table) => table.update("a1", { balance: 1 })],
      ["a row that was read is deleted", (table) => table.delete("a1")],
      ["a row that was not there appears", (table) => table.insert({ id: "ghost" })],
      ["a row enters a range that was read", (table) => table.insert({ owner: "x", balance: 1 })],
      ["a row leaves a range that was read by its value", (table) => table.update("a3", { owner: "z" })],
      ["a row in a range that was read changes elsewhere", (table) => table.update("a3", { balance: 9 })],
      ["a row of a range that was read is deleted", (table) => table.delete("a3")],
    ];
    for (const [what, rival] of rivals) {
      test(`transaction() is repeated when ${what} before the commit`, async (db) => {
        const table = await accounts(db);
        let attempts = 0;
        await db.transaction(async (tx) => {
          const inside = tx.table(table);
          await inside.find("a1");
          await inside.find("ghost");
          const seen = await inside.where("owner").eq("x").all();
          if (attempts++ === 0) await rival(table);
          await inside.upsert({ id: "sum", owner: "sum", balance: seen.length });
        });
        assertEquals(attempts, 2);
        assertEquals((await table.find("sum"))!.balance, await table.where("owner").eq("x").count());
      });
    }

    test("transaction() is not repeated for a change that it did not read", async (db) => {
      const table = await accounts(db);
      await table.insert({ id: "other", owner: "w" });
      let attempts = 0;
      await db.transaction(async (tx) => {
        attempts++;
        const seen = await tx.table(table).where("owner").eq("x").orderBy("id").limit(2).all();
        await table.update("other", { balance: attempts });
        await table.update("a3", { balance: attempts });
        await tx.table(table).insert({ id: "sum", balance: seen.length });
      });
      assertEquals(attempts, 1);
    });

    test("transaction() is repeated when the last row of a limited read changes, in either direction", async (db) => {
      const table = await accounts(db);
      for (const reverse of [false, true]) {
        let attempts = 0;
        await db.transaction(async (tx) => {
          const query = tx.table(table).orderBy("id").limit(2);
          const last = (await (reverse ? query.reverse() : query).all()).at(-1)!;
          if (attempts++ === 0) await table.update(last.id, { balance: attempts });
          await tx.table(table).upsert({ id: "sum", balance: last.balance });
        });
        assertEquals(attempts, 2);
        await table.delete("sum");
      }
    });

    test("the sum stays constant while eight clients move money between rows", async (db) => {
      const table = await accounts(db);
      await Promise.all(Array.from({ length: 8 }, async (_, client) => {
        for (let step = 0; step < 5; step++) {
          await db.transaction(async (tx) => {
            const inside = tx.table(table);
            const from = (await inside.find(`a${(client + step) % 4}`))!;
            const to = (await inside.find(`a${(client + step + 1 + (step % 2)) % 4}`))!;
            await inside.update(from.id, { balance: from.balance! - 1 });
            await inside.update(to.id, { balance: to.balance! + 1 });
          });
        }
      }));
      assertEquals((await table.all()).reduce((sum, row) => sum + row.balance!, 0), 400);
    });

    test("no write skew: of two transactions that each read the other's row, only one commits", async (db) => {
      const table = await db.table("oncall", { id: field.id(), duty: field.boolean().index() });
      await table.insertMany([{ id: "alice", duty: true }, { id: "bob", duty: true }]);
      await Promise.all(["alice", "bob"].map((id) =>
        db.transaction(async (tx) => {
          const inside = tx.table(table);
          if (await inside.where("duty").eq(true).count() > 1) await inside.update(id, { duty: false });
        })
      ));
      assertEquals(await table.where("duty").eq(true).count(), 1);
    });

    test("a history of transactions of eight clients is serializable", async (db) => {
      const { anomalies, committed } = await runWorkload(db, { clients: 8, transactions: 12, keys: 6, seed: 11 });
      assertEquals(anomalies, []);
      assert(committed >= 80, `only ${committed} transactions committed`);
    });

    test("a write whose answer is lost is applied once, and its outcome is reported", async (db, under) => {
      const shape = {
        id: field.increment(),
        u: field.string().unique(),
        n: field.number().index(),
        plain: field.number(),
      };
      const table = await db.table("lossy", shape);
      const lossy = new LossyKv(under.kv);
      const other = await open({ kv: lossy.kv, namespace: under.namespace });
      const rows = await other.table("lossy", shape);
      const lose = async <T>(how: LossyKv["next"], action: () => Promise<T>) => {
        lossy.next = how;
        const result = await action();
        assertEquals(lossy.next, "nothing", "the loss did not happen");
        return result;
      };
      for (const how of ["answer", "request"] as const) {
        const made = await lose(how, () => rows.insert({ u: `u-${how}`, n: 1 }));
        assertEquals((await lose(how, () => rows.update(made.id, { n: 2 }))).n, 2);
        assertEquals(await lose(how, () => rows.delete(made.id)), true);
      }
      assertEquals(await table.count(), 0);
      const { id } = await rows.insert({ n: 0 });
      const add = () =>
        other.transaction(async (tx) => {
          const inside = tx.table(rows);
          await inside.update(id, { n: (await inside.find(id))!.n! + 1 });
        });
      for (let step = 0; step < 5; step++) await lose("answer", add);
      // Another writer changes the row between the lost answer and the check of the outcome.
      lossy.between = () => table.update(id, { u: "moved on" });
      await lose("answer", add);
      assertEquals((await table.find(id))!.n, 6);
      // The guard of the index in which the row moved is evidence even after the row was deleted.
      lossy.between = () => table.delete(id);
      await lose("answer", add);
      assertEquals(await table.count(), 0);
      // A deleted row that moved in no index leaves no evidence, so neither success nor failure may be reported.
      const last = await rows.insert({ plain: 0 });
      lossy.between = () => table.delete(last.id);
      await assertDbError("outcome_unknown", () =>
        lose("answer", () => other.transaction((tx) => tx.table(rows).update(last.id, { plain: 1 }))));
    });

    test("lock() has one holder at a time, in the order of requests, with increasing tokens", async (db) => {
      let inside = 0;
      const order: number[] = [];
      const tokens: number[] = [];
      const first = await db.lock("turn");
      const waiting: Promise<void>[] = [];
      for (let index = 0; index < 4; index++) {
        const turn = db.lock("turn");
        waiting.push((async () => {
          await using lock = await turn;
          assertEquals(++inside, 1);
          order.push(index);
          tokens.push(lock.token);
          await db.tables();
          inside--;
        })());
        await db.tables();
      }
      await assertDbError("lock_timeout", () =>
        db.lock("turn", { waitMs: 0 }));
      await assertDbError("lock_timeout", () => db.lock("turn", { waitMs: 50 }));
      const stop = new AbortController();
      const aborted = db.lock("turn", { signal: stop.signal });
      stop.abort(new Error("enough"));
      assertEquals(await aborted.catch((error) => error.message), "enough");
      await first.release();
      await Promise.all(waiting);
      assertEquals(order.length, 4);
      assertEquals(tokens.toSorted((a, b) => a - b), tokens);
      assert(tokens[0]! > first.token);
    });

    test("a write under a lost lock is refused", async (db, under) => {
      const table = await accounts(db);
      const lock = await db.lock("fence");
      await table.update("a0", { balance: 1 }, { fence: lock });
      // Another session removes the lock, as etcd does when the lease expires while the holder is suspended.
      await under.kv.txn({ compares: [], success: [{ kind: "delete", key: lock.key }], failure: [] });
      for (
        const write of [
          () => table.update("a0", { balance: 2 }, { fence: lock }),
          () => table.insert({ id: "late" }, { fence: lock }),
          () => table.delete("a0", { fence: lock }),
          () =>
            db.transaction(async (tx) => {
              tx.fence(lock);
              await tx.table(table).delete("a0");
            }),
        ]
      ) await assertDbError("lock_lost", write);
      assertEquals((await table.find("a0"))!.balance, 1);
      await lock.release();
    });

    test("watch() delivers every change in order, from a revision on, with the earlier row", async (db) => {
      const table = await accounts(db, 1);
      const { revision } = await table.query().page();
      await table.update("a0", { balance: 1 });
      await db.transaction(async (tx) => {
        await tx.table(table).insert({ id: "b", balance: 2 });
        await tx.table(table).insert({ id: "c", balance: 3 });
      });
      await table.delete("a0");
      const stop = new AbortController();
      const seen: string[] = [];
      for await (const change of table.watch({ after: revision, signal: stop.signal })) {
        seen.push(`${change.kind} ${change.id} ${change.before?.balance ?? "-"} ${change.row?.balance ?? "-"}`);
        if (seen.length === 4) await table.insert({ id: "live", balance: 4 });
        if (seen.length === 5) stop.abort();
      }
      assertEquals(seen.slice(0, 1), ["update a0 100 1"]);
      assertEquals(seen.slice(1, 3).sort(), ["insert b - 2", "insert c - 3"]);
      assertEquals(seen.slice(3), ["delete a0 1 -", "insert live - 4"]);
    });

    test("watch() continues after lost connections without losing or repeating a change", async (db, under) => {
      const table = await accounts(db, 0);
      const broken: Kv = { ...bound(under.kv), watch: (request) => breaking(under.kv.watch(request)) };
      const watched = await (await open({ kv: broken, namespace: under.namespace })).table("accounts", accountFields);
      const stop = new AbortController();
      const { revision } = await watched.query().page();
      for (let index = 0; index < 7; index++) await table.insert({ id: `w${index}` });
      const seen: string[] = [];
      for await (const change of watched.watch({ after: revision, signal: stop.signal })) {
        seen.push(change.id);
        if (seen.length === 7) stop.abort();
      }
      assertEquals(seen, Array.from({ length: 7 }, (_, index) => `w${index}`));
    });

    test("watch() throws when etcd has compacted the missing changes", async (db, under) => {
      const table = await accounts(db, 1);
      const { revision } = await table.query().page();
      await table.update("a0", { balance: 1 });
      await table.update("a0", { balance: 2 });
      const present = (await table.query().page()).revision;
      await under.compact(present);
      const error = await assertDbError("compacted", async () => {
        for await (const _ of table.watch({ after: revision, signal: AbortSignal.timeout(10_000) }));
      });
      assertEquals([error.table, (error as unknown as { compactRevision: number }).compactRevision], [
        "accounts",
        present,
      ]);
    });
  });

const bound = (kv: Kv): Kv => ({
  range: (request) => kv.range(request),
  txn: (request) => kv.txn(request),
  watch: (request) => kv.watch(request),
  grantLease: (ttl) => kv.grantLease(ttl),
  keepLease: (id) => kv.keepLease(id),
  revokeLease: (id) => kv.revokeLease(id),
  close: () => kv.close(),
});

/** A watch that fails after each batch that is not empty. */
async function* breaking(watch: ReturnType<Kv["watch"]>): ReturnType<Kv["watch"]> {
  for await (const batch of watch) {
    yield batch;
    if (batch.events.length > 0) throw new KvError("unavailable", "broken on purpose");
  }
}

/** Loses one write's request, or its answer after it was applied. */
class LossyKv {
  next: "nothing" | "request" | "answer" = "nothing";
  between: (() => Promise<unknown>) | undefined;
  readonly kv: Kv;

  constructor(inner: Kv) {
    this.kv = {
      ...bound(inner),
      txn: async (request: TxnRequest) => {
        const writes = request.success.some((operation) => operation.kind !== "range");
        if (this.next === "nothing" || !writes) return await inner.txn(request);
        const how = this.next;
        this.next = "nothing";
        if (how === "answer") await inner.txn(request);
        const { between } = this;
        this.between = undefined;
        await between?.();
        throw new KvError("unavailable", "lost on purpose");
      },
    };
  }
}
