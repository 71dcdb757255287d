/** Which snapshot the copy at the key is of is read from its header: a database keeps its size while its content changes. */
import { latestSnapshot } from "../../lib/snapshot/lookup.ts";
import { manifestSuffix } from "../../lib/snapshot/manifest.ts";
import type { Store } from "../../lib/storage/store.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { LyingStore } from "../support/lying_store.ts";
import { MemoryStore } from "../support/memory_store.ts";
import { key, save } from "./support.ts";

async function outcome(store: Store): Promise<string> {
  const found = await latestSnapshot({ store, key });
  return found.kind === "unreadable" ? found.code : found.kind === "newest" ? `newest ${found.revision}` : found.kind;
}

/** Revisions 11 to 13, in which no size differs; the clock of the store is that of the node. */
async function threeOfOneSize(format: "v2" | "go-v1" = "v2"): Promise<MemoryStore> {
  const store = new MemoryStore();
  for (const minute of [11, 12, 13]) await save(store, { minute, format });
  assertEquals(new Set([...store.objects].filter(([name]) => !name.endsWith(manifestSuffix)).map(sizeOf)).size, 1);
  return store;
}

const sizeOf = ([, { bytes }]: [string, { bytes: Uint8Array }]) => bytes.length;

/** Listings of the history lack its newest snapshot: the first so many of them. */
function hideNewest(store: MemoryStore, listings: number, hides: (prefix: string) => boolean = () => true): Store {
  const list = store.list.bind(store);
  let left = listings;
  store.list = async (prefix) => {
    const all = await list(prefix);
    return hides(prefix) && left-- > 0 ? all.filter(({ key }) => !/Z-13-/.test(key)) : all;
  };
  return store;
}

Deno.test("latestSnapshot(): a listing without the newest snapshot never selects an older one, although all sizes are equal", async () => {
  assertEquals(await outcome(await threeOfOneSize()), "newest 13");
  // Both listings lag: the header of the copy names a snapshot that neither has.
  assertEquals(await outcome(hideNewest(await threeOfOneSize(), Infinity)), "history_incomplete");
  // One of the two lags, whichever, and goes on to lag.
  for (const lagging of [`${key}.history/`, key]) {
    const store = hideNewest(await threeOfOneSize(), Infinity, (prefix) => prefix === lagging);
    assertEquals(await outcome(store), "store_contradiction");
  }
  // It lagged once, or a snapshot was saved between the two: the next look decides.
  assertEquals(await outcome(hideNewest(await threeOfOneSize(), 1)), "newest 13");
});

Deno.test("latestSnapshot(): one listing that lies never makes an older snapshot the newest", async () => {
  let lied = 0;
  for (let question = 0; question < 8; question++) {
    for (const lie of [1, 2, 3, 5].map((missing) => ({ kind: "stale listing", missing }) as const)) {
      const store = new LyingStore();
      // Through the store, which keeps the order of writes.
      for (const minute of [11, 12, 13]) {
        const [saved, others] = [new MemoryStore(), store.truth];
        for (const [name, object] of others.objects) saved.objects.set(name, object);
        await save(saved, { minute });
        for (const [name, { bytes }] of saved.objects) {
          if (others.objects.get(name)?.bytes === bytes) continue;
          others.nowMs = minute * 60_000;
          await store.write(name, ReadableStream.from([bytes]));
        }
      }
      let at = 0;
      store.lies = ({ operation }) => operation === "list" && at++ === question ? lie : undefined;
      const found = await outcome(store);
      assert(!/newest 1[12]|absent|newest 0/.test(found), `${question} ${JSON.stringify(lie)}: ${found}`);
      lied += Number(at > question);
    }
  }
  assert(lied >= 8, String(lied));
});

Deno.test("latestSnapshot(): a save between the listing and the read of the copy is not a contradiction", async () => {
  const store = await threeOfOneSize();
  const read = store.read.bind(store);
  let saved = false;
  store.read = async (name) => {
    if (name === key && !saved) {
      saved = true;
      await save(store, { minute: 14 });
    }
    return await read(name);
  };
  assertEquals(await outcome(store), "newest 14");
});

Deno.test("latestSnapshot(): a snapshot of an earlier answer is not absent because later answers are empty", async () => {
  const store = await threeOfOneSize();
  const list = store.list.bind(store);
  let count = 0;
  store.list = async (prefix) => ++count === 2 ? await list(prefix) : [];
  store.info = () => Promise.resolve(undefined);
  assertEquals(await outcome(store), "store_contradiction");
});

Deno.test("latestSnapshot(): the copy of an older or removed snapshot does not block", async () => {
  const store = await threeOfOneSize();
  const objectAt = (revision: number) => [...store.objects.keys()].find((name) => name.includes(`Z-${revision}-`))!;
  // The copy of the newest one failed; since then the snapshot that was copied was thinned out.
  store.objects.set(key, store.objects.get(objectAt(11))!);
  assertEquals(await outcome(store), "newest 13");
  for (const name of [`${objectAt(11)}${manifestSuffix}`, objectAt(11)]) store.objects.delete(name);
  assertEquals(await outcome(store), "newest 13");
});

Deno.test("latestSnapshot(): the checksum distinguishes a file of the original from a copy of the same size", async () => {
  const store = await threeOfOneSize("go-v1");
  const { bytes } = store.objects.get(key)!;
  // Copied again a while later, by a sync of the bucket.
  store.objects.set(key, { bytes, modifiedMs: 60 * 60_000 });
  assertEquals(await outcome(store), "newest 13");
  store.objects.set(key, { bytes: bytes.map((byte, at) => at === 99 ? byte ^ 1 : byte), modifiedMs: 61 * 60_000 });
  assertEquals(await outcome(store), "newest 0");
});
