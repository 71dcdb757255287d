/** What a database file holds, read by ourselves: the measure for what etcd makes of it. */
import type { FileReader } from "../ports.ts";
import { BoltTree, damage, readBoltMeta } from "./bolt.ts";
import { crc32c } from "./crc32c.ts";
import { bytes, message } from "./protobuf.ts";

export interface KeySummary {
  /** Keys that are there at the newest revision. */
  readonly keys: number;
  /** Of the newest change; 1 when there never was one. */
  readonly revision: number;
  /**
   * What HashKV may answer: releases differ in whether they count the deletion that a compaction stopped at. Empty while
   * a compaction is under way, which changes the sum.
   */
  readonly hashes: readonly number[];
}

/** The key alone, of mvccpb.KeyValue. */
const keyOnly = message({ key: bytes(1) });
const revisionBytes = 17;
const tombstoneMark = 0x74;

/**
 * Reads every revision of every key, and yields to the event loop on the way. Sums as etcd's server/storage/mvcc/hash.go.
 * Throws E2dError `data_damaged` or `file_read`; undefined when there is no such file.
 */
export async function summarizeKeys(path: string, reader: FileReader): Promise<KeySummary | undefined> {
  const file = await reader.open(path);
  if (file === undefined) return undefined;
  try {
    const tree = new BoltTree(file, await readBoltMeta(file));
    const meta = new Map<string, Uint8Array>();
    const metaBucket = await tree.bucket("meta");
    if (metaBucket !== undefined) {
      for await (const { key, value } of tree.entries(metaBucket)) meta.set(new TextDecoder().decode(key), value);
    }
    const finished = mainOf(meta.get("finishedCompactRev"));
    const compacting = mainOf(meta.get("scheduledCompactRev")) > finished;
    const name = new TextEncoder().encode("key");
    let all = crc32c(name);
    let withoutStop = all;
    const live = new Set<string>();
    let revision = Math.max(1, finished);
    const bucket = await tree.bucket("key");
    if (bucket !== undefined) {
      for await (const { key, value } of tree.entries(bucket, { large: true })) {
        const main = mainOf(key);
        revision = Math.max(revision, main);
        const deleted = key[revisionBytes] === tombstoneMark;
        all = crc32c(value, crc32c(key, all));
        if (!(deleted && main === finished)) withoutStop = crc32c(value, crc32c(key, withoutStop));
        const text = keyOnly.decode(value).key.toHex();
        if (deleted) live.delete(text);
        else live.add(text);
      }
    }
    return { keys: live.size, revision, hashes: compacting ? [] : [...new Set([all, withoutStop])] };
  } finally {
    file.close();
  }
}

/** Of a revision as etcd writes it: 8 bytes, "_", 8 bytes. */
function mainOf(key: Uint8Array | undefined): number {
  if (key === undefined) return 0;
  if (key.length < revisionBytes) throw damage("a key of it is no revision");
  const view = new DataView(key.buffer, key.byteOffset, 8);
  return view.getUint32(0) * 2 ** 32 + view.getUint32(4);
}
