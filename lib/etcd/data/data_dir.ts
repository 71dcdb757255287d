/**
 * Inspects an etcd data-dir read-only: it writes nothing and takes no lock, so it may run beside an etcd that uses the
 * data. Absent, empty, damaged and unreadable are distinct results: unreadable data may be intact, and a file that etcd
 * changed during every read is unreadable, never damaged.
 *
 * Revision, members and index are those of the database file; entries that are only in the log (written just before a
 * crash) do not count. Record checksums are verified for the newest log file only, page contents not at all: etcd
 * verifies the log at its start, and its hash checks detect damaged pages.
 */
import { describeError, isE2dError } from "../../errors.ts";
import type { FileReader, Files } from "../../ports.ts";
import type { EtcdMember, ValidData } from "../../facts/etcd.ts";
import type { LogPosition } from "../../facts/lineage.ts";
import { type DatabaseFacts, memberOf, oldestEtcdFor, readDatabase } from "./database.ts";
import { readWal, type WalFacts } from "./wal.ts";

export type DataDirFacts =
  | { readonly kind: "absent" }
  /** Present, with nothing in it but what a file system puts there. */
  | { readonly kind: "empty" }
  | ValidDataDir
  /** Present, but not usable: `what` failed its check. */
  | { readonly kind: "damaged"; readonly what: string }
  | { readonly kind: "unreadable"; readonly why: string };

/** The contents of a usable data-dir. */
export interface ValidDataDir extends ValidData {
  /**
   * The end of the log, committed or not. A log without entries, as a restore makes it, ends at its hard state.
   */
  readonly lastLog: LogPosition;
  /** Ids of the members whose removal this member has applied; its own id may be among them. */
  readonly removedIds: readonly string[];
  /**
   * Ids of members that the database lists both as members and as removed. Ids are never reused, so one of the two is
   * wrong. etcd 3.5.26 and later 3.5 releases write this from data of an etcd 3.4 that was killed before its first write
   * reached the disk: when they replay the log, they take each initial member but the first for a leftover. 3.5 itself
   * uses another list; 3.6 uses this one and rejects its own peers.
   */
  readonly contradictory: readonly string[];
}

export interface DataDirPorts {
  readonly files: Pick<Files, "info" | "list">;
  readonly reader: FileReader;
}

/** Never throws. Reads a few pages of the database and the newest log file: some milliseconds, whatever the size. */
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
  // A disk that is not mounted looks like this, and so does a folder that is removed during the inspection.
  if (names === undefined) return { kind: "unreadable", why: danglingLink(path) };
  if (!names.includes("member")) {
    const foreign = names.filter((name) => !isBySystem(name));
    if (foreign.length === 0) return { kind: "empty" };
    return {
      kind: "damaged",
      what: `it has no folder "member", but ${foreign.slice(0, 3).map(quote).join(", ")}`,
    };
  }
  if (await isHollow(`${path}/member`, files)) return { kind: "empty" };
  return await inspectMember(path, ports);
}

const danglingLink = (path: string) => `"${path}" is a link to a folder that does not exist`;
const quote = (name: string) => `"${name}"`;
const isBySystem = (name: string) => name === "lost+found" || name.startsWith(".");

/** True for a folder that contains folders only; etcd makes its folders before it writes a file into them. */
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
  // The cause of a missing log may be a disk that is not mounted, so links are checked before contents.
  for (const folder of ["member", "member/snap", "member/wal"]) {
    const info = await files.info(`${path}/${folder}`);
    if (info?.kind === "symlink" && await files.list(`${path}/${folder}`) === undefined) {
      return { kind: "unreadable", why: danglingLink(`${path}/${folder}`) };
    }
  }
  const log = await readWal(`${path}/member/wal`, { files, reader });
  const facts = await readDatabase(`${path}/${database}`, reader).catch((error) => {
    if (isE2dError(error, "data_damaged")) return error;
    throw error;
  });
  if (facts instanceof Error) return { kind: "damaged", what: `${database}: ${facts.message}` };
  if (log === undefined) {
    // etcd makes the database before the log: one that was stopped in between never joined a cluster.
    if (facts !== undefined && isUnused(facts)) return { kind: "empty" };
    return { kind: "damaged", what: "there is no log in member/wal" };
  }
  if (facts === undefined) return { kind: "damaged", what: `there is no ${database}` };
  return valid(log, facts);
}

const isUnused = ({ members, revision, raftIndex }: DatabaseFacts) =>
  members.length === 0 && revision <= 1 && raftIndex === 0;

function valid(log: WalFacts, facts: DatabaseFacts): ValidDataDir {
  const isOwn = ({ id }: EtcdMember) => id === log.memberId;
  const logged = membersOf(log);
  // A member that was killed right after its first start has its members in the log only. A data-dir that `etcdctl
  // snapshot restore` of 3.4 made has the members of the snapshot's cluster in its database until etcd has run.
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
    lastLog: log.lastIndex > 0
      ? { term: log.lastTerm, index: log.lastIndex }
      : { term: log.raftTerm, index: Math.max(log.commitIndex, facts.raftIndex) },
    termStarts: log.termStarts,
    removedIds: facts.removedIds,
    contradictory: facts.members.map(({ id }) => id).filter((id) => facts.removedIds.includes(id)),
    ...(etcdAtLeast !== undefined && { etcdAtLeast }),
  };
}

function membersOf({ confChanges, commitIndex }: WalFacts): EtcdMember[] {
  const members = new Map<string, EtcdMember>();
  for (const [index, { kind, memberId, context }] of confChanges) {
    if (index > commitIndex) continue;
    if (kind === "remove") members.delete(memberId);
    else if (context.length > 0) members.set(memberId, memberOf(memberId, context));
  }
  return [...members.values()];
}
