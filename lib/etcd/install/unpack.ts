/** Unpacks the programs of a release archive, and nothing else of it. */
import { E2dError, isE2dError } from "../../errors.ts";
import type { Staging } from "../../ports.ts";
import { readTar, type TarEntry } from "./tar.ts";

/** The programs of a release; etcdutl came with 3.5. */
export const programs = ["etcd", "etcdctl", "etcdutl"] as const;
export type Program = typeof programs[number];

export interface UnpackedFile {
  sizeBytes: number;
  /** Lower-case hexadecimal. */
  sha256: string;
}

export type UnpackedFiles = { etcd: UnpackedFile } & Partial<Record<Program, UnpackedFile>>;

const limits = { entriesMax: 10_000, entrySizeMaxBytes: 268_435_456 };

/**
 * Unpacks the programs of the `.tar.gz` in `archive` into the empty folder `folder` and syncs them. The checksum is
 * computed again while the archive is read, so that the verified bytes are the unpacked ones; no program may be run
 * before this resolves. Throws E2dError `archive_corrupt`, `archive_unsafe`, `checksum_mismatch` or `disk_full`; the
 * folder may then contain partial files.
 */
export async function unpack(
  { archive, sha256, folder, shown }: {
    archive: ReadableStream<Uint8Array<ArrayBuffer>>;
    sha256: string;
    folder: string;
    /** The name of the archive in messages. */
    shown: string;
  },
  { staging }: { staging: Pick<Staging, "append"> },
): Promise<UnpackedFiles> {
  const { createHash } = await import("node:crypto");
  const hash = createHash("sha256");
  const hashed = archive.pipeThrough(
    new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(chunk, controller) {
        hash.update(chunk);
        controller.enqueue(chunk);
      },
    }),
  );
  const found: Partial<Record<Program, UnpackedFile>> = {};
  try {
    for await (const entry of readTar(hashed.pipeThrough(new DecompressionStream("gzip")), limits)) {
      const program = programOf(entry);
      if (program === undefined) continue;
      if (found[program] !== undefined) throw corrupt(shown, `it has "${program}" twice`);
      found[program] = await writeFile(`${folder}/${program}`, entry.body, staging);
    }
  } catch (error) {
    // Any other error is the decompressor's: the gzip stream is truncated or damaged.
    throw isE2dError(error) ? error : corrupt(shown, "its gzip data is truncated or damaged", error);
  }
  const sum = hash.digest("hex");
  if (sum !== sha256) {
    throw new E2dError("checksum_mismatch", `Cannot unpack "${shown}": its SHA-256 is ${sum}, not ${sha256}`, {
      hint: "the file changed on disk after it was verified: run the command again",
    });
  }
  const { etcd, ...rest } = found;
  if (etcd === undefined) throw corrupt(shown, `it has no program "etcd"`);
  return { etcd, ...rest };
}

/** In a release, the programs are one folder down: `etcd-v3.6.14-linux-amd64/etcd`. */
function programOf({ name, kind, size }: TarEntry): Program | undefined {
  const [, file, ...deeper] = name.split("/");
  if (kind !== "file" || size === 0 || deeper.length > 0) return undefined;
  return programs.find((program) => program === file);
}

/** Writes and syncs one executable, and returns its size and checksum. */
export async function writeFile(
  path: string,
  body: AsyncIterable<Uint8Array<ArrayBuffer>>,
  staging: Pick<Staging, "append">,
): Promise<UnpackedFile> {
  const { createHash } = await import("node:crypto");
  const hash = createHash("sha256");
  const file = await staging.append(path, { mode: 0o755 });
  try {
    for await (const chunk of body) {
      hash.update(chunk);
      await file.append(chunk);
    }
    await file.sync();
    return { sizeBytes: file.size, sha256: hash.digest("hex") };
  } finally {
    file.close();
  }
}

const corrupt = (shown: string, state: string, cause?: unknown) =>
  new E2dError("archive_corrupt", `Cannot unpack "${shown}": ${state}`, {
    cause,
    hint: "the archive is not an etcd release: check E2D_ETCD_MIRROR",
  });
