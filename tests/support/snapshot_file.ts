/** A snapshot as etcd's Snapshot call returns it: a database file followed by its SHA-256. */
import { createHash } from "node:crypto";
import { E2dError } from "../../lib/errors.ts";
import type { FileReader } from "../../lib/ports.ts";

/** The length of a database file is a multiple of this; etcd detects the checksum by the remainder. */
const databaseBlockBytes = 512;
const sumBytes = 32;
const chunkBytes = 1024 * 1024;

/**
 * Reads the file and compares the checksum. Throws E2dError `snapshot_absent`, `snapshot_without_sum` (a plain copy of a
 * database), `snapshot_damaged`, `file_read`, or the signal's reason.
 */
export async function checkSnapshotFile(
  path: string,
  reader: FileReader,
  signal?: AbortSignal,
): Promise<{ databaseBytes: number; sha256: string }> {
  const file = await reader.open(path);
  if (file === undefined) {
    throw new E2dError("snapshot_absent", `Cannot check snapshot "${path}": there is no such file`);
  }
  try {
    const databaseBytes = file.size - sumBytes;
    if (file.size > 0 && file.size % databaseBlockBytes === 0) {
      throw new E2dError("snapshot_without_sum", `Cannot check snapshot "${path}": it has no sum at its end`, {
        hint: "files of the Go e2d and copies of a data-dir have none",
      });
    }
    if (databaseBytes <= 0 || databaseBytes % databaseBlockBytes !== 0) {
      throw damaged(path, `${file.size} bytes is no length that a snapshot can have`);
    }
    const hash = createHash("sha256");
    for (let offset = 0; offset < databaseBytes;) {
      signal?.throwIfAborted();
      const chunk = await file.read(offset, Math.min(chunkBytes, databaseBytes - offset));
      if (chunk.length === 0) throw damaged(path, "it became shorter while it was read");
      hash.update(chunk);
      offset += chunk.length;
    }
    const wanted = hex(await file.read(databaseBytes, sumBytes));
    const sha256 = hash.digest("hex");
    if (sha256 !== wanted) throw damaged(path, "the sum at its end does not fit");
    return { databaseBytes, sha256 };
  } finally {
    file.close();
  }
}

function damaged(path: string, state: string): E2dError {
  return new E2dError("snapshot_damaged", `Cannot use snapshot "${path}": ${state}`, { hint: "take another snapshot" });
}

const hex = (data: Uint8Array) => [...data].map((byte) => byte.toString(16).padStart(2, "0")).join("");
