/** The newest snapshot is gone from the history, and the copy at the key is all that is left of it. */
import { latestSnapshot } from "../../lib/snapshot/lookup.ts";
import { manifestSuffix } from "../../lib/snapshot/manifest.ts";
import { FileStore } from "../../lib/storage/file_store.ts";
import { systemFiles } from "../../lib/sys/files.ts";
import { systemStaging } from "../../lib/sys/staging.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { MemoryStore } from "../support/memory_store.ts";
import { collect, key, save } from "./support.ts";

type Damage = (store: MemoryStore, name: string) => void;

const damages: Readonly<Record<string, Damage>> = {
  "its manifest": (store, name) => void store.objects.delete(`${name}${manifestSuffix}`),
  "manifest and object": (store, name) => {
    store.objects.delete(`${name}${manifestSuffix}`);
    store.objects.delete(name);
  },
  "its object": (store, name) => void store.objects.delete(name),
};

for (const [what, damage] of Object.entries(damages)) {
  Deno.test(`${what} missing: never an older snapshot, and the copy at the key is kept before it is replaced`, async () => {
    const store = new MemoryStore();
    for (const minute of [1, 2]) await save(store, { minute });
    const { key: name } = await save(store, { minute: 3 });
    const last = store.objects.get(key)!.bytes;
    damage(store, name);
    const expected = what === "its object" ? "newest 3" : "history_incomplete";
    assertEquals(await outcome(store), expected);
    // The same on a disk.
    await using dir = await temporaryDirectory();
    const disk = new FileStore(dir.path, { files: systemFiles, staging: systemStaging, token: () => "t" });
    for (const [path, { bytes }] of store.objects) await disk.write(path, ReadableStream.from([bytes]));
    assertEquals(await outcome(disk), expected);

    await save(store, { minute: 4 });
    assertEquals(await outcome(store), "newest 4");
    const kept = [...store.objects].filter(([path]) => path.includes("/foreign-"));
    assertEquals(kept.map(([, { bytes }]) => bytes), [last]);
    // A copy that the history has whole is not kept again.
    await save(store, { minute: 5 });
    assertEquals([...store.objects.keys()].filter((path) => path.includes("/foreign-")).length, 1);
    assert((await collect((await disk.read(key))!.stream)).length === last.length);
  });
}

async function outcome(store: MemoryStore | FileStore): Promise<string> {
  const found = await latestSnapshot({ store, key });
  return found.kind === "unreadable" ? found.code : found.kind === "newest" ? `newest ${found.revision}` : found.kind;
}

for (const format of ["go-v1", "plain"] as const) {
  Deno.test(`a file at the key without a header (${format}) is kept before it is replaced, unless the history has it`, async () => {
    const store = new MemoryStore();
    const form = { format: "go-v1", sealed: format === "go-v1" } as const;
    const keptNow = () =>
      [...store.objects].filter(([path]) => path.includes("/foreign-")).map(([, { bytes }]) => bytes);
    const copy = (name: string) => store.objects.set(key, { ...store.objects.get(name)! });
    for (const minute of [1, 2]) copy((await save(store, { ...form, minute })).key);
    await save(store, { ...form, minute: 3 });
    assertEquals(keptNow(), []);
    // The Go original wrote it since, with the same size.
    const other = new MemoryStore();
    const { key: theirs } = await save(other, { ...form, minute: 4, text: "theirs" });
    const { bytes } = other.objects.get(theirs)!;
    store.objects.set(key, { bytes, modifiedMs: 4 * 60_000 });
    await save(store, { ...form, minute: 5 });
    assertEquals(keptNow(), [bytes]);
    // The object of the history is gone.
    const { key: last } = await save(store, { ...form, minute: 6 });
    copy(last);
    const lastBytes = store.objects.get(last)!.bytes;
    store.objects.delete(last);
    await save(store, { ...form, minute: 7 });
    assertEquals(keptNow(), [bytes, lastBytes]);
  });
}
