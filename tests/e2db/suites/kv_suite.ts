/** Cases for every Kv, which run on the store in memory and on real etcd. */
import { type Compare, type Kv, KvError, type KvErrorKind, type Operation } from "../../../lib/e2db/mod.ts";
import { assert, assertEquals } from "../../support/assert.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (data: Uint8Array) => new TextDecoder().decode(data);
const put = (key: string, value: string, lease?: string): Operation => ({
  kind: "put",
  key: bytes(key),
  value: bytes(value),
  lease,
});
const mod = (key: string, revision: number, result: Compare["result"] = "equal"): Compare => ({
  key: bytes(key),
  target: "mod",
  result,
  revision,
});
const read = (key: string, end?: string): Operation => ({
  kind: "range",
  request: { key: bytes(key), end: end === undefined ? undefined : bytes(end) },
});

async function refused(kind: KvErrorKind, action: () => Promise<unknown>): Promise<KvError> {
  try {
    await action();
  } catch (error) {
    if (error instanceof KvError && error.kind === kind) return error;
    throw new Error(`expected KvError ${kind}, got ${error}`, { cause: error });
  }
  throw new Error(`expected KvError ${kind}, but nothing was thrown`);
}

export interface KvUnderTest {
  kv: Kv;
  compact(revision: number): Promise<void> | void;
}

export interface KvCase {
  promise: string;
  run(under: KvUnderTest): Promise<void>;
}

/** The cases; each uses keys of its own, so one store can serve all. */
export function kvCases(): KvCase[] {
  const cases: KvCase[] = [];
  const test = (promise: string, run: (kv: Kv, under: KvUnderTest) => Promise<void>) =>
    void cases.push({ promise, run: (under) => run(under.kv, under) });
  const write = (kv: Kv, ...success: Operation[]) => kv.txn({ compares: [], success, failure: [] });

  test("range() returns keys in byte order with their revisions, versions and count", async (kv) => {
    const first = await write(kv, put("a/2", "two"), put("a/10", "ten"), put("a/\x00", "nul"));
    const second = await write(kv, put("a/2", "TWO"));
    const { kvs, count, more, revision } = await kv.range({ key: bytes("a/"), end: bytes("a0") });
    assertEquals(kvs.map((kv) => [text(kv.key), text(kv.value)]), [["a/\x00", "nul"], ["a/10", "ten"], ["a/2", "TWO"]]);
    assertEquals([count, more, revision], [3, false, second.revision]);
    const { createRevision, modRevision, version } = kvs[2]!;
    assertEquals([createRevision, modRevision, version], [first.revision, second.revision, 2]);
  });

  test("range() stops at the limit and sets `more`; countOnly and keysOnly omit the rest", async (kv) => {
    await write(kv, put("b/1", "x"), put("b/2", "x"), put("b/3", "x"));
    const range = { key: bytes("b/"), end: bytes("b0") };
    const limited = await kv.range({ ...range, limit: 2 });
    assertEquals([limited.kvs.length, limited.more, limited.count], [2, true, 3]);
    assertEquals((await kv.range({ ...range, limit: 3 })).more, false);
    const counted = await kv.range({ ...range, countOnly: true });
    assertEquals([counted.kvs.length, counted.count, counted.more], [0, 3, false]);
    const keys = await kv.range({ ...range, keysOnly: true });
    assertEquals(keys.kvs.map((kv) => [text(kv.key), kv.value.length]), [["b/1", 0], ["b/2", 0], ["b/3", 0]]);
  });

  test("range() reads earlier revisions, and refuses future ones", async (kv) => {
    const { revision } = await write(kv, put("c", "old"));
    await write(kv, put("c", "new"));
    await write(kv, { kind: "delete", key: bytes("c") });
    assertEquals((await kv.range({ key: bytes("c") })).count, 0);
    assertEquals(text((await kv.range({ key: bytes("c"), revision })).kvs[0]!.value), "old");
    assertEquals(text((await kv.range({ key: bytes("c"), revision: revision + 1 })).kvs[0]!.value), "new");
    await refused("invalid", () => kv.range({ key: bytes("c"), revision: revision + 1_000_000 }));
  });

  test("txn() executes one branch, and later operations see earlier ones", async (kv) => {
    const made = await kv.txn({ compares: [mod("d", 0)], success: [put("d", "1"), read("d")], failure: [] });
    assert(made.succeeded);
    assertEquals(text(made.ranges[1]!.kvs[0]!.value), "1");
    const again = await kv.txn({ compares: [mod("d", 0)], success: [put("d", "2")], failure: [read("d")] });
    assertEquals(again.succeeded, false);
    assertEquals(text(again.ranges[0]!.kvs[0]!.value), "1");
    assertEquals(again.revision, made.revision);
  });

  test("txn() compares less, greater, equal, mod and create", async (kv) => {
    const { revision } = await write(kv, put("e", "1"));
    const last = (await write(kv, put("e", "2"))).revision;
    const holds = async (compare: Compare) =>
      (await kv.txn({ compares: [compare], success: [], failure: [] })).succeeded;
    assertEquals(await holds(mod("e", last)), true);
    assertEquals(await holds(mod("e", last, "less")), false);
    assertEquals(await holds(mod("e", last + 1, "less")), true);
    assertEquals(await holds(mod("e", last, "greater")), false);
    assertEquals(await holds(mod("e", revision, "greater")), true);
    assertEquals(await holds({ key: bytes("e"), target: "create", result: "equal", revision }), true);
    assertEquals(await holds({ key: bytes("e-none"), target: "create", result: "equal", revision: 0 }), true);
  });

  test("txn() compares a range: the condition must be true for every key, and is for an empty range", async (kv) => {
    const { revision } = await write(kv, put("f/1", "x"), put("f/2", "x"));
    const range = { key: bytes("f/"), end: bytes("f0"), target: "mod", result: "less" } as const;
    const holds = async (compare: Compare) =>
      (await kv.txn({ compares: [compare], success: [], failure: [] })).succeeded;
    assertEquals(await holds({ ...range, revision: revision + 1 }), true);
    await write(kv, put("f/2", "y"));
    assertEquals(await holds({ ...range, revision: revision + 1 }), false);
    assertEquals(await holds({ ...range, key: bytes("f/3"), revision: 1 }), true);
  });

  test("txn() deletes a range, and refuses a key written twice", async (kv) => {
    await write(kv, put("g/1", "x"), put("g/2", "x"));
    await write(kv, { kind: "delete", key: bytes("g/"), end: bytes("g0") });
    assertEquals((await kv.range({ key: bytes("g/"), end: bytes("g0") })).count, 0);
    await refused("invalid", () => write(kv, put("g", "1"), put("g", "2")));
    await refused("invalid", () => write(kv, put("g/1", "1"), { kind: "delete", key: bytes("g/"), end: bytes("g0") }));
  });

  test("txn() accepts 128 operations but not 129, and no more than 1.5 MiB", async (kv) => {
    const puts = Array.from({ length: 129 }, (_, index) => put(`h/${index}`, "x"));
    assert((await write(kv, ...puts.slice(1))).succeeded);
    await refused("too_many_operations", () => write(kv, ...puts));
    await refused("too_large", () => write(kv, put("h", "x".repeat(1_600_000))));
  });

  test("an answer over 4 MiB arrives", async (kv) => {
    for (let index = 0; index < 5; index++) await write(kv, put(`i/${index}`, "x".repeat(1_000_000)));
    const { kvs } = await kv.range({ key: bytes("i/"), end: bytes("i0") });
    assertEquals(kvs.reduce((sum, kv) => sum + kv.value.length, 0), 5_000_000);
  });

  test("watch() delivers puts and deletions with the earlier state, from a revision on, and ends when aborted", async (kv) => {
    const { revision } = await write(kv, put("j/1", "old"));
    await write(kv, put("j/1", "new"), put("k", "elsewhere"));
    await write(kv, { kind: "delete", key: bytes("j/1") });
    const stop = new AbortController();
    const seen: string[] = [];
    const range = { key: bytes("j/"), end: bytes("j0"), fromRevision: revision, signal: stop.signal };
    for await (const { events } of kv.watch(range)) {
      for (const event of events) {
        const before = event.before === undefined ? "" : ` was ${text(event.before.value)}`;
        seen.push(event.kind === "put" ? `put ${text(event.kv.value)}${before}` : `delete${before}`);
      }
      if (seen.length === 3) await write(kv, put("j/2", "live"));
      if (seen.length === 4) stop.abort();
    }
    assertEquals(seen, ["put old", "put new was old", "delete was new", "put live"]);
  });

  test("watch() without a revision begins now", async (kv) => {
    await write(kv, put("l", "before"));
    const stop = new AbortController();
    const seen: string[] = [];
    for await (const { events } of kv.watch({ key: bytes("l"), end: bytes("m"), signal: stop.signal })) {
      for (const event of events) if (event.kind === "put") seen.push(text(event.kv.value));
      if (seen.length === 0) await write(kv, put("l", "after"));
      else stop.abort();
    }
    assertEquals(seen, ["after"]);
  });

  test("a revoked lease deletes its keys; until then it can be renewed", async (kv) => {
    const { id, ttlSeconds } = await kv.grantLease(60);
    assert(ttlSeconds >= 60);
    await write(kv, put("n", "leased", id));
    assert(await kv.keepLease(id) > 0);
    await kv.revokeLease(id);
    assertEquals((await kv.range({ key: bytes("n") })).count, 0);
    await refused("no_lease", () => kv.keepLease(id));
    await refused("no_lease", () => write(kv, put("n", "again", id)));
    await kv.revokeLease(id);
  });

  test(
    "what is compacted can be neither read nor watched, and the error says from where on it can",
    async (kv, under) => {
      const { revision } = await write(kv, put("o", "1"));
      await write(kv, put("o", "2"));
      const present = (await write(kv, put("o", "3"))).revision;
      await under.compact(present);
      await refused("compacted", () => kv.range({ key: bytes("o"), revision }));
      assertEquals(text((await kv.range({ key: bytes("o"), revision: present })).kvs[0]!.value), "3");
      const signal = AbortSignal.timeout(10_000);
      const error = await refused("compacted", async () => {
        for await (const _ of kv.watch({ key: bytes("o"), end: bytes("p"), fromRevision: revision, signal }));
      });
      assertEquals(error.compactRevision, present);
    },
  );
  return cases;
}
