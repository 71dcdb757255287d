/** Counts and hashes the keys of a database file independently of etcd, to verify what etcd restores from it. */
import type { FileReader } from "../../ports.ts";
import { bytes, message } from "../client/protobuf.ts";
import { type BoltTree, readBolt } from "./bolt.ts";
import { crc32c } from "./crc32c.ts";
import { mainRevision, revisionBytes, smallBucket } from "./database.ts";

export interface KeySummary {
  /** Keys that exist at the newest revision. */
  readonly keys: number;
  /** Of the newest change; 1 when there never was one. */
  readonly revision: number;
  /**
   * The possible answers of HashKV: releases differ in whether they count the deletion at the revision of the compaction.
   * Empty while a compaction is in progress, which changes the hash.
   */
  readonly hashes: readonly number[];
}

/** The key alone, of mvccpb.KeyValue. */
const keyOnly = message({ key: bytes(1) });
const tombstoneMark = 0x74;

/**
 * Reads every revision of every key, and yields to the event loop on the way. Hashes as etcd's
 * server/storage/mvcc/hash.go does. Undefined when there is no such file. Throws what `readBolt` throws.
 */
export function summarizeKeys(path: string, reader: FileReader): Promise<KeySummary | undefined> {
  return readBolt(path, reader, summarize);
}

async function summarize(tree: BoltTree): Promise<KeySummary> {
  const meta = await smallBucket(tree, "meta");
  const finished = mainRevision(meta.get("finishedCompactRev"));
  const compacting = mainRevision(meta.get("scheduledCompactRev")) > finished;
  let allRevisions = crc32c(new TextEncoder().encode("key"));
  let withoutCompacted = allRevisions;
  const live = new Set<string>();
  let revision = Math.max(1, finished);
  const bucket = await tree.bucket("key");
  if (bucket !== undefined) {
    for await (const { key, value } of tree.entries(bucket, { large: true })) {
      const main = mainRevision(key);
      revision = Math.max(revision, main);
      const deleted = key[revisionBytes] === tombstoneMark;
      allRevisions = crc32c(value, crc32c(key, allRevisions));
      if (!(deleted && main === finished)) withoutCompacted = crc32c(value, crc32c(key, withoutCompacted));
      const text = keyOnly.decode(value).key.toHex();
      if (deleted) live.delete(text);
      else live.add(text);
    }
  }
  return {
    keys: live.size,
    revision,
    hashes: compacting ? [] : [...new Set([allRevisions, withoutCompacted])],
  };
}
