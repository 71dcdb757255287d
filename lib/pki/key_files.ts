/** Keys and certificates on disk: keys 0600, directories made 0700, nothing replaced that was not asked for. */
import { E2dError, isE2dError } from "../errors.ts";
import type { Files } from "../ports.ts";
import type { PemFile } from "./authority.ts";

export interface NewPemFile {
  path: string;
  text: string;
  /** Readable by its owner alone. */
  isSecret: boolean;
}

/**
 * Writes files that belong together. When one of them is there already nothing is written, unless `force`: then each
 * old file is first copied to "<path>.old-<time>", so that no key is ever lost and no name is ever without its file.
 * Keys are written before certificates: a run that was cut short leaves a key without use, never a certificate without
 * its key.
 *
 * Returns where the old files are now. Throws E2dError `pki_file_exists`.
 */
export async function writePemFiles(
  files: Files,
  pems: readonly NewPemFile[],
  options: { force: boolean; nowMs: number },
): Promise<string[]> {
  if (!options.force) {
    for (const { path } of pems) if (await files.info(path) !== undefined) throw alreadyThere(path);
  }
  for (const directory of new Set(pems.map(({ path }) => directoryOf(path)))) {
    if (await files.info(directory) === undefined) await files.makeDirectory(directory, { mode: 0o700 });
  }
  const aside: string[] = [];
  for (const pem of [...pems].sort((a, b) => Number(b.isSecret) - Number(a.isSecret))) {
    const mode = pem.isSecret ? 0o600 : 0o644;
    if (!options.force) {
      try {
        await files.writeNew(pem.path, pem.text, { mode });
      } catch (error) {
        throw isE2dError(error, "file_exists") ? alreadyThere(pem.path) : error;
      }
      continue;
    }
    const copy = await keepCopy(files, pem.path, options.nowMs);
    if (copy !== undefined) aside.push(copy);
    await files.writeAtomic(pem.path, pem.text, { mode });
  }
  return aside;
}

/** Copies a file to "<path>.old-<time>" with the mode it has; undefined when there is none. */
export async function keepCopy(files: Files, path: string, nowMs: number): Promise<string | undefined> {
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
  throw new E2dError("pki_file_exists", `Cannot keep a copy of "${path}": a thousand copies of this second are there`);
}

/** The text of a file that must be there. Throws E2dError `pki_file_missing`. */
export async function readPemFile(files: Files, path: string, role: string): Promise<PemFile> {
  const text = await files.readText(path);
  if (text === undefined) {
    throw new E2dError("pki_file_missing", `Cannot read ${role} "${path}": there is no such file`, {
      ...(role.startsWith("CA ") ? { hint: "make one with e2d pki init" } : { hint: "make it with e2d pki gencerts" }),
    });
  }
  return { path, text };
}

/** What stands before the last slash; "." for a bare name. */
export function directoryOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : slash === 0 ? "/" : path.slice(0, slash);
}

/** "ca.crt" beside the others in a directory. */
export function pathIn(directory: string, name: string): string {
  return directory === "" || directory === "." ? name : `${directory.replace(/\/+$/, "")}/${name}`;
}

function alreadyThere(path: string): E2dError {
  return new E2dError("pki_file_exists", `Cannot write "${path}": the file is there already`, {
    hint: "--force replaces it and keeps the old file beside it under another name",
  });
}
