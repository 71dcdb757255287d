/**
 * Reads a bbolt database file, the one etcd keeps as `member/snap/db`: its meta pages, a bucket's entries, a bucket's
 * last key. Opens nothing for writing, takes no lock, never reads the whole file, believes no number in it unseen.
 *
 * Layout after go.etcd.io/bbolt (db.go, internal/common/{meta,page,bucket}.go): pages of one size; two meta pages, of
 * which the valid one with the higher transaction counts; B+ trees of branch and leaf pages; little-endian numbers.
 */
import { E2dError } from "../errors.ts";
import type { OpenFile } from "../ports.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface BoltMeta {
  readonly pageBytes: number;
  /** The page that the tree of all buckets begins at. */
  readonly rootPage: number;
  /** Pages in use lie below this one. */
  readonly endPage: number;
  /** Grows with each commit. */
  readonly transaction: number;
}

export interface BoltEntry {
  readonly key: Bytes;
  readonly value: Bytes;
}

/** A bucket: where its tree begins, or, of a small one, its only page. */
export type BoltBucket = { readonly rootPage: number } | { readonly inline: Bytes };

const magic = 0xed0cdaed;
const formatVersion = 2;
const headerBytes = 16;
const elementBytes = 16;
const metaBytes = 64;
const isBranch = 0x01;
const isLeaf = 0x02;
const isBucket = 0x01;
const depthMax = 32;
/** A page with what runs over from it; etcd's own requests are bounded far below. */
const pageBytesMax = 64 * 1024 * 1024;
/** What the buckets that are read whole may have in them. */
const entriesMax = 20_000;

/** The file is not what it should be; `message` says where. */
export function damage(what: string): E2dError {
  return new E2dError("data_damaged", what);
}

/** The newer valid meta page. Throws E2dError `data_damaged` when there is none. */
export async function readBoltMeta(file: OpenFile): Promise<BoltMeta> {
  const first = parseMeta(await file.read(0, headerBytes + metaBytes));
  // Where the second page is, only the first could tell; when that is broken, the page sizes of all machines are tried.
  const sizes = first === undefined ? [4096, 16384, 65536, 8192, 32768, 2048, 1024] : [first.pageBytes];
  let second: BoltMeta | undefined;
  for (const pageBytes of sizes) {
    const found = parseMeta(await file.read(pageBytes, headerBytes + metaBytes));
    if (found?.pageBytes !== pageBytes) continue;
    second = found;
    break;
  }
  const newest = first === undefined || (second !== undefined && second.transaction > first.transaction)
    ? second
    : first;
  if (newest === undefined) throw damage("it has no valid meta page");
  const wantedBytes = newest.endPage * newest.pageBytes;
  // By reading: a database that runs grows after it was opened.
  if ((await file.read(wantedBytes - 1, 1)).length === 0) {
    throw damage(`it is cut: ${file.size} bytes of at least ${wantedBytes}`);
  }
  return newest;
}

function parseMeta(page: Bytes): BoltMeta | undefined {
  if (page.length < headerBytes + metaBytes) return undefined;
  const view = new DataView(page.buffer, page.byteOffset + headerBytes, metaBytes);
  if (view.getUint32(0, true) !== magic || view.getUint32(4, true) !== formatVersion) return undefined;
  if (view.getBigUint64(56, true) !== fnv1a(page.subarray(headerBytes, headerBytes + 56))) return undefined;
  const pageBytes = view.getUint32(8, true);
  const powerOfTwo = (pageBytes & (pageBytes - 1)) === 0;
  if (!powerOfTwo || pageBytes < 512 || pageBytes > 1024 * 1024) return undefined;
  return {
    pageBytes,
    rootPage: number64(view, 16),
    endPage: number64(view, 40),
    transaction: number64(view, 48),
  };
}

/** FNV-1a of 64 bits. */
function fnv1a(data: Uint8Array): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of data) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash;
}

/** Numbers beyond 2^53 lose their last bits; no file is that long, so they fail where they are used. */
function number64(view: DataView, offset: number): number {
  return view.getUint32(offset + 4, true) * 2 ** 32 + view.getUint32(offset, true);
}

/** One state of the database: that of one meta page. Throws E2dError `data_damaged` for what cannot be. */
export class BoltTree {
  readonly #file: OpenFile;
  readonly meta: BoltMeta;

  constructor(file: OpenFile, meta: BoltMeta) {
    this.#file = file;
    this.meta = meta;
  }

  /** Undefined when there is no bucket of that name. */
  async bucket(name: string): Promise<BoltBucket | undefined> {
    const wanted = new TextEncoder().encode(name);
    let page = await this.#page(this.meta.rootPage);
    for (let depth = 0; page.kind === "branch"; depth++) {
      if (depth === depthMax) throw damage("its tree of buckets is too deep");
      // The last child whose first key is not above the wanted one.
      let child = 0;
      for (let index = 1; index < page.count; index++) {
        if (compareBytes(page.key(index), wanted) <= 0) child = index;
        else break;
      }
      page = await this.#page(page.child(child));
    }
    for (let index = 0; index < page.count; index++) {
      if (compareBytes(page.key(index), wanted) !== 0) continue;
      if ((page.flags(index) & isBucket) === 0) throw damage(`"${name}" in it is no bucket`);
      return bucketOf(page.value(index), name);
    }
    return undefined;
  }

  /** All entries in the order of their keys; of a bucket that may be `large`, any number of them. */
  async *entries(bucket: BoltBucket, { large = false } = {}): AsyncGenerator<BoltEntry, void, void> {
    // Even so no more than there are pages to hold them: a tree that leads back into itself ends.
    const budget = { entries: large ? this.meta.endPage * this.meta.pageBytes : entriesMax };
    if ("inline" in bucket) yield* entriesOf(new Page(bucket.inline, 0), budget);
    else yield* this.#entriesBelow(bucket.rootPage, 0, budget);
  }

  /** The greatest key, by one way down the tree; values are not read. Undefined when the bucket is empty. */
  async lastKey(bucket: BoltBucket): Promise<Bytes | undefined> {
    if ("inline" in bucket) {
      const page = new Page(bucket.inline, 0);
      return page.count === 0 ? undefined : page.key(page.count - 1).slice();
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
      if (keyBytes > 64 * 1024) throw damage(`page ${id} has a key of ${keyBytes} bytes`);
      const key = await this.#file.read(offset + position, keyBytes);
      if (key.length < keyBytes) throw damage(`page ${id} ends within a key`);
      return key;
    }
    throw damage("its tree of keys is too deep");
  }

  async *#entriesBelow(id: number, depth: number, budget: { entries: number }): AsyncGenerator<BoltEntry, void, void> {
    if (depth === depthMax) throw damage("its tree is too deep");
    const page = await this.#page(id);
    if (page.kind === "leaf") return yield* entriesOf(page, budget);
    for (let index = 0; index < page.count; index++) {
      if (--budget.entries < 0) throw damage("a small bucket has too many entries");
      yield* this.#entriesBelow(page.child(index), depth + 1, budget);
    }
  }

  async #page(id: number): Promise<Page> {
    const offset = this.#offset(id);
    const first = await this.#file.read(offset, this.meta.pageBytes);
    if (first.length < this.meta.pageBytes) throw damage(`page ${id} is beyond its end`);
    const { overflow } = headerOf(first, id);
    if (overflow === 0) return new Page(first, id);
    const bytes = (overflow + 1) * this.meta.pageBytes;
    if (bytes > pageBytesMax) throw damage(`page ${id} is ${bytes} bytes long`);
    const whole = await this.#file.read(offset, bytes);
    if (whole.length < bytes) throw damage(`page ${id} is beyond its end`);
    return new Page(whole, id);
  }

  /** The last element of a page that may be large, and where in the file it is. */
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
    if (id < 2 || id >= this.meta.endPage) throw damage(`page ${id} is not one of its ${this.meta.endPage} pages`);
    return id * this.meta.pageBytes;
  }
}

function headerOf(page: Bytes, id: number | "inline") {
  if (page.length < headerBytes) throw damage(`page ${id} ends within its header`);
  const view = new DataView(page.buffer, page.byteOffset, headerBytes);
  if (id !== "inline" && number64(view, 0) !== id) throw damage(`page ${id} says it is another one`);
  const flags = view.getUint16(8, true);
  if (flags !== isBranch && flags !== isLeaf) throw damage(`page ${id} is neither branch nor leaf`);
  const kind = flags === isBranch ? "branch" as const : "leaf" as const;
  return { kind, count: view.getUint16(10, true), overflow: view.getUint32(12, true) };
}

/** A branch or leaf page with all that runs over from it. */
class Page {
  readonly kind: "branch" | "leaf";
  readonly count: number;
  readonly #id: number;
  readonly #data: Bytes;
  readonly #view: DataView;

  /** `id` 0 is the page of an inline bucket, which has no number of its own. */
  constructor(data: Bytes, id: number) {
    const { kind, count } = headerOf(data, id === 0 ? "inline" : id);
    if (headerBytes + count * elementBytes > data.length) throw damage(`page ${id} has too many elements`);
    if (kind === "branch" && count === 0) throw damage(`page ${id} is a branch without children`);
    this.kind = kind;
    this.count = count;
    this.#id = id;
    this.#data = data;
    this.#view = new DataView(data.buffer, data.byteOffset, data.length);
  }

  flags(index: number): number {
    return this.#view.getUint32(element(index), true);
  }

  child(index: number): number {
    return number64(this.#view, element(index) + 8);
  }

  key(index: number): Bytes {
    const at = element(index);
    const [position, length] = this.kind === "branch"
      ? [this.#view.getUint32(at, true), this.#view.getUint32(at + 4, true)]
      : [this.#view.getUint32(at + 4, true), this.#view.getUint32(at + 8, true)];
    return this.#slice(at + position, length);
  }

  value(index: number): Bytes {
    const at = element(index);
    const [position, keyBytes, valueBytes] = [4, 8, 12].map((field) => this.#view.getUint32(at + field, true));
    return this.#slice(at + position! + keyBytes!, valueBytes!);
  }

  #slice(start: number, length: number): Bytes {
    if (start + length > this.#data.length) throw damage(`page ${this.#id} has an entry beyond its end`);
    return this.#data.subarray(start, start + length);
  }
}

const element = (index: number) => headerBytes + index * elementBytes;

function* entriesOf(page: Page, budget: { entries: number }): Generator<BoltEntry> {
  if (page.kind !== "leaf") throw damage("a small bucket has a branch where its entries should be");
  for (let index = 0; index < page.count; index++) {
    if (--budget.entries < 0) throw damage("a small bucket has too many entries");
    if ((page.flags(index) & isBucket) === 0) yield { key: page.key(index), value: page.value(index) };
  }
}

function bucketOf(value: Bytes, name: string): BoltBucket {
  if (value.length < headerBytes) throw damage(`bucket "${name}" has no header`);
  const rootPage = number64(new DataView(value.buffer, value.byteOffset, value.length), 0);
  return rootPage === 0 ? { inline: value.subarray(headerBytes) } : { rootPage };
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const common = Math.min(a.length, b.length);
  for (let index = 0; index < common; index++) {
    if (a[index] !== b[index]) return a[index]! - b[index]!;
  }
  return a.length - b.length;
}
