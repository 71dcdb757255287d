/** What is kept beside each snapshot: written last, so that only what is whole has one. */
import { E2dError } from "../errors.ts";
import type { Compression } from "./v2.ts";

export interface Manifest {
  readonly version: 1;
  /** Key of the snapshot itself. */
  readonly key: string;
  /** Bytes in the store, and their SHA-256. */
  readonly size: number;
  readonly sha256: string;
  /** Of the database inside, with etcd's sum at its end. */
  readonly plainBytes: number;
  readonly plainSha256: string;
  /** At least: the newest revision when the snapshot was asked for. */
  readonly revision: number;
  readonly clusterId: string;
  readonly lineage: { readonly id: string; readonly epoch: number; readonly token: string };
  readonly format: "v2" | "go-v1" | "plain";
  readonly compression: Compression;
  /** Undefined in manifests from before this was written down. */
  readonly sealed?: boolean;
  readonly etcdVersion: string;
  /** ISO 8601. */
  readonly takenAt: string;
  /** When it was last read whole and found good. */
  readonly verifiedAt: string;
}

export const manifestSuffix = ".manifest";
const manifestMaxBytes = 65_536;

export const encodeManifest = (manifest: Manifest): string => `${JSON.stringify(manifest, null, 2)}\n`;

/** Throws E2dError `manifest_unreadable`: what it says of the store is unknown then, which is not «nothing». */
export function decodeManifest(key: string, bytes: Uint8Array): Manifest {
  const refuse = (why: string, cause?: unknown) =>
    new E2dError("manifest_unreadable", `Cannot read manifest "${key}": ${why}`, {
      cause,
      hint: "look at it; move it and its snapshot away when they are nobody's any more",
    });
  if (bytes.length > manifestMaxBytes) throw refuse("it is too long to be one");
  let value: Partial<Manifest>;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as Partial<Manifest>;
  } catch (cause) {
    throw refuse("it is no JSON", cause);
  }
  if (value?.version !== 1) throw refuse(`its version is ${JSON.stringify(value?.version)}, and this e2d knows 1`);
  const texts = [value.key, value.clusterId, value.etcdVersion, value.lineage?.id, value.lineage?.token];
  const counts = [value.size, value.plainBytes, value.revision, value.lineage?.epoch];
  const sums = [value.sha256, value.plainSha256];
  const times = [value.takenAt, value.verifiedAt];
  const fits = texts.every((text) => typeof text === "string") &&
    counts.every((count) => Number.isSafeInteger(count) && count! >= 0) &&
    sums.every((sum) => typeof sum === "string" && /^[0-9a-f]{64}$/.test(sum)) &&
    times.every((time) => typeof time === "string" && !Number.isNaN(Date.parse(time))) &&
    ["v2", "go-v1", "plain"].includes(value.format!) && ["none", "gzip", "zstd"].includes(value.compression!) &&
    ["boolean", "undefined"].includes(typeof value.sealed);
  if (!fits) throw refuse("a field is missing or makes no sense");
  return value as Manifest;
}
