/**
 * Reads the member and its cluster from etcd's database file. Buckets and their contents after etcd's
 * server/storage/schema (3.5 to 3.7) and server/etcdserver/api/membership/store.go (3.4).
 */
import type { FileReader } from "../../ports.ts";
import { type BoltTree, readBolt } from "./bolt.ts";
import { damage } from "./damage.ts";
import type { EtcdMember } from "../../facts/etcd.ts";
import { isBefore, minorOf } from "../../facts/etcd_version.ts";

export interface DatabaseFacts {
  /** The newest revision in the file; 1 for a store that never had a key. */
  readonly revision: number;
  /** The raft index applied last. */
  readonly raftIndex: number;
  /** 0 before 3.5, which does not write it. */
  readonly raftTerm: number;
  readonly members: readonly EtcdMember[];
  /** Ids of members that the cluster removed. */
  readonly removedIds: readonly string[];
  /** "3.6.0"; undefined until the cluster has agreed on one. */
  readonly clusterVersion?: string;
  /** The version of the data format, "3.6.0"; undefined before 3.6. */
  readonly storageVersion?: string;
  /** The target of a downgrade in progress. */
  readonly downgradeTo?: string;
}

/**
 * The oldest minor version of etcd that starts on this data, "3.6"; undefined when the data names no version. etcd
 * refuses a newer data format (server/storage/schema) and a newer cluster version (server/etcdserver/api/membership).
 * A downgrade lowers the cluster version last, so until then its target counts.
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

const byMinor = (a: string, b: string) => a === b ? 0 : isBefore(a, minorOf(b)) ? -1 : 1;

/**
 * Undefined when there is no such file. Throws E2dError `data_damaged`, `file_read`, or `data_changing` when an etcd
 * wrote to the file during every read.
 */
export function readDatabase(path: string, reader: FileReader): Promise<DatabaseFacts | undefined> {
  return readBolt(path, reader, readFacts);
}

async function readFacts(tree: BoltTree): Promise<DatabaseFacts> {
  const meta = await smallBucket(tree, "meta");
  const cluster = await smallBucket(tree, "cluster");
  const keys = await tree.bucket("key");
  const last = keys && await tree.lastKey(keys);
  // A compaction may remove every key below its revision; the store still continues from that revision.
  const revisions = [last, meta.get("finishedCompactRev"), meta.get("scheduledCompactRev")].map(mainRevision);
  const members: EtcdMember[] = [];
  for (const [id, value] of await smallBucket(tree, "members")) members.push(memberOf(id, value));
  const text = (value: Uint8Array | undefined) => value === undefined ? {} : new TextDecoder().decode(value);
  const downgrade = jsonOf(cluster.get("downgrade"), "downgrade") as { "target-version"?: string; enabled?: boolean };
  return {
    revision: Math.max(1, ...revisions),
    raftIndex: uint64(meta.get("consistent_index")),
    raftTerm: uint64(meta.get("term")),
    members,
    removedIds: [...(await smallBucket(tree, "members_removed")).keys()],
    ...named("clusterVersion", text(cluster.get("clusterVersion"))),
    ...named("storageVersion", text(meta.get("storageVersion"))),
    ...(downgrade.enabled === true && named("downgradeTo", downgrade["target-version"])),
  };
}

const named = (name: string, value: unknown) => typeof value === "string" && value !== "" ? { [name]: value } : {};

/** The entries of a small bucket by their keys as text; empty when there is no such bucket. */
export async function smallBucket(tree: BoltTree, name: string): Promise<Map<string, Uint8Array>> {
  const bucket = await tree.bucket(name);
  const entries = new Map<string, Uint8Array>();
  if (bucket === undefined) return entries;
  const decoder = new TextDecoder();
  for await (const { key, value } of tree.entries(bucket)) entries.set(decoder.decode(key), value);
  return entries;
}

/** Big-endian. */
function uint64(value: Uint8Array | undefined): number {
  if (value === undefined) return 0;
  if (value.length !== 8) throw damage('a number in the bucket "meta" does not have 8 bytes');
  const view = new DataView(value.buffer, value.byteOffset, 8);
  return view.getUint32(0) * 2 ** 32 + view.getUint32(4);
}

/** Bytes of a revision: 8 for the transaction ("main"), "_", 8 for the place in it ("sub"). A deletion appends "t". */
export const revisionBytes = 17;

/** The main part of a revision as etcd writes it; 0 when there is none. Throws E2dError `data_damaged`. */
export function mainRevision(key: Uint8Array | undefined): number {
  if (key === undefined) return 0;
  if (key.length < revisionBytes || key[8] !== 0x5f) throw damage('a key in the bucket "key" is not a revision');
  return uint64(key.subarray(0, 8));
}

/** A member from the JSON that etcd keeps in its database, and that configuration changes in the log carry. */
export function memberOf(id: string, json: Uint8Array): EtcdMember {
  const value = jsonOf(json, `member ${id}`) as Record<string, unknown>;
  const texts = (list: unknown) => Array.isArray(list) ? list.filter((entry) => typeof entry === "string") : [];
  return {
    // The id in the JSON is a number beyond JavaScript's precision; the key has it as text.
    id: id.toLowerCase().replace(/^0+(?=.)/, ""),
    name: typeof value["name"] === "string" ? value["name"] : "",
    peerUrls: texts(value["peerURLs"]),
    clientUrls: texts(value["clientURLs"]),
    isLearner: value["isLearner"] === true,
  };
}

function jsonOf(value: Uint8Array | undefined, entry: string): object {
  if (value === undefined) return {};
  try {
    const parsed: unknown = JSON.parse(new TextDecoder().decode(value));
    if (typeof parsed === "object" && parsed !== null) return parsed;
  } catch {
    // The error below reports it.
  }
  throw damage(`the entry "${entry}" is not a JSON object`);
}
