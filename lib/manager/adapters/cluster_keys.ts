/**
 * The keys that e2d keeps in etcd, and their encodings. The Go original calls their prefix volatile: all of it is deleted
 * after a restore. `Cluster/1` and its table keep the original's encoding, so that legacy nodes can join.
 */
import { E2dError } from "../../errors.ts";
import type { RecordedFacts } from "../../etcd/client/probe.ts";
import { decodeClusterRecord } from "../cluster_record.ts";
import { withoutUndefined } from "../../without_undefined.ts";
import { count, list, object, text } from "../data_dir/json.ts";
import { readLineage, readPauseMark } from "../data_dir/read_facts.ts";
import type { Plan } from "../../core/facts/plan.ts";
import type { Lineage, PauseMark } from "../../core/facts/node_record.ts";

export const volatilePrefix = "/_e2d";
export const tableKey = "/_e2d/Cluster/_table";
export const recordKey = "/_e2d/Cluster/1";
/** Former sizes of a scaled cluster, as JSON. Go nodes ignore it. */
export const formerSizesKey = "/_e2d/former-sizes";
export const planKey = "/_e2d/plan";
/** Whether all automatic action is paused (`e2d pause`, `e2d resume`), as JSON; absent before the first pause. */
export const pausedKey = "/_e2d/paused";
/** RFC 3339 time of the restore; clients wait for it. Defined by the Go original. */
export const markerKey = "/_e2d/snapshot";
/** The lineage and epoch of the restore that wrote the marker. */
export const restoredKey = "/_e2d/restored";

/** The lineage of this cluster, with its cluster id: in a restored copy the id differs, and the value does not count. */
export const lineageKey = "/_e2d/lineage";

/** The keys that each probe reads together. */
export const recordKeys = [recordKey, formerSizesKey, lineageKey, pausedKey] as const;

/** The values of `recordKeys` at a member of cluster `clusterId`. Throws E2dError for values that e2d does not write. */
export function readRecorded(values: readonly (Uint8Array | undefined)[], clusterId: string): RecordedFacts {
  const [, , lineage, pause] = values;
  return {
    ...readSizes(values),
    lineage: decodeLineage(clusterId, lineage),
    pause: decodePause(clusterId, pause),
  };
}

/** Throws E2dError for values that neither e2d nor the Go original writes. */
export function readSizes(values: readonly (Uint8Array | undefined)[]): {
  recordedSize?: number;
  formerSizes: readonly number[];
} {
  const [record, former] = values;
  return {
    ...withoutUndefined({ recordedSize: record && decodeClusterRecord(record).requiredSize }),
    formerSizes: former === undefined ? [] : decodeFormerSizes(former),
  };
}

export const encodePause = ({ clusterId, paused, version }: PauseMark): string =>
  JSON.stringify({ clusterId, paused, version });

/** An unreadable value counts as paused; a value of another cluster id, from a restored copy, does not count. */
export function decodePause(clusterId: string, value: Uint8Array | undefined): Omit<PauseMark, "clusterId"> {
  if (value === undefined) return { paused: false, version: 0 };
  try {
    const mark = readPauseMark(JSON.parse(new TextDecoder().decode(value)));
    if (mark.clusterId !== clusterId) return { paused: false, version: 0 };
    return { paused: mark.paused, version: mark.version };
  } catch {
    return { paused: true, version: 1 };
  }
}

export const encodeLineage = (clusterId: string, { id, epoch, token, name, from }: Lineage): string =>
  JSON.stringify({ clusterId, id, epoch, token, name, from });

/** "absent" when the value is missing or of another cluster. Throws E2dError `key_unreadable`. */
export function decodeLineage(clusterId: string, value: Uint8Array | undefined): Lineage | "absent" {
  if (value === undefined) return "absent";
  return decode(lineageKey, () => {
    const parsed = object(JSON.parse(new TextDecoder().decode(value)));
    return text(parsed.clusterId) === clusterId ? readLineage(parsed) : "absent";
  });
}

export const encodeFormerSizes = (sizes: readonly number[]): string => JSON.stringify(sizes);

function decodeFormerSizes(value: Uint8Array): number[] {
  return decode(formerSizesKey, () => list(JSON.parse(new TextDecoder().decode(value))).map(count));
}

/** Two restores are the same exactly when their texts are equal. */
export const restoredText = ({ id, epoch }: Lineage): string => JSON.stringify({ id, epoch });

export const encodePlan = (plan: Plan): string => JSON.stringify(plan);

/** Throws E2dError `key_unreadable`. */
export function decodePlan(value: Uint8Array): Plan {
  return decode(planKey, () => {
    const plan = object(JSON.parse(new TextDecoder().decode(value)));
    const purpose = text(plan.purpose);
    if (purpose !== "scale" && purpose !== "upgrade" && purpose !== "defrag") {
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
    case "clusterVersion":
      return { kind: "clusterVersion", to: text(each.to) };
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
    throw new E2dError("key_unreadable", `Cannot read key "${key}": its value was not written by this version of e2d`, {
      cause,
      hint: "inspect it with etcdctl get; a newer e2d may have written it",
    });
  }
}
