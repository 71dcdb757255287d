/**
 * e2db beside bare etcd3 on the same etcd in the same run: `deno run -A bench/e2db.ts [--large | --rows 1000,100000] [--etcd 3.6.14]`.
 *
 * "Bare" is the equivalent without e2db: one etcd3 call for each read, and for a write one etcd3 transaction with the same
 * number of bytes in one key. Medians in milliseconds; the ratio is e2db divided by bare. `--large` adds tables of 100,000
 * rows. The Go figures are those of the original's e2db on etcd 3.6 with one client.
 */
import type { Etcd3 } from "etcd3";
import { field, open, openEtcdKv, type Operation, type Table } from "../lib/e2db/mod.ts";
import { startEtcd } from "../tests/e2db/suites/etcd_cluster.ts";
import { etcdVersions } from "../tests/support/parts.ts";
import { reportRow } from "./report.ts";

const option = (name: string) => Deno.args.includes(name) ? Deno.args[Deno.args.indexOf(name) + 1] : undefined;
const version = etcdVersions.find((one) => one === option("--etcd")) ?? "3.6.14";
const sizes = option("--rows")?.split(",").map(Number) ??
  (Deno.args.includes("--large") ? [1_000, 5_000, 100_000] : [1_000, 5_000]);
const utf8 = new TextEncoder();

const fields = {
  id: field.increment(),
  email: field.string().unique().required(),
  group: field.number().index(),
  age: field.number().index(),
  note: field.string(),
};
interface User {
  id: number;
  email: string;
  group: number | null;
  age: number | null;
  note: string | null;
}
type Users = Table<User, Partial<User> & { email: string }, number>;

/** The figures of the original: median in ms, and the target as a share of it. */
const go: Record<string, { ms: number; aim: number; rows?: number }> = {
  "insert": { ms: 8.2, aim: 0.4 },
  "find by id": { ms: 0.7, aim: 1 },
  "find by unique": { ms: 1.0, aim: 1 },
  "50 rows by index": { ms: 15.6, aim: 0.3, rows: 5_000 },
  "100 rows in order": { ms: 111, aim: 0.05, rows: 5_000 },
  "count": { ms: 0.66, aim: 1 },
  "update": { ms: 4.5, aim: 0.4 },
};

function median(values: number[]): number {
  values.sort((a, b) => a - b);
  return values[values.length >> 1]!;
}

/** The median time of one call with this number of concurrent clients. */
async function measure(clients: number, calls: number, action: (call: number) => Promise<unknown>): Promise<number> {
  for (let call = 0; call < Math.min(20, calls); call++) await action(call);
  const times: number[] = [];
  let next = 20;
  const end = next + calls;
  await Promise.all(Array.from({ length: clients }, async () => {
    while (next < end) {
      const call = next++;
      const start = performance.now();
      await action(call);
      times.push(performance.now() - start);
    }
  }));
  return median(times);
}

interface Case {
  name: string;
  e2db: (call: number) => Promise<unknown>;
  bare: (call: number) => Promise<unknown>;
}

const pad = (text: string, width: number) => text.padStart(width);
const ms = (value: number) => pad(value.toFixed(2), 8);

await using cluster = await startEtcd(version);
const host = cluster.hosts[0]!;
console.log(`etcd ${version}, Deno ${Deno.version.deno}, ${navigator.hardwareConcurrency} cores\n`);
console.log("   rows clients case                    e2db ms  bare ms   ratio   Go ms  of Go   aim");

// The settings of e2db's own connection, so that only the operations differ.
const connection = await openEtcdKv({ hosts: host, callTimeoutMs: 60_000 });
const etcd: Etcd3 = connection.client;
const db = await open({ hosts: host, namespace: "bench" });

async function fill(rows: number): Promise<{ users: Users; text: string }> {
  const users = await db.table(`users${rows}`, fields) as Users;
  const note = "n".repeat(100);
  const make = (index: number) => ({
    email: `u${index}@example.org`,
    group: index % (rows / 50),
    age: (index * 7919) % rows,
    note,
  });
  const batch = 1_000;
  for (let at = 0; at < rows; at += batch) {
    // Several batches at once; each of insertMany's own transactions is small.
    await Promise.all(
      Array.from(
        { length: 10 },
        (_, part) =>
          users.insertMany(Array.from({ length: batch / 10 }, (_, index) => make(at + part * (batch / 10) + index))),
      ),
    );
  }
  const text = JSON.stringify({ id: 1, ...make(1) });
  const put = (index: number): Operation => ({
    kind: "put",
    key: utf8.encode(`bare${rows}/row/${String(index).padStart(9, "0")}`),
    value: utf8.encode(text),
  });
  for (let at = 0; at < rows; at += 100) {
    await connection.txn({ compares: [], success: Array.from({ length: 100 }, (_, n) => put(at + n)), failure: [] });
  }
  return { users, text };
}

const missed: string[] = [];
for (const rows of sizes) {
  const { users, text } = await fill(rows);
  let fresh = rows;
  const key = (index: number) => `bare${rows}/row/${String(index % rows).padStart(9, "0")}`;
  const range = (from: string, to: string, limit: number) =>
    etcd.getAll().inRange({ start: from, end: to }).limit(limit).exec();
  const cases: Case[] = [
    {
      name: "find by id",
      e2db: (call) => users.find(1 + (call * 31) % rows),
      bare: (call) => etcd.get(key(call * 31)).string(),
    },
    {
      name: "find by unique",
      e2db: (call) => users.findBy("email", `u${(call * 31) % rows}@example.org`),
      bare: (call) => etcd.get(key(call * 31)).string(),
    },
    {
      name: "50 rows by index",
      e2db: (call) => users.where("group").eq(call % (rows / 50)).all(),
      bare: (call) => range(key((call * 50) % (rows - 50)), `bare${rows}/row0`, 50),
    },
    {
      name: "100 rows in order",
      e2db: () => users.orderBy("age").limit(100).all(),
      bare: () => range(key(0), `bare${rows}/row0`, 100),
    },
    {
      name: "100 rows, range",
      e2db: (call) => users.where("age").gte((call * 31) % (rows / 2)).orderBy("age").limit(100).all(),
      bare: (call) => range(key((call * 31) % (rows / 2)), `bare${rows}/row0`, 100),
    },
    {
      name: "100 rows, reverse",
      e2db: () => users.orderBy("age").reverse().limit(100).all(),
      bare: () => etcd.getAll().prefix(`bare${rows}/row/`).sort("Key", "Descend").limit(100).exec(),
    },
    {
      name: "count",
      e2db: () => users.count(),
      bare: () => etcd.getAll().prefix(`bare${rows}/row/`).count(),
    },
    {
      name: "insert",
      e2db: () => users.insert({ email: `f${fresh++}@example.org`, group: -1, age: -1, note: "n" }),
      bare: () => {
        const made = `bare${rows}/made/${fresh++}`;
        return etcd.if(made, "Create", "==", 0).then(etcd.put(made).value(text)).commit();
      },
    },
    {
      name: "update",
      e2db: (call) => users.update(1 + (call * 31) % rows, { note: `changed ${call}` }),
      bare: async (call) => {
        const kv = (await range(key(call * 31), `${key(call * 31)}\0`, 1)).kvs[0]!;
        return await etcd.if(kv.key, "Mod", "==", Number(kv.mod_revision)).then(etcd.put(kv.key).value(text)).commit();
      },
    },
  ];
  for (const clients of [1, 32]) {
    for (const { name, e2db, bare } of cases) {
      const calls = (rows > 10_000 ? 60 : 200) * (clients === 1 ? 1 : 4);
      const bareMs = await measure(clients, calls, bare);
      const ourMs = await measure(clients, calls, e2db);
      const original = clients === 1 ? go[name] : undefined;
      const comparable = original !== undefined && (original.rows === undefined || original.rows === rows);
      const share = comparable ? ourMs / original.ms : undefined;
      const goText = comparable
        ? `${ms(original.ms)} ${pad(share!.toFixed(2), 6)} ${pad(String(original.aim), 5)}`
        : "";
      console.log(
        `${pad(String(rows), 7)} ${pad(String(clients), 7)} ${name.padEnd(20)} ${ms(ourMs)} ${ms(bareMs)} ${
          pad((ourMs / bareMs).toFixed(2), 7)
        } ${goText}`,
      );
      const what = `${name}, ${rows} rows, ${clients} clients`;
      reportRow({ what, unit: "ms", ours: [ourMs], peer: [bareMs], peerName: `bare etcd3, etcd ${version}`, aim: "" });
      if (comparable) {
        const limit = { of: "ratio", atMost: original.aim } as const;
        const peerName = "Go original, measured earlier";
        const aim = `≤ ${original.aim} of it`;
        reportRow({ what, unit: "ms", ours: [ourMs], peer: [original.ms], peerName, aim, limit });
      }
      if (comparable && share! > original.aim) {
        missed.push(`${name} on ${rows} rows: ${share!.toFixed(2)} of Go's time, aim ${original.aim}`);
      }
    }
  }
}
console.log(missed.length === 0 ? "\nEvery aim against Go is met." : `\nMissed: ${missed.join("; ")}`);
connection.close();
db.close();
