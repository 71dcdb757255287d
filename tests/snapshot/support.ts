/** Databases, keys and published snapshots for these tests. */
import { createHash } from "node:crypto";
import type { Publication } from "../../lib/snapshot/lookup.ts";
import type { Manifest } from "../../lib/snapshot/manifest.ts";
import { authenticateManifest } from "../../lib/snapshot/manifest_mac.ts";
import { requireTrusted as requireTrustedManifest, type SnapshotTrust } from "../../lib/snapshot/trust.ts";
import { type WrapOptions, wrapSnapshot } from "../../lib/snapshot/format/seal.ts";
import { publishSnapshot } from "./publication.ts";
import type { MemoryStore } from "../support/memory_store.ts";

export type Bytes = Uint8Array<ArrayBuffer>;

export const caSecret: Bytes = new Uint8Array(32).fill(7);
export const otherSecret: Bytes = new Uint8Array(32).fill(8);

/** Deterministic random bytes. */
export function counter(): (length: number) => Bytes {
  let next = 0;
  return (length) => Uint8Array.from({ length }, () => next++ % 251);
}

export const sha256 = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex");

/** A snapshot of etcd: pages, then its checksum over them. */
export function database(text: string, pages = 2): Bytes {
  const body = new Uint8Array(pages * 512);
  new TextEncoder().encodeInto(text, body);
  const sum = createHash("sha256").update(body).digest();
  return new Uint8Array([...body, ...sum]);
}

export function streamOf(bytes: Bytes, piece = 300): ReadableStream<Bytes> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.slice(at, at += piece));
    },
  }, { highWaterMark: 0 });
}

export const collect = async (stream: ReadableStream<Uint8Array>): Promise<Bytes> =>
  new Uint8Array(await new Response(stream).arrayBuffer());

export const key = "db";

export interface Saved {
  readonly text?: string;
  readonly minute?: number;
  readonly lineage?: Manifest["lineage"];
  readonly sealed?: boolean;
  readonly format?: WrapOptions["format"];
  readonly keys?: WrapOptions["keys"];
  /** As an e2d version whose manifests have no MAC. */
  readonly before?: boolean;
  readonly restoredFrom?: Publication["restoredFrom"];
  /** By a node with these keys, which trusts no manifest without a MAC. */
  readonly trust?: SnapshotTrust;
}

/** One snapshot, published as the manager does. */
export async function save(store: MemoryStore, saved: Saved = {}): Promise<Manifest> {
  const { minute = 1, text = `at ${minute}`, sealed = true, format = "v2", before = false } = saved;
  const { lineage = { id: "l", epoch: 1, token: "t" }, keys = { recipients: [caSecret], secret: caSecret } } = saved;
  const plain = database(text);
  const facts = {
    clusterId: "c",
    lineage,
    revision: minute,
    etcdVersion: "3.6.14",
    takenAt: new Date(minute * 60_000).toISOString(),
  };
  const randomBytes = counter();
  const options = { format, compression: "none", sealed, keys, mac: "HMAC-SHA-256", randomBytes } as const;
  const publication: Publication = {
    stream: wrapSnapshot(streamOf(plain), { ...options, facts: { ...facts, plainBytes: plain.length } }),
    facts: { ...facts, format: format === "v2" ? "v2" : sealed ? "go-v1" : "plain", compression: "none", sealed },
    currentRevision: () => Promise.resolve(Infinity),
    plain: () => Promise.resolve({ bytes: plain.length, sha256: sha256(plain) }),
    authenticate: sealed && !before ? (each) => authenticateManifest(each, keys.recipients, randomBytes) : undefined,
    nowWallMs: () => minute * 60_000,
    mayReplaceUnmanaged: true,
    restoredFrom: saved.restoredFrom,
    sha256: () => createHash("sha256"),
  };
  store.nowMs = minute * 60_000;
  const { trust } = saved;
  const requireTrusted = trust && ((manifest: Manifest) => requireTrustedManifest(manifest, trust));
  return (await publishSnapshot({ store, key, requireTrusted }, publication)).manifest;
}

/** The action of an attacker with write access to the bucket. */
export function rewriteManifest(store: MemoryStore, manifest: Manifest, change: Record<string, unknown>): void {
  const name = `${manifest.key}.manifest`;
  const bytes = new TextEncoder().encode(JSON.stringify({ ...manifest, ...change }));
  store.objects.set(name, { bytes, modifiedMs: store.nowMs });
}
