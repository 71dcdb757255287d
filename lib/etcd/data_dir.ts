/**
 * What lies in an etcd data-dir, found by looking alone: nothing is written, nothing is locked, so the data of a running
 * etcd can be inspected, too. «Not there», «nothing in it», «damaged» and «cannot be read» are never mixed up: data that
 * cannot be read may be whole.
 *
 * What is in the log only (the last moments before a crash) is not counted: revision, members and index are those of
 * the database file. That every record of the log is whole is checked for the newest file alone, that every page of the
 * database is for none: etcd checks the former at its start, and its hash checks find the latter.
 */
import { describeError, isE2dError } from "../errors.ts";
import type { FileReader, Files } from "../ports.ts";
import type { EtcdMemberInfo } from "./client_status.ts";
import { type DatabaseFacts, memberOf, oldestEtcdFor, readDatabase } from "./data_dir_database.ts";
import { readWal, type WalFacts } from "./wal.ts";

export type DataDirFacts =
  | { readonly kind: "absent" }
  /** There, and nothing in it but what a file system puts there. */
  | { readonly kind: "empty" }
  | ValidDataDir
  /** There, but not usable: what failed its check. */
  | { readonly kind: "damaged"; readonly what: string }
  | { readonly kind: "unreadable"; readonly why: string };

export interface ValidDataDir {
  readonly kind: "valid";
  /** Empty when the member was stopped before it had told the cluster its name. */
  readonly name: string;
  readonly memberId: string;
  readonly clusterId: string;
  readonly peerUrls: readonly string[];
  readonly members: readonly EtcdMemberInfo[];
  readonly revision: number;
  readonly raftTerm: number;
  /** Applied last. etcd 3.4 writes it with changes of keys alone, so that `members` may be newer. */
  readonly raftIndex: number;
  /** Ids of members that were removed, as far as this one has heard of it; it may be among them. */
  readonly removedIds: readonly string[];
  /** The oldest minor version of etcd that starts on it, "3.6"; undefined where nothing says so. */
  readonly etcdAtLeast?: string;
  /**
   * Ids of members that the database lists and calls removed at once. Ids never come back, so one of the two is false.
   * etcd 3.5.26 to the last 3.5 write it so from data of an etcd 3.4 that was killed before its first write was on the
   * disk: they take each founder but the first for a leftover while they read the log again. 3.5 itself goes by another
   * list; 3.6 believes this one and turns its own peers away.
   */
  readonly contradictory: readonly string[];
}

export interface DataDirPorts {
  readonly files: Pick<Files, "info" | "list">;
  readonly reader: FileReader;
}

/** Throws nothing. Reads a few pages of the database, and the newest log file: some milliseconds, whatever the size. */
export async function inspectDataDir(path: string, ports: DataDirPorts): Promise<DataDirFacts> {
  try {
    return await inspect(path, ports);
  } catch (error) {
    if (isE2dError(error, "data_damaged")) return { kind: "damaged", what: error.message };
    return { kind: "unreadable", why: describeError(error) };
  }
}

async function inspect(path: string, ports: DataDirPorts): Promise<DataDirFacts> {
  const { files } = ports;
  const info = await files.info(path);
  if (info === undefined) return { kind: "absent" };
  if (info.kind === "file" || info.kind === "other") return { kind: "damaged", what: "it is a file, not a folder" };
  const names = await files.list(path);
  // A disk that is not mounted looks like this, and so does a folder that goes away while one looks.
  if (names === undefined) return { kind: "unreadable", why: `"${path}" is a link that leads nowhere` };
  if (!names.includes("member")) {
    const foreign = names.filter((name) => !isBySystem(name));
    if (foreign.length === 0) return { kind: "empty" };
    return {
      kind: "damaged",
      what: `there is no folder "member" in it, but ${foreign.slice(0, 3).map(quote).join(", ")}`,
    };
  }
  if (await isHollow(`${path}/member`, files)) return { kind: "empty" };
  return await inspectMember(path, ports);
}

const quote = (name: string) => `"${name}"`;
const isBySystem = (name: string) => name === "lost+found" || name.startsWith(".");

/** True for a folder without any file, however deep; etcd makes folders before it puts anything into them. */
async function isHollow(path: string, files: DataDirPorts["files"], depth = 0): Promise<boolean> {
  const names = await files.list(path);
  if (names === undefined || depth > 3) return false;
  for (const name of names) {
    const inner = `${path}/${name}`;
    if ((await files.info(inner))?.kind !== "directory" || !await isHollow(inner, files, depth + 1)) return false;
  }
  return true;
}

async function inspectMember(path: string, { files, reader }: DataDirPorts): Promise<DataDirFacts> {
  const database = "member/snap/db";
  // A missing log may as well be a missing disk: the links are looked at before the contents.
  for (const folder of ["member", "member/snap", "member/wal"]) {
    const info = await files.info(`${path}/${folder}`);
    if (info?.kind === "symlink" && await files.list(`${path}/${folder}`) === undefined) {
      return { kind: "unreadable", why: `"${path}/${folder}" is a link that leads nowhere` };
    }
  }
  const log = await readWal(`${path}/member/wal`, { files, reader });
  const facts = await readDatabase(`${path}/${database}`, reader).catch((error) => {
    if (isE2dError(error, "data_damaged")) return error;
    throw error;
  });
  if (facts instanceof Error) return { kind: "damaged", what: `${database}: ${facts.message}` };
  if (log === undefined) {
    // etcd makes the database first, then the log: stopped in between it never was a member of anything.
    if (facts !== undefined && isUnused(facts)) return { kind: "empty" };
    return { kind: "damaged", what: "there is no log in member/wal" };
  }
  if (facts === undefined) return { kind: "damaged", what: `there is no ${database}` };
  return valid(log, facts);
}

const isUnused = ({ members, revision, raftIndex }: DatabaseFacts) =>
  members.length === 0 && revision <= 1 && raftIndex === 0;

function valid(log: WalFacts, facts: DatabaseFacts): ValidDataDir {
  const isOwn = ({ id }: EtcdMemberInfo) => id === log.memberId;
  const logged = membersOf(log);
  // A member killed in its first moments has them in the log only. What `etcdctl snapshot restore` of 3.4 made still
  // holds the members of the snapshot's cluster in its database, until etcd has run.
  const outdated = !facts.members.some(isOwn) && !facts.removedIds.includes(log.memberId) && logged.some(isOwn);
  const members = facts.members.length === 0 || outdated ? logged : facts.members;
  const own = members.find(isOwn);
  const etcdAtLeast = oldestEtcdFor(facts);
  return {
    kind: "valid",
    name: own?.name ?? "",
    memberId: log.memberId,
    clusterId: log.clusterId,
    peerUrls: own?.peerUrls ?? [],
    members,
    revision: facts.revision,
    raftTerm: Math.max(facts.raftTerm, log.raftTerm),
    raftIndex: facts.raftIndex,
    removedIds: facts.removedIds,
    contradictory: facts.members.map(({ id }) => id).filter((id) => facts.removedIds.includes(id)),
    ...(etcdAtLeast !== undefined && { etcdAtLeast }),
  };
}

function membersOf({ confChanges, commitIndex }: WalFacts): EtcdMemberInfo[] {
  const members = new Map<string, EtcdMemberInfo>();
  for (const [index, { kind, memberId, context }] of confChanges) {
    if (index > commitIndex) continue;
    if (kind === "remove") members.delete(memberId);
    else if (context.length > 0) members.set(memberId, memberOf(memberId, context));
  }
  return [...members.values()];
}
