/** Keys, values and transactions for callers of the client, and their translation to etcd's messages. */
import { prefixEnd } from "../../bytes.ts";
import type { Answer, methods, RawKeyValue } from "./messages.ts";

type Bytes = Uint8Array<ArrayBuffer>;
type Input<M> = M extends { request: { encode(value: infer Q): unknown } } ? Q : never;
type RawRange = NonNullable<Answer<typeof methods.range>>;

/** Text is encoded as UTF-8. */
export type Data = string | Uint8Array;

export interface KeyValue {
  readonly key: Bytes;
  readonly value: Bytes;
  readonly createRevision: number;
  readonly modRevision: number;
  /** Writes of the key since it was created. */
  readonly version: number;
  /** Undefined when no lease is attached. */
  readonly lease?: string;
}

export interface RangeOptions {
  /** The end of the range, exclusive; undefined: one key. See `prefixRangeEnd`. */
  readonly end?: Data;
  /** Maximum number of keys; undefined: all. */
  readonly limit?: number;
  /** Read as of this revision. */
  readonly revision?: number;
  readonly keysOnly?: boolean;
  readonly countOnly?: boolean;
  /** Read from the member's own store, which may be stale. Default: linearizable. */
  readonly serializable?: boolean;
}

export interface RangeResult {
  /** Of the store at the time of the read. */
  readonly revision: number;
  /** In the order of their keys. */
  readonly kvs: readonly KeyValue[];
  /** True when `limit` cut the result. */
  readonly more: boolean;
  /** All keys of the range, including those cut by `limit`. */
  readonly count: number;
}

/** A key that does not exist has version, create and mod revision 0. With `end`, all keys of the range must match. */
export type Compare =
  & { readonly key: Data; readonly end?: Data; readonly result: "=" | "!=" | "<" | ">" }
  & (
    | { readonly target: "version" | "createRevision" | "modRevision"; readonly value: number }
    | { readonly target: "value"; readonly value: Data }
  );

export type Operation =
  | { readonly kind: "put"; readonly key: Data; readonly value: Data; readonly lease?: string }
  | { readonly kind: "delete"; readonly key: Data; readonly end?: Data }
  | { readonly kind: "range"; readonly key: Data; readonly options?: RangeOptions };

export interface Txn {
  /** All must be true. */
  readonly compare: readonly Compare[];
  /** Executed if they are. */
  readonly success: readonly Operation[];
  /** Executed otherwise. */
  readonly failure?: readonly Operation[];
}

export interface TxnResult {
  readonly succeeded: boolean;
  readonly revision: number;
  /** One for each operation of the executed branch; undefined for operations that read nothing. */
  readonly ranges: readonly (RangeResult | undefined)[];
}

/** The end of the range of all keys with this prefix; a zero byte (etcd's "to the last key") when no key is above it. */
export const prefixRangeEnd = (prefix: Data): Bytes => prefixEnd(toBytes(prefix)) ?? new Uint8Array(1);

const encoder = new TextEncoder();

export const toBytes = (data: Data): Uint8Array => typeof data === "string" ? encoder.encode(data) : data;

export function rawRange(key: Data, options: RangeOptions = {}): Input<typeof methods.range> {
  const { end, ...rest } = options;
  return { ...rest, key: toBytes(key), ...(end !== undefined && { rangeEnd: toBytes(end) }) };
}

export function rawTxn({ compare, success, failure = [] }: Txn): Input<typeof methods.txn> {
  return { compare: compare.map(rawCompare), success: success.map(rawOperation), failure: failure.map(rawOperation) };
}

const results = { "=": 0, ">": 1, "<": 2, "!=": 3 } as const;
const targets = { version: 0, createRevision: 1, modRevision: 2, value: 3 } as const;

function rawCompare(compare: Compare) {
  return {
    key: toBytes(compare.key),
    ...(compare.end !== undefined && { rangeEnd: toBytes(compare.end) }),
    result: results[compare.result],
    target: targets[compare.target],
    ...(compare.target === "value"
      ? { value: toBytes(compare.value) }
      : { [compare.target]: compare.value } as { version: number }),
  };
}

function rawOperation(operation: Operation) {
  switch (operation.kind) {
    case "put":
      return {
        put: {
          key: toBytes(operation.key),
          value: toBytes(operation.value),
          ...(operation.lease !== undefined && { lease: operation.lease }),
        },
      };
    case "delete":
      return {
        deleteRange: {
          key: toBytes(operation.key),
          ...(operation.end !== undefined && { rangeEnd: toBytes(operation.end) }),
        },
      };
    case "range":
      return { range: rawRange(operation.key, operation.options) };
    default:
      return operation satisfies never;
  }
}

export function rangeResult(raw: RawRange): RangeResult {
  return {
    revision: raw.header?.revision ?? 0,
    kvs: raw.kvs.map(keyValue),
    more: raw.more,
    count: raw.count,
  };
}

export function txnResult(raw: Answer<typeof methods.txn>): TxnResult {
  const revision = raw.header?.revision ?? 0;
  return {
    succeeded: raw.succeeded,
    revision,
    // Not all releases set the revision in the ranges of a transaction.
    ranges: raw.responses.map(({ range }) => range && { ...rangeResult(range), revision }),
  };
}

function keyValue({ key, value, createRevision, modRevision, version, lease }: RawKeyValue): KeyValue {
  return {
    // Copies: they are views of a message that may be large.
    key: new Uint8Array(key),
    value: new Uint8Array(value),
    createRevision,
    modRevision,
    version,
    ...(lease !== "0" && { lease }),
  };
}
