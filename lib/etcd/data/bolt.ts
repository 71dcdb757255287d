/**
 * Reads a bbolt database file, the one that etcd keeps as `member/snap/db`. It never writes, takes no lock, never holds
 * the whole file in memory, and checks every number of the file before it uses it.
 *
 * Layout after go.etcd.io/bbolt (db.go, internal/common/{meta,page,bucket}.go): pages of one size, two meta pages, and
 * B+ trees of branch and leaf pages.
 */
import { compareBytes } from "../../bytes.ts";
import { E2dError } from "../../errors.ts";
import type { FileReader, OpenFile } from "../../ports.ts";
import { type BoltMeta, type MetaPages, readMetaPages, requireWholeFile } from "./bolt_meta.ts";
import { type BoltEntry, BoltPage, type Bytes, elementBytes, headerBytes, headerOf, number64 } from "./bolt_page.ts";
import { damage } from "./damage.ts";

/** A bucket: the root page of its tree or, of a small bucket, its only page. */
export type BoltBucket = { readonly rootPage: number } | { readonly inline: BoltPage };

const depthMax = 32;
/** A page with its overflow pages; etcd bounds requests far below. */
const pageBytesMax = 64 * 1024 * 1024;
const keyBytesMax = 64 * 1024;
/** Entries of a bucket that is read whole, unless the caller expects more. */
const entriesMax = 20_000;
/** Beside an etcd that commits ten times a second, several attempts in a row may be overtaken by a commit. */
const attemptsMax = 20;

/**
 * Calls `read` with one committed state of the database at `path` and returns its result, or undefined when there is no
 * such file.
 *
 * A running etcd may overwrite pages of this state from the second following commit on. The result, and likewise damage,
 * is therefore accepted only when the meta pages were the same before and after `read`; otherwise `read` is called again
 * with the newer state.
 *
 * Throws E2dError `data_damaged`, `file_read`, or `data_changing` when each of 20 attempts was overtaken by a commit:
 * then nothing is known about the file.
 */
export async function readBolt<T>(
  path: string,
  reader: FileReader,
  read: (tree: BoltTree) => Promise<T>,
): Promise<T | undefined> {
  const file = await reader.open(path);
  if (file === undefined) return undefined;
  try {
    let before = await readMetaPages(file);
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const [outcome] = await Promise.allSettled([readState(file, before, read)]);
      const after = await readMetaPages(file);
      if (after.content === before.content) {
        if (outcome.status === "rejected") throw outcome.reason;
        return outcome.value;
      }
      before = after;
    }
    throw new E2dError("data_changing", `Cannot read "${path}": it changed during each of ${attemptsMax} reads`, {
      hint: "an etcd is writing to it",
    });
  } finally {
    file.close();
  }
}

async function readState<T>(file: OpenFile, { newest }: MetaPages, read: (tree: BoltTree) => Promise<T>): Promise<T> {
  if (newest === undefined) throw damage("it has no valid meta page");
  await requireWholeFile(file, newest);
  return await read(new BoltTree(file, newest));
}

/** The committed state that one meta page describes. Every method throws E2dError `data_damaged` or `file_read`. */
export class BoltTree {
  readonly #file: OpenFile;
  readonly #meta: BoltMeta;
  /** Pages of the tree of buckets: few, and read for each bucket. Fewer reads leave a writer less time to interfere. */
  readonly #bucketPages = new Map<number, BoltPage>();

  constructor(file: OpenFile, meta: BoltMeta) {
    this.#file = file;
    this.#meta = meta;
  }

  /** Undefined when there is no bucket of that name. */
  async bucket(name: string): Promise<BoltBucket | undefined> {
    const wanted = new TextEncoder().encode(name);
    let page = await this.#bucketPage(this.#meta.rootPage);
    for (let depth = 0; page.kind === "branch"; depth++) {
      if (depth === depthMax) throw damage(`the tree of buckets is deeper than ${depthMax} pages`);
      // The last child whose first key is not above the wanted one.
      let child = 0;
      for (let index = 1; index < page.count; index++) {
        if (compareBytes(page.key(index), wanted) <= 0) child = index;
        else break;
      }
      page = await this.#bucketPage(page.child(child));
    }
    for (let index = 0; index < page.count; index++) {
      if (compareBytes(page.key(index), wanted) !== 0) continue;
      if (!page.isBucket(index)) throw damage(`"${name}" is not a bucket`);
      return bucketOf(page.value(index), name);
    }
    return undefined;
  }

  /** All entries in the order of their keys. Only a bucket declared `large` may have more than 20,000. */
  async *entries(bucket: BoltBucket, { large = false } = {}): AsyncGenerator<BoltEntry, void, void> {
    // A large bucket has no more entries than the file has bytes: a tree that leads back into itself ends.
    const budget = { entries: large ? this.#meta.endPage * this.#meta.pageBytes : entriesMax };
    if ("inline" in bucket) yield* entriesOf(bucket.inline, budget);
    else yield* this.#entriesBelow(bucket.rootPage, 0, budget);
  }

  /** The greatest key, by one way down the tree, without reading values. Undefined when the bucket is empty. */
  async lastKey(bucket: BoltBucket): Promise<Bytes | undefined> {
    if ("inline" in bucket) {
      const { inline } = bucket;
      return inline.count === 0 ? undefined : inline.key(inline.count - 1).slice();
    }
    let id = bucket.rootPage;
    for (let depth = 0; depth < depthMax; depth++) {
      const { kind, count, element, offset } = await this.#lastElement(id);
      if (count === 0) {
        if (kind === "branch") throw damage(`page ${id} is a branch without children`);
        return undefined;
      }
      const view = new DataView(element.buffer, element.byteOffset, elementBytes);
      if (kind === "branch") {
        id = number64(view, 8);
        continue;
      }
      const [position, keyBytes] = [view.getUint32(4, true), view.getUint32(8, true)];
      if (keyBytes > keyBytesMax) throw damage(`page ${id} has a key of ${keyBytes} bytes`);
      const key = await this.#file.read(offset + position, keyBytes);
      if (key.length < keyBytes) throw damage(`page ${id} ends within a key`);
      return key;
    }
    throw damage(`the tree of keys is deeper than ${depthMax} pages`);
  }

  async *#entriesBelow(id: number, depth: number, budget: Budget): AsyncGenerator<BoltEntry, void, void> {
    if (depth === depthMax) throw damage(`a tree is deeper than ${depthMax} pages`);
    const page = await this.#page(id);
    if (page.kind === "leaf") return yield* entriesOf(page, budget);
    for (let index = 0; index < page.count; index++) {
      spend(budget);
      yield* this.#entriesBelow(page.child(index), depth + 1, budget);
    }
  }

  async #bucketPage(id: number): Promise<BoltPage> {
    const page = this.#bucketPages.get(id) ?? await this.#page(id);
    this.#bucketPages.set(id, page);
    return page;
  }

  async #page(id: number): Promise<BoltPage> {
    const offset = this.#offset(id);
    const first = await this.#file.read(offset, this.#meta.pageBytes);
    if (first.length < this.#meta.pageBytes) throw damage(`page ${id} lies beyond the end of the file`);
    const { overflow } = headerOf(first, id);
    if (overflow === 0) return new BoltPage(first, id);
    const bytes = (overflow + 1) * this.#meta.pageBytes;
    if (bytes > pageBytesMax) throw damage(`page ${id} is ${bytes} bytes long`);
    const whole = await this.#file.read(offset, bytes);
    if (whole.length < bytes) throw damage(`page ${id} lies beyond the end of the file`);
    return new BoltPage(whole, id);
  }

  /** The last element of a page, which may be too large to be read whole, and its offset in the file. */
  async #lastElement(id: number) {
    const start = this.#offset(id);
    const header = await this.#file.read(start, headerBytes);
    const { kind, count } = headerOf(header, id);
    const offset = start + headerBytes + Math.max(0, count - 1) * elementBytes;
    const element = await this.#file.read(offset, elementBytes);
    if (element.length < elementBytes) throw damage(`page ${id} ends within its elements`);
    return { kind, count, element, offset };
  }

  #offset(id: number): number {
    if (id < 2 || id >= this.#meta.endPage) throw damage(`page ${id} is not one of the ${this.#meta.endPage} pages`);
    return id * this.#meta.pageBytes;
  }
}

interface Budget {
  entries: number;
}

function spend(budget: Budget): void {
  if (--budget.entries < 0) throw damage("a bucket has too many entries");
}

function* entriesOf(page: BoltPage, budget: Budget): Generator<BoltEntry> {
  if (page.kind !== "leaf") throw damage("an inline bucket is a branch page");
  for (let index = 0; index < page.count; index++) {
    spend(budget);
    if (!page.isBucket(index)) yield { key: page.key(index), value: page.value(index) };
  }
}

function bucketOf(value: Bytes, name: string): BoltBucket {
  if (value.length < headerBytes) throw damage(`bucket "${name}" has no header`);
  const rootPage = number64(new DataView(value.buffer, value.byteOffset, value.length), 0);
  return rootPage === 0 ? { inline: new BoltPage(value.subarray(headerBytes), "inline") } : { rootPage };
}
