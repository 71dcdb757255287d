import { E2dError } from "../errors.ts";
import type { FileInfo, Files } from "../ports.ts";
import { failure, osError } from "./failure.ts";

/** The local disk. Absent is `undefined`; every other failure throws. */
export const systemFiles: Files = {
  async info(path, { followLinks = false } = {}) {
    let info: Deno.FileInfo;
    try {
      info = await (followLinks ? Deno.stat : Deno.lstat)(path);
    } catch (error) {
      if (absent(error)) return undefined;
      throw failure("file_read", `Cannot inspect "${path}"`, error);
    }
    return {
      kind: kindOf(info),
      size: info.size,
      modifiedMs: info.mtime?.getTime() ?? 0,
      mode: (info.mode ?? 0) & 0o7777,
      ...(info.ino !== null && { identity: `${info.dev}:${info.ino}` }),
      ...ownerOf(info),
    };
  },

  async read(path) {
    try {
      return await Deno.readFile(path);
    } catch (error) {
      if (absent(error)) return undefined;
      throw failure("file_read", `Cannot read "${path}"`, error);
    }
  },

  async readText(path) {
    const data = await systemFiles.read(path);
    return data === undefined ? undefined : new TextDecoder().decode(data);
  },

  async list(path) {
    try {
      const names: string[] = [];
      for await (const { name } of Deno.readDir(path)) names.push(name);
      return names.sort();
    } catch (error) {
      if (absent(error)) return undefined;
      throw failure("file_read", `Cannot list "${path}"`, error);
    }
  },

  async writeAtomic(path, data, options) {
    const temporary = await writeTemporary(path, data, options?.mode);
    try {
      await giveToOwner(temporary, path);
      await Deno.rename(temporary, path);
    } catch (error) {
      await removeQuietly(temporary);
      throw failure("file_write", `Cannot write "${path}"`, error);
    }
    await syncFolder(folderOf(path));
  },

  async writeNew(path, data, options) {
    const temporary = await writeTemporary(path, data, options?.mode);
    try {
      await giveToOwner(temporary, path);
      // Unlike a rename, a link never replaces an existing file.
      await Deno.link(temporary, path);
    } catch (error) {
      if (error instanceof Deno.errors.AlreadyExists) throw exists(`Cannot write "${path}"`, path, error);
      throw failure("file_write", `Cannot write "${path}"`, error);
    } finally {
      await removeQuietly(temporary);
    }
    await syncFolder(folderOf(path));
  },

  async makeDirectory(path, options) {
    try {
      await Deno.mkdir(path, { recursive: true, mode: options?.mode ?? 0o755 });
    } catch (error) {
      throw failure("file_write", `Cannot make the folder "${path}"`, error);
    }
  },

  async rename(from, to) {
    const action = `Cannot rename "${from}" to "${to}"`;
    // rename(2) replaces files and empty folders. The check is not atomic with it; callers use names with a timestamp, so
    // that no other process makes the same name in between.
    if (await systemFiles.info(to) !== undefined) throw exists(action, to);
    try {
      await Deno.rename(from, to);
    } catch (error) {
      if (osError(error, 17) || osError(error, 39)) throw exists(action, to, error);
      throw failure("file_write", action, error);
    }
    await syncFolder(folderOf(to));
  },
};

function absent(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound;
}

function exists(action: string, path: string, cause?: unknown): E2dError {
  return new E2dError("file_exists", `${action}: "${path}" exists already`, { cause });
}

function kindOf(info: Deno.FileInfo): FileInfo["kind"] {
  if (info.isSymlink) return "symlink";
  if (info.isFile) return "file";
  return info.isDirectory ? "directory" : "other";
}

function ownerOf({ uid, gid }: Deno.FileInfo): Pick<FileInfo, "owner" | "ownGroup"> {
  const own = Deno.uid();
  if (uid === null || own === null) return {};
  return { owner: uid === own ? "self" : uid === 0 ? "root" : "other", ownGroup: gid === Deno.gid() };
}

function folderOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : path.slice(0, slash) || "/";
}

async function writeTemporary(path: string, data: Uint8Array | string, mode = 0o644): Promise<string> {
  const temporary = `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  try {
    using file = await Deno.open(temporary, { write: true, createNew: true, mode });
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
    await file.sync();
  } catch (error) {
    await removeQuietly(temporary);
    throw failure("file_write", `Cannot write "${path}"`, error);
  }
  return temporary;
}

/**
 * When root writes a file, it gets the owner of the file that it replaces, or of its folder. Otherwise a key that an
 * operator renews as root would be unreadable for e2d and etcd, which run as another user.
 */
async function giveToOwner(temporary: string, path: string): Promise<void> {
  try {
    const mine = await Deno.lstat(temporary);
    const { uid, gid } = await Deno.stat(path).catch(() => Deno.stat(folderOf(path)));
    if (uid !== mine.uid || gid !== mine.gid) await Deno.chown(temporary, uid, gid);
  } catch {
    // Only root may change the owner.
  }
}

async function removeQuietly(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch {
    // It was never created, or the disk that refused the file refuses this, too.
  }
}

/** A rename survives a power failure only after its folder was synced. */
export async function syncFolder(path: string): Promise<void> {
  try {
    using folder = await Deno.open(path, { read: true });
    await folder.sync();
  } catch {
    // Some file systems cannot sync a folder; the rename is still valid.
  }
}
