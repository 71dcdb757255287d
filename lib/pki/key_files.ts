/** Writes keys and certificates: keys with mode 0600, new directories with 0700. Must not replace a file without `force`. */
import { E2dError, isE2dError } from "../errors.ts";
import type { Files } from "../ports.ts";
import type { PemFile } from "./authority.ts";

export interface NewPemFile {
  path: string;
  text: string;
  /** Readable only by its owner. */
  isSecret: boolean;
}

/**
 * Writes a set of files. When one of them exists, writes nothing, unless `force` is set: then each old file is first
 * copied to "<path>.old-<time>", so that no key is lost and every path always has a file. Keys are written before
 * certificates: an interrupted run leaves an unused key, never a certificate without its key.
 *
 * Returns the paths of the backups. Throws E2dError `pki_file_exists`.
 */
export async function writePemFiles(
  files: Files,
  pems: readonly NewPemFile[],
  options: { force: boolean; nowMs: number },
): Promise<string[]> {
  if (!options.force) {
    for (const { path } of pems) if (await files.info(path) !== undefined) throw fileExistsError(path);
  }
  for (const directory of new Set(pems.map(({ path }) => directoryOf(path)))) {
    if (await files.info(directory) === undefined) await files.makeDirectory(directory, { mode: 0o700 });
  }
  const backups: string[] = [];
  for (const pem of [...pems].sort((a, b) => Number(b.isSecret) - Number(a.isSecret))) {
    const mode = pem.isSecret ? 0o600 : 0o644;
    if (!options.force) {
      try {
        await files.writeNew(pem.path, pem.text, { mode });
      } catch (error) {
        throw isE2dError(error, "file_exists") ? fileExistsError(pem.path) : error;
      }
      continue;
    }
    const copy = await writeBackup(files, pem.path, options.nowMs);
    if (copy !== undefined) backups.push(copy);
    await files.writeAtomic(pem.path, pem.text, { mode });
  }
  return backups;
}

/** Copies a file with its mode to "<path>.old-<time>"; returns that path, or undefined when the file does not exist. */
export async function writeBackup(files: Files, path: string, nowMs: number): Promise<string | undefined> {
  const [old, info] = [await files.read(path), await files.info(path)];
  if (old === undefined) return undefined;
  const stamp = new Date(nowMs).toISOString().replace(/[-:]|\.\d+/g, "");
  for (let turn = 1; turn < 1000; turn++) {
    const copy = `${path}.old-${stamp}${turn === 1 ? "" : `-${turn}`}`;
    try {
      await files.writeNew(copy, old, { mode: info?.mode ?? 0o600 });
      return copy;
    } catch (error) {
      if (!isE2dError(error, "file_exists")) throw error;
    }
  }
  throw new E2dError("pki_file_exists", `Cannot back up "${path}": a thousand backups of this second exist`);
}

/** Reads a file that must exist. `role` names it in errors ("CA key"). Throws E2dError `pki_file_missing`. */
export async function readPemFile(files: Files, path: string, role: string): Promise<PemFile> {
  const text = await files.readText(path);
  if (text === undefined) {
    throw new E2dError("pki_file_missing", `Cannot read ${role} "${path}": there is no such file`, {
      ...(role.startsWith("CA ") ? { hint: "create it: e2d pki init" } : { hint: "create it: e2d pki gencerts" }),
    });
  }
  return { path, text };
}

/** The text before the last slash; "." for a bare name. */
export function directoryOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : slash === 0 ? "/" : path.slice(0, slash);
}

/** The path of a file in a directory. */
export function pathIn(directory: string, name: string): string {
  return directory === "" || directory === "." ? name : `${directory.replace(/\/+$/, "")}/${name}`;
}

function fileExistsError(path: string): E2dError {
  return new E2dError("pki_file_exists", `Cannot write "${path}": the file already exists`, {
    hint: "--force replaces it and keeps the old file in the same folder as <name>.old-<time>",
  });
}
