/** Builds small data-dirs in the formats of etcd and bbolt, and a disk in memory for them. */
import { E2dError } from "../../lib/errors.ts";
import { crc32c } from "../../lib/etcd/data/crc32c.ts";
import type { DataDirPorts } from "../../lib/etcd/data/data_dir.ts";
import { bytes, hexId, integer, message } from "../../lib/etcd/client/protobuf.ts";

type Bytes = Uint8Array<ArrayBuffer>;
export const pageBytes = 4096;

export const ownId = "8e9e05c52164694d";
export const clusterId = "cdf818194e3a8c32";

const utf8 = (text: string) => new TextEncoder().encode(text);

export function big8(value: number): Bytes {
  const data = new Uint8Array(8);
  new DataView(data.buffer).setBigUint64(0, BigInt(value));
  return data;
}

/** A key of the bucket "key". */
export function revisionKey(main: number, sub = 0): Bytes {
  return new Uint8Array([...big8(main), 0x5f, ...big8(sub)]);
}

function page(id: number, flags: number, count: number, body: Bytes, overflow = 0): Bytes {
  const data = new Uint8Array((overflow + 1) * pageBytes);
  const view = new DataView(data.buffer);
  view.setBigUint64(0, BigInt(id), true);
  view.setUint16(8, flags, true);
  view.setUint16(10, count, true);
  view.setUint32(12, overflow, true);
  data.set(body, 16);
  return data;
}

function leafBody(entries: readonly (readonly [key: Bytes, value: Bytes, flags?: number])[]): Bytes {
  const total = entries.reduce((sum, [key, value]) => sum + 16 + key.length + value.length, 0);
  const body = new Uint8Array(total);
  const view = new DataView(body.buffer);
  let at = entries.length * 16;
  entries.forEach(([key, value, flags = 0], index) => {
    const element = index * 16;
    view.setUint32(element, flags, true);
    view.setUint32(element + 4, at - element, true);
    view.setUint32(element + 8, key.length, true);
    view.setUint32(element + 12, value.length, true);
    body.set(key, at);
    body.set(value, at + key.length);
    at += key.length + value.length;
  });
  return body;
}

function branchBody(children: readonly (readonly [key: Bytes, page: number])[]): Bytes {
  const body = new Uint8Array(children.reduce((sum, [key]) => sum + 16 + key.length, 0));
  const view = new DataView(body.buffer);
  let at = children.length * 16;
  children.forEach(([key, child], index) => {
    view.setUint32(index * 16, at - index * 16, true);
    view.setUint32(index * 16 + 4, key.length, true);
    view.setBigUint64(index * 16 + 8, BigInt(child), true);
    body.set(key, at);
    at += key.length;
  });
  return body;
}

function metaPage(id: number, { root, end, transaction }: { root: number; end: number; transaction: number }): Bytes {
  const body = new Uint8Array(64);
  const view = new DataView(body.buffer);
  view.setUint32(0, 0xed0cdaed, true);
  view.setUint32(4, 2, true);
  view.setUint32(8, pageBytes, true);
  view.setBigUint64(16, BigInt(root), true);
  view.setBigUint64(32, 2n, true);
  view.setBigUint64(40, BigInt(end), true);
  view.setBigUint64(48, BigInt(transaction), true);
  let hash = 0xcbf29ce484222325n;
  for (const byte of body.subarray(0, 56)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  view.setBigUint64(56, hash, true);
  return page(id, 0x04, 0, body);
}

export interface DatabaseImage {
  buckets: Record<string, readonly (readonly [key: string | Bytes, value: string | Bytes])[]>;
  /** The revisions in the bucket "key", in two leaves below a branch; a third leaf of one with a value of pages. */
  revisions?: readonly number[];
  transaction?: number;
  /** Free pages before those in use; etcd never uses the same pages for two commits that follow each other. */
  freePages?: number;
}

/** Pages 0 and 1 meta, 2 a freelist that nobody reads, free pages, one of the buckets (3 unless pages are free), the keys. */
export function databaseImage(
  { buckets, revisions = [2, 3, 4], transaction = 7, freePages = 0 }: DatabaseImage,
): Bytes {
  const rootPage = 3 + freePages;
  const keyPage = rootPage + 1;
  const bytesOf = (data: string | Bytes) => typeof data === "string" ? utf8(data) : data;
  const half = Math.ceil(revisions.length / 2);
  const leaves = [revisions.slice(0, half), revisions.slice(half)];
  const children = leaves.map((leaf, index) => [revisionKey(leaf[0] ?? 1), keyPage + 1 + index] as const);
  const keyPages: Bytes[] = [page(keyPage, 0x01, 2, branchBody(children))];
  leaves.forEach((leaf, index) => {
    // The last leaf continues into the next page, as one with a large value does.
    const overflow = index === 1 ? 1 : 0;
    const value = new Uint8Array(index === 1 ? 5_000 : 20).fill(7);
    const body = leafBody(leaf.map((revision, place) => [revisionKey(revision), place === 0 ? value : utf8("v")]));
    keyPages.push(page(keyPage + 1 + index, 0x02, leaf.length, body, overflow));
  });
  const named: [Bytes, Bytes, number][] = Object.entries(buckets).map(([name, entries]) => {
    const inner = page(0, 0x02, entries.length, leafBody(entries.map(([k, v]) => [bytesOf(k), bytesOf(v)])));
    const used = 16 + entries.reduce((sum, [k, v]) => sum + 16 + bytesOf(k).length + bytesOf(v).length, 0);
    return [utf8(name), new Uint8Array([...new Uint8Array(16), ...inner.subarray(0, used)]), 1];
  });
  const keyBucket = new Uint8Array(16);
  new DataView(keyBucket.buffer).setBigUint64(0, BigInt(keyPage), true);
  named.push([utf8("key"), keyBucket, 1]);
  named.sort(([a], [b]) => a.join() < b.join() ? -1 : 1);
  const root = page(rootPage, 0x02, named.length, leafBody(named.sort((a, b) => compare(a[0], b[0]))));
  const free = new Uint8Array(freePages * pageBytes);
  const pages = [page(2, 0x10, 0, new Uint8Array(0)), free, root, ...keyPages];
  const end = 2 + pages.reduce((sum, { length }) => sum + length / pageBytes, 0);
  // Each commit writes the meta page of its parity.
  const metas = [transaction, transaction - 1].sort((a, b) => a % 2 - b % 2);
  return concat([
    ...metas.map((each, id) => metaPage(id, { root: rootPage, end, transaction: each })),
    ...pages,
  ]);
}

function compare(a: Bytes, b: Bytes): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}

export function concat(parts: readonly Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const record = message({ type: integer(1), crc: integer(2), data: bytes(3) });
export const walEntry = message({ type: integer(1), term: integer(2), index: integer(3), data: bytes(4) });
export const walState = message({ term: integer(1), vote: hexId(2), commit: integer(3) });
export const walMetadata = message({ nodeId: hexId(1), clusterId: hexId(2) });

/** A log of these records, then zeros, as etcd allocates them in advance. */
export function walImage(records: readonly (readonly [type: number, data: Uint8Array])[], zeroBytes = 4096): Bytes {
  let crc = 0;
  const parts: Uint8Array[] = [];
  for (const [type, data] of records) {
    if (type !== 4) crc = crc32c(data, crc);
    const encoded = record.encode({ type, crc, data });
    const padding = (8 - encoded.length % 8) % 8;
    const head = new DataView(new ArrayBuffer(8));
    head.setUint32(0, encoded.length, true);
    head.setUint32(4, padding === 0 ? 0 : (0x80 | padding) * 2 ** 24, true);
    parts.push(new Uint8Array(head.buffer), encoded, new Uint8Array(padding));
  }
  parts.push(new Uint8Array(zeroBytes));
  return concat(parts);
}

export const walRecords: (readonly [number, Uint8Array])[] = [
  [4, new Uint8Array(0)],
  [1, walMetadata.encode({ nodeId: ownId, clusterId })],
  [5, new Uint8Array(0)],
  [2, walEntry.encode({ term: 2, index: 8, data: new Uint8Array(600).fill(3) })],
  [3, walState.encode({ term: 3, vote: ownId, commit: 8 })],
];

export const memberJson = (name: string, extra = "") =>
  `{"id":10276657743932975437,"peerURLs":["http://127.0.0.1:2380"],"name":"${name}"${extra},"clientURLs":["http://127.0.0.1:2379"]}`;

export const wholeDatabase: DatabaseImage = {
  buckets: {
    meta: [["confState", "{}"], ["consistent_index", big8(8)], ["storageVersion", "3.6.0"], ["term", big8(2)]],
    members: [[ownId, memberJson("n0")], ["ff", `{"id":255,"peerURLs":["http://127.0.0.2:2380"],"isLearner":true}`]],
    members_removed: [["abc", "removed"]],
    cluster: [["clusterVersion", "3.6.0"]],
  },
};

export type Disk = Map<string, Bytes | "folder" | E2dError>;

export function wholeDisk(): Disk {
  return new Map<string, Bytes | "folder" | E2dError>([
    ["/d", "folder"],
    ["/d/member", "folder"],
    ["/d/member/snap", "folder"],
    ["/d/member/snap/db", databaseImage(wholeDatabase)],
    ["/d/member/wal", "folder"],
    ["/d/member/wal/0.tmp", new Uint8Array(100)],
    ["/d/member/wal/0000000000000000-0000000000000000.wal", walImage(walRecords)],
  ]);
}

/** An error instead of a file or folder is thrown when that is opened or listed. */
export function diskPorts(disk: Disk): DataDirPorts {
  const at = (path: string) => {
    const found = disk.get(path);
    if (found instanceof E2dError) throw found;
    return found;
  };
  return {
    files: {
      info(path) {
        const found = disk.get(path);
        if (found === undefined) return Promise.resolve(undefined);
        const kind = found instanceof Uint8Array ? "file" as const : "directory" as const;
        return Promise.resolve({ kind, size: 0, modifiedMs: 0, mode: 0o700 });
      },
      // deno-lint-ignore require-await -- throws as a promise does
      async list(path) {
        const found = at(path);
        if (found === undefined) return undefined;
        if (found !== "folder") throw new E2dError("file_read", `Cannot list "${path}": not a directory`);
        const inside = [...disk.keys()].filter((name) => name.startsWith(`${path}/`));
        return inside.map((name) => name.slice(path.length + 1)).filter((name) => !name.includes("/")).sort();
      },
    },
    reader: {
      // deno-lint-ignore require-await -- throws as a promise does
      async open(path) {
        const found = at(path);
        if (found === undefined) return undefined;
        if (found === "folder") throw new E2dError("file_read", `Cannot open "${path}": is a directory`);
        const data = found;
        return {
          size: data.length,
          read: (offset, length) => Promise.resolve(data.slice(offset, offset + length)),
          close() {},
        };
      },
    },
  };
}
