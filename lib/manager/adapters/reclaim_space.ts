/** Handles NOSPACE: compacts, defragments each member in turn, and disarms the alarm once every database has space. */
import { E2dError, isE2dError } from "../../errors.ts";
import type { EtcdClient } from "../../etcd/client/client.ts";

export interface ReclaimRequest {
  /** Client URL of the own member, which must lead. */
  readonly own: string;
  /** Client URLs of all members, the own one last. */
  readonly endpoints: readonly string[];
  /** Undefined: etcd's default. */
  readonly quotaBytes: number | undefined;
}

/** etcd's default of `--quota-backend-bytes`. */
const defaultQuotaBytes = 2 * 1024 ** 3;
/** A database above this share of the quota would raise the alarm again immediately. */
const fullShare = 0.95;
/** Limits of the sample that the text about space is made from. */
const sampleMaxKeys = 20_000;
const sampleMaxBytes = 64 * 1_048_576;
/** A value may have several MiB: the first page is small, the next ones follow the mean size. */
const firstPageKeys = 16;
const pageMaxKeys = 500;
const pageBytes = 4 * 1_048_576;
const timeoutMs = 60_000;

/**
 * Returns a text about what takes the most space. Throws E2dError `space_not_reclaimed` when a database is still full, `lost_lead`
 * when another member leads now (the manager of that member starts over), or what the calls to etcd throw.
 */
export async function reclaimSpace(
  client: EtcdClient,
  { own, endpoints, quotaBytes }: ReclaimRequest,
): Promise<string> {
  const detail = await largestPrefixes(client, own);
  const { revision } = await client.status(own);
  try {
    await client.compact(revision, { physical: true, via: [own], timeoutMs });
  } catch (error) {
    // Already compacted up to this revision.
    if (!isE2dError(error, "etcd_compacted")) throw error;
  }
  for (const endpoint of endpoints) {
    const { leaderId, memberId } = await client.status(own);
    if (leaderId !== memberId) {
      throw new E2dError("lost_lead", `Cannot defragment "${endpoint}": another member leads now`);
    }
    await client.defragment(endpoint);
  }
  const quota = quotaBytes || defaultQuotaBytes;
  for (const endpoint of endpoints) {
    const { dbSizeBytes } = await client.status(endpoint);
    if (dbSizeBytes < fullShare * quota) continue;
    throw new E2dError(
      "space_not_reclaimed",
      `Cannot reclaim space: the database at "${endpoint}" has ${dbSizeBytes} of ${quota} bytes after a defragmentation; ${detail}`,
      { hint: "delete keys, or restart the nodes one by one with a larger --quota-backend-bytes" },
    );
  }
  for (const alarm of await client.alarms({ via: [own] })) {
    if (alarm.type === "NOSPACE") await client.disarm(alarm, { via: [own] });
  }
  return detail;
}

/** `"/registry/events" 812 keys, 45 MiB, written 90210 times; …` */
async function largestPrefixes(client: EtcdClient, own: string): Promise<string> {
  const found = new Map<string, { keys: number; bytes: number; writes: number }>();
  const decoder = new TextDecoder();
  let from: Uint8Array = new Uint8Array([0]);
  let seen = 0;
  let bytes = 0;
  let more = true;
  let limit = firstPageKeys;
  while (more && seen < sampleMaxKeys && bytes < sampleMaxBytes) {
    const page = await client.range(from, { end: new Uint8Array([0]), limit }, {
      via: [own],
      timeoutMs,
    });
    for (const { key, value, version } of page.kvs) {
      const prefix = prefixOf(decoder.decode(key));
      const sum = found.get(prefix) ?? { keys: 0, bytes: 0, writes: 0 };
      sum.keys++;
      sum.bytes += key.length + value.length;
      sum.writes += version;
      found.set(prefix, sum);
      bytes += key.length + value.length;
    }
    seen += page.kvs.length;
    more = page.more;
    limit = Math.max(1, Math.min(pageMaxKeys, Math.floor(pageBytes * seen / (bytes + 1))));
    const last = page.kvs.at(-1);
    if (last === undefined) break;
    from = new Uint8Array([...last.key, 0]);
  }
  const largest = [...found].sort(([, a], [, b]) => b.bytes - a.bytes).slice(0, 3);
  const texts = largest.map(([prefix, sum]) =>
    `${JSON.stringify(prefix)} ${sum.keys} keys, ${(sum.bytes / 1_048_576).toFixed(1)} MiB, written ${sum.writes} times`
  );
  const scope = more ? `of the first ${seen} keys` : `of ${seen} keys`;
  return `most space ${scope}: ${texts.join("; ") || "none"}`;
}

/** The first two segments of a key, which usually name a kind of object: "/registry/events". */
function prefixOf(key: string): string {
  const segments = key.split("/");
  return segments.slice(0, key.startsWith("/") ? 3 : 2).join("/").slice(0, 100);
}
