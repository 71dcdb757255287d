/**
 * The manifest beside each snapshot. It is written last, so only a complete snapshot has one. This module owns its form;
 * manifest_mac.ts owns its authentication.
 */
import { E2dError } from "../errors.ts";
import type { Compression } from "./format/v2.ts";

export interface Manifest {
  readonly version: 1;
  /** Key of the snapshot's object. */
  readonly key: string;
  /** Bytes in the store, and their SHA-256. */
  readonly size: number;
  readonly sha256: string;
  /** Size of the database including etcd's checksum at its end. */
  readonly plainBytes: number;
  /**
   * Only beside a snapshot that is not sealed: the checksum of a sealed database would confirm a guess of its content, so
   * `authentication` contains a keyed one. Manifests of earlier versions contain it beside sealed snapshots, too.
   */
  readonly plainSha256?: string;
  /** The newest revision when the snapshot was requested; the database may contain later ones. */
  readonly revision: number;
  readonly clusterId: string;
  readonly lineage: {
    readonly id: string;
    readonly epoch: number;
    readonly token: string;
    /** `--new-cluster NAME` that the first life was bootstrapped under. */
    readonly name?: string;
  };
  /**
   * The life, and the snapshot of it, that this life was restored from. Without `sha256` the source was a survivor's data.
   * Undefined: bootstrapped empty, adopted, or saved by a version that did not record it.
   */
  readonly restoredFrom?: { readonly token: string; readonly sha256?: string; readonly revision: number };
  /** ISO 8601. When this life, or this branch of it, saved its first snapshot. */
  readonly bornAt?: string;
  /**
   * Undefined: the first branch of the life. A new branch begins when a disk was rolled back and the data continues at a
   * lower revision than the store holds. `bornAt` is then the birth of the branch.
   */
  readonly branch?: string;
  readonly format: "v2" | "go-v1" | "plain";
  readonly compression: Compression;
  /** Undefined in manifests of earlier versions. */
  readonly sealed?: boolean;
  readonly etcdVersion: string;
  /** ISO 8601. */
  readonly takenAt: string;
  /** ISO 8601. When the uploaded object was read and verified. */
  readonly verifiedAt: string;
  /** Only beside sealed snapshots; undefined in manifests of earlier versions. */
  readonly authentication?: ManifestAuthentication;
}

/** See DESIGN.md. All texts are hex. */
export interface ManifestAuthentication {
  readonly salt: string;
  /** One for each recipient of the snapshot. */
  readonly tags: readonly ManifestTag[];
}

export interface ManifestTag {
  /** Identifies the recipient's key without revealing it. */
  readonly id: string;
  /** Keyed sum of the plain database. */
  readonly plain: string;
  /** MAC over all other fields of the manifest, and over `id` and `plain` of this tag. */
  readonly mac: string;
}

export const manifestSuffix = ".manifest";
const manifestMaxBytes = 65_536;

export const encodeManifest = (manifest: Manifest): string => `${JSON.stringify(manifest, null, 2)}\n`;

/** Throws E2dError `manifest_unreadable`: the state of the store is then unknown, never absent. */
export function decodeManifest(key: string, bytes: Uint8Array): Manifest {
  const refuse = (why: string, cause?: unknown) =>
    new E2dError("manifest_unreadable", `Cannot read manifest "${key}": ${why}`, {
      cause,
      hint: "inspect it; if no cluster needs it, move it and its snapshot away",
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
  const { authentication, plainSha256 } = value;
  const sums = [value.sha256, ...(plainSha256 === undefined && authentication !== undefined ? [] : [plainSha256])];
  const times = [value.takenAt, value.verifiedAt];
  const fits = texts.every((text) => typeof text === "string") &&
    counts.every((count) => Number.isSafeInteger(count) && count! >= 0) &&
    sums.every(isSum) &&
    times.every((time) => typeof time === "string" && !Number.isNaN(Date.parse(time))) &&
    ["v2", "go-v1", "plain"].includes(value.format!) && ["none", "gzip", "zstd"].includes(value.compression!) &&
    ["boolean", "undefined"].includes(typeof value.sealed) && descentFits(value) &&
    (authentication === undefined || authenticationFits(authentication as ManifestAuthentication | null));
  if (!fits) throw refuse("a field is missing or makes no sense");
  return value as Manifest;
}

const recipientsMax = 64;
const isSum = (value: unknown) => typeof value === "string" && /^[0-9a-f]{64}$/.test(value);

function authenticationFits(value: ManifestAuthentication | null): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { salt, tags } = value;
  return isSum(salt) && Array.isArray(tags) && tags.length <= recipientsMax &&
    tags.every((tag) => /^[0-9a-f]{16}$/.test(tag?.id) && isSum(tag.plain) && isSum(tag.mac));
}

function descentFits({ lineage, restoredFrom, bornAt, branch }: Partial<Manifest>): boolean {
  return ["string", "undefined"].includes(typeof lineage?.name) &&
    (branch === undefined || typeof branch === "string" && /^[0-9a-f]{8}$/.test(branch)) &&
    (bornAt === undefined || typeof bornAt === "string" && !Number.isNaN(Date.parse(bornAt))) &&
    (restoredFrom === undefined ||
      typeof restoredFrom?.token === "string" && Number.isSafeInteger(restoredFrom.revision) &&
        (restoredFrom.sha256 === undefined || isSum(restoredFrom.sha256)));
}
