/** Reads of a database that changes between two reads, as beside a running etcd: no commit ever looks like damage. */
import { isE2dError } from "../../lib/errors.ts";
import { inspectDataDir } from "../../lib/etcd/data/data_dir.ts";
import { readDatabase } from "../../lib/etcd/data/database.ts";
import type { OpenFile } from "../../lib/ports.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { concat, databaseImage, diskPorts, pageBytes, wholeDatabase, wholeDisk } from "./data_dir_image.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A file that has the content `at(n)` when it is read the n-th time, from 0. */
class ChangingFile implements OpenFile {
  reads = 0;
  closed = false;
  readonly #at: (read: number) => Bytes;

  constructor(at: (read: number) => Bytes) {
    this.#at = at;
  }

  get size(): number {
    return this.#at(this.reads).length;
  }

  read(offset: number, length: number): Promise<Bytes> {
    return Promise.resolve(this.#at(this.reads++).slice(offset, offset + length));
  }

  close(): void {
    this.closed = true;
  }
}

const reading = (file: ChangingFile) => readDatabase("/db", { open: () => Promise.resolve(file) });

const noise = new Uint8Array(pageBytes).fill(0xa5);

/** Transaction 6 is in the lower pages, transaction 8 in the upper ones. */
const older = databaseImage({ ...wholeDatabase, transaction: 6 });
const upper = databaseImage({ ...wholeDatabase, transaction: 8, revisions: [9, 10, 11], freePages: 6 });
/** etcd has reused every page of transaction 6 for something else. */
const newer = concat([
  upper.subarray(0, 3 * pageBytes),
  ...Array.from({ length: 6 }, () => noise),
  upper.subarray(9 * pageBytes),
]);
/** Transaction 7 is committed and those pages are overwritten, before the meta page of transaction 8 is. */
const between = concat([
  older.subarray(0, pageBytes),
  databaseImage({ ...wholeDatabase, transaction: 7, freePages: 6 }).subarray(pageBytes, 2 * pageBytes),
  newer.subarray(2 * pageBytes),
]);

Deno.test("a database that etcd commits to at any point of a read is read whole, before or after the commit", async () => {
  const still = new ChangingFile(() => older);
  const before = await reading(still);
  const after = await reading(new ChangingFile(() => newer));
  assertEquals([before?.revision, after?.revision], [4, 11]);
  for (let commit = 1; commit <= still.reads; commit++) {
    const found = await reading(new ChangingFile((read) => read < commit ? older : newer));
    assertEquals(found, commit === still.reads ? before : after, `commit before read ${commit}`);
    for (let end = commit + 1; end <= still.reads + 1; end++) {
      const file = new ChangingFile((read) => read < commit ? older : read < end ? between : newer);
      const { revision } = (await reading(file))!;
      assert(revision === 4 || revision === 11, `${revision} with commits before reads ${commit} and ${end}`);
      assert(file.closed);
    }
  }
});

Deno.test("a meta page that is read while etcd writes it is not damage", async () => {
  const torn = (page: number) => {
    const data = older.slice();
    data.fill(0, page * pageBytes + 48, page * pageBytes + 96);
    return data;
  };
  const whole = await reading(new ChangingFile(() => older));
  // The first meta page is torn at its read, the second one by the next commit at its own.
  const unlucky = new ChangingFile((read) => read === 0 ? torn(0) : read < 8 ? torn(1) : older);
  assertEquals(await reading(unlucky), whole);
});

Deno.test("a database that changes during every read is unreadable, never damaged", async () => {
  const states = Array.from(
    { length: 200 },
    (_, at) => databaseImage({ ...wholeDatabase, transaction: 6 + at, freePages: at % 2 * 6 }),
  );
  const file = new ChangingFile((read) => states[read % states.length]!);
  const failure = await reading(file).then(() => undefined, (error) => error);
  assert(isE2dError(failure, "data_changing"), String(failure));
  assert(file.reads < 1_000, `${file.reads} reads`);

  const { files, reader } = diskPorts(wholeDisk());
  const changing = {
    open: (path: string) =>
      path.endsWith("/db")
        ? Promise.resolve(new ChangingFile((read) => states[read % states.length]!))
        : reader.open(path),
  };
  const found = await inspectDataDir("/d", { files, reader: changing });
  assert(
    found.kind === "unreadable" && found.why.includes("it changed during each of 20 reads"),
    JSON.stringify(found),
  );
});

Deno.test("damage at rest stays damage", async () => {
  const damaged = older.slice();
  damaged.set(noise, 3 * pageBytes);
  const failure = await reading(new ChangingFile(() => damaged)).then(() => undefined, (error) => error);
  assert(isE2dError(failure, "data_damaged"), String(failure));
});
