/** Carrying out of `makeRoom`: a full etcd gets room again, member after member, or it is said why not. */
import { E2dError, isE2dError } from "../errors.ts";
import type { EtcdClient } from "../etcd/client.ts";

export interface RoomRequest {
  /** Client URL of the own member, which leads. */
  readonly own: string;
  /** Of all members, the own one last. */
  readonly endpoints: readonly string[];
  /** Undefined: etcd's default. */
  readonly quotaBytes: number | undefined;
}

/** Of etcd, `--quota-backend-bytes`. */
const defaultQuotaBytes = 2 * 1024 ** 3;
/** A database that is as full as this would raise the alarm again at once. */
const fullShare = 0.95;
/** What the words about space rest on, at most: a look, not a census. */
const lookedAtMax = 20_000;
const lookedAtMaxBytes = 64 * 1_048_576;
/** Values may have some MiB each: the first page is small, the next ones as the values turn out to be. */
const firstPageKeys = 16;
const pageMaxKeys = 500;
const pageBytes = 4 * 1_048_576;
const longMs = 60_000;

/**
 * What takes the most space, in words. Throws E2dError `no_room` when the databases are full all the same, `lost_lead`
 * when another member leads now, whose node then begins anew, or what the calls to etcd throw.
 */
export async function makeRoom(client: EtcdClient, { own, endpoints, quotaBytes }: RoomRequest): Promise<string> {
  const detail = await largestPrefixes(client, own);
  const { revision } = await client.status(own);
  try {
    await client.compact(revision, { physical: true, via: [own], timeoutMs: longMs });
  } catch (error) {
    // Up to there it is compacted already.
    if (!isE2dError(error, "etcd_compacted")) throw error;
  }
  for (const endpoint of endpoints) {
    const { leaderId, memberId } = await client.status(own);
    if (leaderId !== memberId) {
      throw new E2dError("lost_lead", `Cannot go on with making room before "${endpoint}": another member leads now`);
    }
    await client.defragment(endpoint);
  }
  const quota = quotaBytes || defaultQuotaBytes;
  for (const endpoint of endpoints) {
    const { dbSizeBytes } = await client.status(endpoint);
    if (dbSizeBytes < fullShare * quota) continue;
    throw new E2dError(
      "no_room",
      `Cannot make room: the database at "${endpoint}" has ${dbSizeBytes} bytes of ${quota} when compacted; ${detail}`,
      { hint: "delete keys, or restart the nodes one by one with a larger --quota-backend-bytes" },
    );
  }
  for (const alarm of await client.alarms({ via: [own] })) {
    if (alarm.alarm === "NOSPACE") await client.disarm(alarm, { via: [own] });
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
  while (more && seen < lookedAtMax && bytes < lookedAtMaxBytes) {
    const page = await client.range(from, { end: new Uint8Array([0]), limit }, {
      via: [own],
      timeoutMs: longMs,
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
  const words = largest.map(([prefix, sum]) =>
    `${JSON.stringify(prefix)} ${sum.keys} keys, ${(sum.bytes / 1_048_576).toFixed(1)} MiB, written ${sum.writes} times`
  );
  const scope = more ? `of the first ${seen} keys` : `of ${seen} keys`;
  return `most space ${scope}: ${words.join("; ") || "none"}`;
}

/** Its first two steps, as applications name their kinds: "/registry/events". */
function prefixOf(key: string): string {
  const steps = key.split("/");
  return steps.slice(0, key.startsWith("/") ? 3 : 2).join("/").slice(0, 100);
}
