/** Short publications of a leader: one snapshot per minute, with the minute as revision. */
import { createHash } from "node:crypto";
import {
  copyToKey,
  type Publication,
  type Published,
  publishSnapshot as publishToHistory,
  type SnapshotPlace,
} from "../../lib/snapshot/lookup.ts";
import { MemoryStore } from "../support/memory_store.ts";

export const key = "db";
export const minuteMs = 60_000;

/** Saves and copies, as the manager does. */
export async function publishSnapshot(place: SnapshotPlace, each: Publication): Promise<Published> {
  const published = await publishToHistory(place, each);
  if (published.ownsKey) await copyToKey(place, published.manifest);
  return published;
}

export interface Life {
  id?: string;
  epoch?: number;
  /** Default: one life per epoch. */
  token?: string;
  restoredFrom?: Publication["restoredFrom"];
  mayReplaceUnmanaged?: boolean;
  /** Default: the minute. */
  revision?: number;
  /** Revision of the cluster when the history was read. Default: not below that of the store. */
  now?: number;
}

/** The publication of a leader at minute `at`, by default of revision `at`. */
export function publication(
  at: number,
  {
    id = "l",
    epoch = 0,
    token = `t${epoch}`,
    restoredFrom,
    mayReplaceUnmanaged = false,
    revision = at,
    now = Infinity,
  }: Life = {},
): Publication {
  const content = new TextEncoder().encode(`database at ${at}`);
  const sha256 = () => createHash("sha256");
  return {
    stream: ReadableStream.from([content]),
    facts: {
      revision,
      clusterId: "c",
      lineage: { id, epoch, token },
      format: "v2",
      compression: "none",
      etcdVersion: "3.6.14",
      takenAt: new Date(at * minuteMs).toISOString(),
    },
    restoredFrom,
    currentRevision: () => Promise.resolve(now),
    plain: () => Promise.resolve({ bytes: content.length, sha256: sha256().update(content).digest("hex") }),
    nowWallMs: () => at * minuteMs,
    mayReplaceUnmanaged,
    sha256,
  };
}

export async function storeWith(...minutes: number[]): Promise<MemoryStore> {
  const store = new MemoryStore();
  for (const at of minutes) {
    store.nowMs = at * minuteMs;
    await publishSnapshot({ store, key }, publication(at));
  }
  return store;
}

export const contentAt = (store: MemoryStore, name: string) => new TextDecoder().decode(store.objects.get(name)!.bytes);

/** Saves at minute `at`, by the store's clock and the node's. */
export async function save(store: MemoryStore, at: number, life: Life = {}) {
  store.nowMs = at * minuteMs;
  return await publishSnapshot({ store, key }, publication(at, life));
}

/** The key of the object saved at that minute, by its name. */
export const objectAt = (store: MemoryStore, at: number): string =>
  [...store.objects.keys()].find((name) => new RegExp(`Z-${at}-[0-9a-f]{8}$`).test(name))!;
