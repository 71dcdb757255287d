/**
 * Verifies a snapshot against its authentication tags, its header, its manifest and etcd's checksum. An unencrypted
 * database gets its final name only after all of them match, and must not stay on the disk after a failure.
 */
import { E2dError } from "../errors.ts";
import type { Staging } from "../ports.ts";
import { type Codec, sameThreadCodec } from "./format/codec.ts";
import type { EtcdSum } from "./format/etcd_sum.ts";
import type { Manifest } from "./manifest.ts";
import { canonicalJson, keyFits, plainSumFits } from "./manifest_mac.ts";
import type { OpenedSnapshot, SnapshotKeys } from "./format/unseal.ts";

export interface VerifiedSnapshot {
  /** Of the plain database. */
  readonly sha256: string;
  /** Of the object in the store. */
  readonly storedSha256: string;
  readonly plainBytes: number;
  readonly kind: OpenedSnapshot["kind"];
  readonly header: OpenedSnapshot["header"];
  readonly etcdSum: EtcdSum;
}

export interface VerifyOptions {
  readonly keys: SnapshotKeys;
  readonly requireSealed?: boolean | undefined;
  /** Undefined: the snapshot is unmanaged. */
  readonly manifest?: Manifest | undefined;
  /** Limit for the plain database if there is no manifest. */
  readonly maxBytes?: number | undefined;
  /** Target file of the plain database, with mode 0600. Undefined: it is not kept. */
  readonly kept?: { readonly path: string; readonly staging: Pick<Staging, "append" | "remove" | "replaceFile"> };
  readonly onProgress?: (plainBytes: number) => void;
  /** Default: on this thread. */
  readonly codec?: Codec | undefined;
}

/**
 * Throws what the codec and Staging throw, and E2dError `snapshot_manifest_mismatch` if the snapshot is
 * not the one that its manifest describes.
 */
export async function verifySnapshot(
  source: ReadableStream<Uint8Array>,
  options: VerifyOptions,
): Promise<VerifiedSnapshot> {
  const { keys, requireSealed, manifest, kept, onProgress = () => {}, codec = sameThreadCodec } = options;
  const maxBytes = manifest?.plainBytes ?? options.maxBytes;
  const opened = await codec.open(source, keys, { requireSealed, maxBytes });
  const difference = manifest && headerDifference(opened, manifest);
  if (difference !== undefined) {
    await opened.stream.cancel().catch(() => {});
    throw mismatch(manifest!, difference);
  }
  let plainBytes = 0;
  const part = `${kept?.path}.part`;
  const file = await openPart(part, kept?.staging).catch(async (error) => {
    await opened.stream.cancel(error).catch(() => {});
    throw error;
  });
  let verified: VerifiedSnapshot;
  try {
    for await (const chunk of opened.stream) {
      plainBytes += chunk.length;
      await file?.append(chunk);
      onProgress(plainBytes);
    }
    const { etcdSum, storedSha256 } = await opened.sums;
    const { kind, header } = opened;
    verified = { sha256: etcdSum.sha256, storedSha256, plainBytes, kind, header, etcdSum };
    if (manifest !== undefined) requireSums(verified, manifest, keys);
    await file?.sync();
  } catch (error) {
    // An unverified plain database must not stay.
    await kept?.staging.remove(part);
    throw error;
  } finally {
    file?.close();
  }
  await kept?.staging.replaceFile(part, kept.path);
  return verified;
}

async function openPart(part: string, staging: Pick<Staging, "append" | "remove"> | undefined) {
  await staging?.remove(part);
  return await staging?.append(part, { mode: 0o600 });
}

/** The header of a v2 file is authenticated. Each of its facts must equal that of the manifest. */
function headerDifference({ kind, header }: OpenedSnapshot, manifest: Manifest): string | undefined {
  if (kind !== manifest.format) return `it is of format ${kind}, its manifest says ${manifest.format}`;
  if (header === undefined) return undefined;
  const pairs: [string, unknown, unknown][] = [
    ["cluster", header.clusterId, manifest.clusterId],
    ["lineage", canonicalJson(header.lineage ?? null), canonicalJson(manifest.lineage)],
    ["revision", header.revision, manifest.revision],
    ["etcd version", header.etcdVersion, manifest.etcdVersion],
    ["time", header.takenAt, manifest.takenAt],
    ["size", header.plainBytes, manifest.plainBytes],
    ["compression", header.compression, manifest.compression],
    ["seal", header.sealed, manifest.sealed ?? header.sealed],
  ];
  const [name, own, told] = pairs.find(([, own, told]) => own !== told) ?? [];
  return name === undefined ? undefined : `its header has ${name} ${own}, its manifest ${told}`;
}

function requireSums(verified: VerifiedSnapshot, manifest: Manifest, keys: SnapshotKeys): void {
  if (verified.storedSha256 !== manifest.sha256) throw mismatch(manifest, "the SHA-256 of the object differs");
  if (verified.plainBytes !== manifest.plainBytes) {
    throw mismatch(manifest, `the database has ${verified.plainBytes} bytes, its manifest says ${manifest.plainBytes}`);
  }
  // The sum is keyed. Without the key the tags of the chunks and the sum of the object must suffice.
  const unknown = manifest.authentication !== undefined && openedByIdentity(verified, keys) &&
    !keyFits(manifest, allKeys(keys));
  if (!unknown && !plainSumFits(manifest, verified.sha256, allKeys(keys))) {
    throw mismatch(manifest, "the sum of the database differs");
  }
}

/** True if no key but one of the identities can have opened the file. */
const openedByIdentity = ({ header }: VerifiedSnapshot, keys: SnapshotKeys) =>
  header?.sealed === true && keys.identities !== undefined && keys.identities.length > 0;

/** Every key that may have authenticated a manifest. */
export const allKeys = ({ recipients, former = [], secret }: SnapshotKeys) => [
  ...recipients,
  ...former,
  ...(secret === undefined ? [] : [secret]),
];

function mismatch({ key }: Manifest, why: string): E2dError {
  return new E2dError("snapshot_manifest_mismatch", `Cannot trust snapshot "${key}": ${why}`, {
    hint: "restore another one by name: e2d snapshot list shows them",
  });
}
