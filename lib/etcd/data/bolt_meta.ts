/**
 * Decodes the two meta pages of a bbolt file (go.etcd.io/bbolt, internal/common/meta.go). Each commit writes one of them
 * in turn as its last step, so the valid page with the higher transaction describes the newest committed state.
 */
import type { OpenFile } from "../../ports.ts";
import { type Bytes, headerBytes, number64 } from "./bolt_page.ts";
import { damage } from "./damage.ts";

export interface BoltMeta {
  readonly pageBytes: number;
  /** The page at which the tree of all buckets begins. */
  readonly rootPage: number;
  /** Pages in use lie below this one. */
  readonly endPage: number;
  /** Increases with each commit. */
  readonly transaction: number;
}

export interface MetaPages {
  /** Undefined when neither page is valid. */
  readonly newest: BoltMeta | undefined;
  /** Every byte that was read. Two equal texts prove that no commit was completed between the two reads. */
  readonly content: string;
}

const magic = 0xed0cdaed;
const formatVersion = 2;
const metaBytes = 64;
/** Of all machines, the most frequent first: tried when the first meta page, which names the size, is broken. */
const pageSizes = [4096, 16384, 65536, 8192, 32768, 2048, 1024];

/** Throws E2dError `file_read`. */
export async function readMetaPages(file: OpenFile): Promise<MetaPages> {
  const firstBytes = await file.read(0, headerBytes + metaBytes);
  const first = parseMeta(firstBytes);
  let content = firstBytes.toHex();
  let second: BoltMeta | undefined;
  for (const pageBytes of first === undefined ? pageSizes : [first.pageBytes]) {
    const secondBytes = await file.read(pageBytes, headerBytes + metaBytes);
    content += ` ${secondBytes.toHex()}`;
    const parsed = parseMeta(secondBytes);
    if (parsed?.pageBytes !== pageBytes) continue;
    second = parsed;
    break;
  }
  const newest = first === undefined || (second !== undefined && second.transaction > first.transaction)
    ? second
    : first;
  return { newest, content };
}

/** Throws E2dError `data_damaged` when the file ends before the last page in use, or `file_read`. */
export async function requireWholeFile(file: OpenFile, { endPage, pageBytes }: BoltMeta): Promise<void> {
  const wantedBytes = endPage * pageBytes;
  // Tested by a read, because the database of a running etcd grows after it was opened.
  if ((await file.read(wantedBytes - 1, 1)).length === 0) {
    throw damage(`it is truncated to ${file.size} of at least ${wantedBytes} bytes`);
  }
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
