/**
 * Identifies the snapshot that the file at the key is a copy of, by the header of that file. The size does not identify
 * it: a database keeps its size while its content changes. The header is not authenticated here, so it may delay a
 * restore and must never select a snapshot.
 */
import { E2dError } from "../errors.ts";
import { ByteReader } from "../streams/byte_reader.ts";
import type { NameClaim, SnapshotPlace } from "./history.ts";
import { isSameLife } from "./lives.ts";
import type { Manifest } from "./manifest.ts";
import { magic } from "./format/v2.ts";

export interface CopiedSnapshot {
  readonly lineage: { readonly id: string; readonly token: string };
  /** Undefined if the header has no valid time and revision. No header names a branch. */
  readonly claim: Omit<NameClaim, "tag"> | undefined;
  isOf(manifest: Manifest): boolean;
}

/** The limit of lib/snapshot/format/v2.ts. */
const headerMaxBytes = 65_536;

/**
 * Undefined for files of the Go original, and for those of `e2d snapshot save`, which name no life. Throws E2dError
 * `store_contradiction` if the file was listed and does not exist.
 */
export async function readHeadCopy(
  { store, key }: SnapshotPlace,
  signal?: AbortSignal,
): Promise<CopiedSnapshot | undefined> {
  const object = await store.read(key, signal);
  if (object === undefined) {
    throw new E2dError("store_contradiction", `Cannot trust ${store.name}: it lists "${key}" and does not find it`, {
      hint: "look again; a store whose listings lag must not decide which snapshot is the newest",
    });
  }
  const reader = new ByteReader(object.stream);
  try {
    const start = await reader.read(magic.length + 4);
    if (start.length < magic.length + 4 || !magic.every((byte, at) => byte === start[at])) return undefined;
    const length = new DataView(start.buffer).getUint32(magic.length);
    return copiedOf(new TextDecoder().decode(await reader.read(Math.min(length, headerMaxBytes))));
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function copiedOf(text: string): CopiedSnapshot | undefined {
  let header: Partial<Omit<Manifest, "lineage">> & { lineage?: Partial<Manifest["lineage"]> } | null;
  try {
    header = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { lineage, clusterId, revision, takenAt, plainBytes } = header ?? {};
  const { id, token } = lineage ?? {};
  if (typeof id !== "string" || typeof token !== "string" || token === "") return undefined;
  const takenAtMs = typeof takenAt === "string" ? Date.parse(takenAt) : NaN;
  const known = Number.isSafeInteger(revision) && !Number.isNaN(takenAtMs);
  return {
    lineage: { id, token },
    claim: known ? { takenAtMs, revision: revision! } : undefined,
    isOf: (manifest) =>
      isSameLife(manifest.lineage, { id, token }) && manifest.clusterId === clusterId &&
      manifest.revision === revision && manifest.takenAt === takenAt && manifest.plainBytes === plainBytes,
  };
}
