/** Translates requests, answers and errors of etcd3's generated client to those of kv.ts and back. Pure. */
import {
  type Compare,
  type KeyValue,
  KvError,
  type Operation,
  type RangeRequest,
  type RangeResponse,
  type WatchEvent,
} from "./kv.ts";

interface RawKeyValue {
  key: Uint8Array;
  value: Uint8Array;
  create_revision: string;
  mod_revision: string;
  version: string;
}

export interface RawRange {
  header: { revision: string };
  kvs: RawKeyValue[];
  more: boolean;
  count: string;
}

export interface RawTxn {
  header: { revision: string };
  succeeded: boolean;
  responses: { response_range?: RawRange | null }[];
}

export interface RawWatch {
  header: { revision: string };
  created: boolean;
  canceled: boolean;
  watch_id: string;
  compact_revision: string;
  cancel_reason: string;
  events: { type: string; kv: RawKeyValue; prev_kv: RawKeyValue | null }[];
}

const keyValue = (raw: RawKeyValue): KeyValue => ({
  key: raw.key,
  value: raw.value,
  createRevision: Number(raw.create_revision),
  modRevision: Number(raw.mod_revision),
  version: Number(raw.version),
});

export const rangeResponse = (raw: RawRange): RangeResponse => ({
  revision: Number(raw.header?.revision ?? 0),
  kvs: raw.kvs.map(keyValue),
  more: raw.more,
  count: Number(raw.count),
});

export const rawRange = (request: RangeRequest) => ({
  key: request.key,
  ...(request.end !== undefined && { range_end: request.end }),
  ...(request.limit && { limit: request.limit }),
  ...(request.revision && { revision: request.revision }),
  ...(request.keysOnly && { keys_only: true }),
  ...(request.countOnly && { count_only: true }),
});

export const rawCompare = (compare: Compare) => ({
  key: compare.key,
  ...(compare.end !== undefined && { range_end: compare.end }),
  result: { equal: "Equal", less: "Less", greater: "Greater" }[compare.result],
  ...(compare.target === "mod"
    ? { target: "Mod", mod_revision: compare.revision }
    : { target: "Create", create_revision: compare.revision }),
});

export function rawOperation(operation: Operation) {
  switch (operation.kind) {
    case "put":
      return {
        request_put: {
          key: operation.key,
          value: operation.value,
          ...(operation.lease !== undefined && { lease: operation.lease }),
        },
      };
    case "delete":
      return {
        request_delete_range: {
          key: operation.key,
          ...(operation.end !== undefined && { range_end: operation.end }),
        },
      };
    case "range":
      return { request_range: rawRange(operation.request) };
    default:
      return operation satisfies never;
  }
}

export function watchEvent(raw: RawWatch["events"][number]): WatchEvent {
  const before = raw.prev_kv ? keyValue(raw.prev_kv) : undefined;
  if (raw.type.toUpperCase() !== "DELETE") return { kind: "put", kv: keyValue(raw.kv), before };
  return { kind: "delete", key: raw.kv.key, modRevision: Number(raw.kv.mod_revision), before };
}

export const eventRevision = (event: WatchEvent) => event.kind === "put" ? event.kv.modRevision : event.modRevision;

export function cancelled(message: RawWatch): KvError {
  const compactRevision = Number(message.compact_revision);
  if (compactRevision > 0) {
    return new KvError("compacted", "mvcc: required revision has been compacted", { compactRevision });
  }
  return new KvError("unavailable", `etcd ended the watch: ${message.cancel_reason || "no reason given"}`);
}

/**
 * Classifies an error of etcd3, which drops gRPC's status code and keeps a class and the text, so the text decides first.
 * The texts are those of etcd's rpctypes/error.go.
 */
export function kvError(error: unknown): KvError {
  if (error instanceof KvError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const name = error instanceof Error ? error.constructor.name : "";
  const of = (kind: ConstructorParameters<typeof KvError>[0]) => new KvError(kind, message, { cause: error });
  if (message.includes("has been compacted")) return of("compacted");
  if (message.includes("too many operations")) return of("too_many_operations");
  if (/request is too large|larger than max/.test(message)) return of("too_large");
  if (message.includes("requested lease not found")) return of("no_lease");
  if (message.includes("too many requests")) return of("refused");
  if (name === "EtcdPermissionDeniedError" || name.startsWith("EtcdAuth") || name === "GRPCUnauthenticatedError") {
    return of("denied");
  }
  // A database over its quota refuses writes until an operator acts; it still answers reads.
  if (message.includes("database space exceeded")) return of("denied");
  if (
    /^GRPC(Unavailable|Cancelled|DeadlineExceeded|Internal|Unknown|Aborted|DataLoss|Generic)Error$/.test(name) ||
    /request timed out|leader changed|no leader|server stopped|not capable|ECONN|socket/i.test(message)
  ) return of("unavailable");
  return of("invalid");
}
