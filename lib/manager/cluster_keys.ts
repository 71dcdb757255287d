/**
 * What e2d keeps in etcd, under the prefix that the Go original calls volatile: all of it goes when a snapshot is
 * restored. `Cluster/1` and its table are the original's own, in its own encoding, so that its nodes start beside ours.
 */
import { E2dError } from "../errors.ts";
import type { Plan } from "../core/plan.ts";
import type { Lineage } from "../core/view.ts";
import { decodeClusterRecord } from "../gossip/cluster_record.ts";
import { count, list, object, text } from "./json.ts";

export const volatilePrefix = "/_e2d";
export const tableKey = "/_e2d/Cluster/_table";
export const recordKey = "/_e2d/Cluster/1";
/** Sizes the cluster had before it was scaled, as JSON. Go nodes do not know it. */
export const formerSizesKey = "/_e2d/former-sizes";
export const planKey = "/_e2d/plan";
/** There while all automatic action is paused (`e2d pause`). */
export const pausedKey = "/_e2d/paused";
/** RFC 3339 time of the restore; clients wait for it. The original's. */
export const markerKey = "/_e2d/snapshot";
/** Which restore the marker is of. */
export const restoredKey = "/_e2d/restored";

/** Read together by each probe. */
export const recordKeys = [recordKey, formerSizesKey] as const;

/** Throws E2dError when the values are not what e2d or the original writes. */
export function readSizes(values: readonly (Uint8Array | undefined)[]): {
  recordedSize?: number;
  formerSizes: readonly number[];
} {
  const [record, former] = values;
  return {
    ...(record === undefined ? {} : { recordedSize: decodeClusterRecord(record).requiredSize }),
    formerSizes: former === undefined ? [] : decodeFormerSizes(former),
  };
}

export const encodeFormerSizes = (sizes: readonly number[]): string => JSON.stringify(sizes);

function decodeFormerSizes(value: Uint8Array): number[] {
  return decode(formerSizesKey, () => list(JSON.parse(new TextDecoder().decode(value))).map(count));
}

/** Equal text: the same restore. */
export const restoredText = ({ id, epoch }: Lineage): string => JSON.stringify({ id, epoch });

export const encodePlan = (plan: Plan): string => JSON.stringify(plan);

/** Throws E2dError `key_unreadable`. */
export function decodePlan(value: Uint8Array): Plan {
  return decode(planKey, () => {
    const plan = object(JSON.parse(new TextDecoder().decode(value)));
    const purpose = text(plan.purpose);
    if (purpose !== "replace" && purpose !== "scale" && purpose !== "upgrade" && purpose !== "defrag") {
      throw new TypeError(purpose);
    }
    return {
      id: text(plan.id),
      purpose,
      text: text(plan.text),
      createdAtWallMs: count(plan.createdAtWallMs),
      operations: list(plan.operations).map(operation),
    };
  });
}

function operation(value: unknown): Plan["operations"][number] {
  const each = object(value);
  switch (each.kind) {
    case "snapshot":
      return { kind: "snapshot" };
    case "moveLeaderFrom":
      return { kind: "moveLeaderFrom", memberId: text(each.memberId) };
    case "remove":
      return { kind: "remove", memberId: text(each.memberId), name: text(each.name) };
    case "add":
      return { kind: "add", peerUrl: text(each.peerUrl) };
    case "promote":
      return { kind: "promote", peerUrl: text(each.peerUrl) };
    case "resize":
      return { kind: "resize", from: count(each.from), to: count(each.to) };
    case "defragment":
      return { kind: "defragment", memberId: text(each.memberId), sizeBytes: count(each.sizeBytes) };
    case "allowDowngrade":
      return { kind: "allowDowngrade", to: text(each.to) };
    case "upgrade":
      return { kind: "upgrade", memberId: text(each.memberId), to: text(each.to) };
    default:
      throw new TypeError(`operation "${each.kind}"`);
  }
}

function decode<T>(key: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new E2dError("key_unreadable", `Cannot read key "${key}": it holds something else than e2d writes there`, {
      cause,
      hint: "look at it with etcdctl; a newer e2d may have written it",
    });
  }
}
