/**
 * The cache of unpacked etcd programs: `<root>/<version>/{etcd,etcdctl,etcdutl}`, with their sizes and checksums in
 * `e2d.json`. An entry appears by one rename, so it is never incomplete. A folder that an operator filled without
 * `e2d.json` counts as an entry, too.
 */
import type { FileInfo, Files } from "../../ports.ts";
import { programs, type UnpackedFiles } from "./unpack.ts";
import { isSupported } from "../version.ts";
import { compareVersions, formatVersion, parseVersion } from "../../facts/etcd_version.ts";

/** What e2d writes beside the programs it puts into a cache. */
export interface CacheNote {
  version: string;
  /** The origin, for display: an address, or "embedded". */
  from: string;
  files: UnpackedFiles;
}

export interface CacheEntry {
  version: string;
  folder: string;
  etcd: string;
  etcdctl?: string;
  etcdutl?: string;
  /** From the note; absent for a folder that an operator filled. */
  from?: string;
}

export type CacheLookup =
  | { kind: "found"; entry: CacheEntry }
  | { kind: "absent" }
  /** The folder exists but cannot be used, for example after a disk fault. */
  | { kind: "damaged"; folder: string; state: string };

const noteName = "e2d.json";

export function noteText(note: CacheNote): string {
  return `${JSON.stringify(note, null, 2)}\n`;
}

export const notePath = (folder: string) => `${folder}/${noteName}`;

/** Inspects one entry without running a program. */
export async function lookUp(folder: string, version: string, files: Pick<Files, "info" | "readText">): Promise<
  CacheLookup
> {
  const etcd = await files.info(`${folder}/etcd`);
  if (etcd === undefined && await files.info(folder) === undefined) return { kind: "absent" };
  const damaged = (state: string): CacheLookup => ({ kind: "damaged", folder, state });
  if (!isProgram(etcd)) {
    return damaged(etcd === undefined ? `it has no "etcd"` : `its "etcd" is not an executable file`);
  }
  const text = await files.readText(notePath(folder));
  const note = text === undefined ? undefined : parseNote(text);
  if (text !== undefined && note === undefined) return damaged(`its "${noteName}" cannot be read`);
  const entry: CacheEntry = { version, folder, etcd: `${folder}/etcd` };
  if (note !== undefined) entry.from = note.from;
  for (const program of programs) {
    const info = program === "etcd" ? etcd : await files.info(`${folder}/${program}`);
    const size = note?.files[program]?.sizeBytes;
    if (size !== undefined && info?.kind === "file" && info.size !== size) {
      return damaged(`its "${program}" has ${info.size} bytes, not ${size}`);
    }
    if (size !== undefined && info === undefined) return damaged(`its "${program}" is missing`);
    if (isProgram(info)) entry[program] = `${folder}/${program}`;
  }
  return { kind: "found", entry };
}

/** Every usable entry of a root, newest version first. */
export async function listCache(root: string, files: Pick<Files, "info" | "readText" | "list">): Promise<CacheEntry[]> {
  const found: CacheEntry[] = [];
  for (const name of await files.list(root) ?? []) {
    const version = parseVersion(name);
    if (version === undefined || !isSupported(version) || formatVersion(version) !== name) continue;
    const result = await lookUp(`${root}/${name}`, name, files);
    if (result.kind === "found") found.push(result.entry);
  }
  return found.sort((a, b) => compareVersions(parseVersion(b.version)!, parseVersion(a.version)!));
}

/** The target of a link is checked when it is run. */
function isProgram(info: FileInfo | undefined): boolean {
  return info?.kind === "symlink" || (info?.kind === "file" && (info.mode & 0o111) !== 0);
}

/** Undefined for a text that e2d did not write. */
export function parseNote(text: string): CacheNote | undefined {
  let note: unknown;
  try {
    note = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isRecord(note) || typeof note.version !== "string" || typeof note.from !== "string") return undefined;
  const files = note.files;
  if (!isRecord(files) || files.etcd === undefined) return undefined;
  for (const program of programs) {
    const file = files[program];
    if (file === undefined) continue;
    if (!isRecord(file) || typeof file.sizeBytes !== "number" || typeof file.sha256 !== "string") return undefined;
  }
  return note as unknown as CacheNote;
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
