/**
 * What etcd's database file says of the member and its cluster. Buckets and their contents after etcd's
 * server/storage/schema (3.5 to 3.7) and server/etcdserver/api/membership/store.go (3.4).
 */
import type { FileReader, OpenFile } from "../ports.ts";
import { type BoltBucket, type BoltEntry, BoltTree, damage, readBoltMeta } from "./bolt.ts";
import type { EtcdMemberInfo } from "./client_status.ts";
import { isBefore } from "./version.ts";

export interface DatabaseFacts {
  /** The newest revision that was committed to the file; 1 for a store that never had a key. */
  readonly revision: number;
  /** The raft index applied last. */
  readonly raftIndex: number;
  /** 0 before 3.5, which does not write it. */
  readonly raftTerm: number;
  readonly members: readonly EtcdMemberInfo[];
  /** Ids of members that the cluster removed. */
  readonly removedIds: readonly string[];
  /** "3.6.0"; undefined before the cluster has agreed on one. */
  readonly clusterVersion?: string;
  /** Of the data's format, "3.6.0"; undefined before 3.6. */
  readonly storageVersion?: string;
  /** The version that a downgrade under way leads to. */
  readonly downgradeTo?: string;
}

/**
 * The oldest minor version of etcd that starts on this data, "3.6"; undefined where the data names none. etcd refuses a
 * newer format (server/storage/schema) and a cluster of a newer version (server/etcdserver/api/membership). While a
 * downgrade is under way the cluster's version comes down last.
 */
export function oldestEtcdFor(
  { clusterVersion, storageVersion, downgradeTo }: Pick<
    DatabaseFacts,
    "clusterVersion" | "storageVersion" | "downgradeTo"
  >,
): string | undefined {
  const cluster = downgradeTo !== undefined && clusterVersion !== undefined
    ? [clusterVersion, downgradeTo].sort(byMinor)[0]
    : clusterVersion;
  const newest = [cluster, storageVersion].filter((version) => version !== undefined).sort(byMinor).at(-1);
  return newest === undefined ? undefined : minorOf(newest);
}

const minorOf = (version: string) => version.split(".").slice(0, 2).join(".");
const byMinor = (a: string, b: string) => a === b ? 0 : isBefore(a, minorOf(b)) ? -1 : 1;

/**
 * A database that is being written to gives its pages new contents two transactions later: then what was read may belong
 * to no state at all, and is read again.
 */
const attemptsMax = 20;

/** Undefined when there is no such file. Throws E2dError `data_damaged` or `file_read`. */
export async function readDatabase(path: string, files: FileReader): Promise<DatabaseFacts | undefined> {
  for (let attempt = 1;; attempt++) {
    const file = await files.open(path);
    if (file === undefined) return undefined;
    try {
      const meta = await readBoltMeta(file);
      let outcome: { facts: DatabaseFacts } | { error: unknown };
      try {
        outcome = { facts: await readFacts(new BoltTree(file, meta)) };
      } catch (error) {
        outcome = { error };
      }
      const settled = !await wasWritten(file, meta.transaction);
      if (settled || attempt === attemptsMax) {
        if ("error" in outcome) throw outcome.error;
        return outcome.facts;
      }
    } finally {
      file.close();
    }
  }
}

/** True as well when a meta page is just being written. */
async function wasWritten(file: OpenFile, transaction: number): Promise<boolean> {
  try {
    return (await readBoltMeta(file)).transaction !== transaction;
  } catch {
    return true;
  }
}

async function readFacts(tree: BoltTree): Promise<DatabaseFacts> {
  const meta = await small(tree, "meta");
  const cluster = await small(tree, "cluster");
  const keys = await tree.bucket("key");
  const last = keys && await tree.lastKey(keys);
  // Keys up to a compaction may all be gone, and the revision of the store goes on from there all the same.
  const revisions = [last, meta.get("finishedCompactRev"), meta.get("scheduledCompactRev")].map(mainRevision);
  const members: EtcdMemberInfo[] = [];
  for (const [id, value] of await small(tree, "members")) members.push(memberOf(id, value));
  const text = (value: Uint8Array | undefined) => value === undefined ? {} : new TextDecoder().decode(value);
  const downgrade = jsonOf(cluster.get("downgrade"), "downgrade") as { "target-version"?: string; enabled?: boolean };
  return {
    revision: Math.max(1, ...revisions),
    raftIndex: number8(meta.get("consistent_index")),
    raftTerm: number8(meta.get("term")),
    members,
    removedIds: [...(await small(tree, "members_removed")).keys()],
    ...named("clusterVersion", text(cluster.get("clusterVersion"))),
    ...named("storageVersion", text(meta.get("storageVersion"))),
    ...(downgrade.enabled === true && named("downgradeTo", downgrade["target-version"])),
  };
}

const named = (name: string, value: unknown) => typeof value === "string" && value !== "" ? { [name]: value } : {};

/** The entries of a bucket of few, by their keys as text; none when there is no such bucket. */
async function small(tree: BoltTree, name: string): Promise<Map<string, Uint8Array>> {
  const bucket: BoltBucket | undefined = await tree.bucket(name);
  const found = new Map<string, Uint8Array>();
  if (bucket === undefined) return found;
  const decoder = new TextDecoder();
  for await (const { key, value } of tree.entries(bucket) as AsyncIterable<BoltEntry>) {
    found.set(decoder.decode(key), value);
  }
  return found;
}

/** Big-endian. */
function number8(value: Uint8Array | undefined): number {
  if (value === undefined) return 0;
  if (value.length !== 8) throw damage('a number in its bucket "meta" has not 8 bytes');
  const view = new DataView(value.buffer, value.byteOffset, 8);
  return view.getUint32(0) * 2 ** 32 + view.getUint32(4);
}

/** Revisions are keys of 8 bytes, "_" and 8 bytes for their place in a transaction; a deletion has a "t" behind. */
function mainRevision(key: Uint8Array | undefined): number {
  if (key === undefined) return 0;
  if (key.length < 17 || key[8] !== 0x5f) throw damage("a key of it is no revision");
  return number8(key.subarray(0, 8));
}

/** Also used for the members that configuration changes in the log carry. */
export function memberOf(id: string, json: Uint8Array): EtcdMemberInfo {
  const value = jsonOf(json, `member ${id}`) as Record<string, unknown>;
  const texts = (list: unknown) => Array.isArray(list) ? list.filter((entry) => typeof entry === "string") : [];
  return {
    // The id in the JSON text is a number too large for JavaScript; the key has it as text.
    id: id.toLowerCase().replace(/^0+(?=.)/, ""),
    name: typeof value["name"] === "string" ? value["name"] : "",
    peerUrls: texts(value["peerURLs"]),
    clientUrls: texts(value["clientURLs"]),
    isLearner: value["isLearner"] === true,
  };
}

function jsonOf(value: Uint8Array | undefined, what: string): object {
  if (value === undefined) return {};
  try {
    const parsed: unknown = JSON.parse(new TextDecoder().decode(value));
    if (typeof parsed === "object" && parsed !== null) return parsed;
  } catch {
    // Said below.
  }
  throw damage(`its entry "${what}" is not readable`);
}
