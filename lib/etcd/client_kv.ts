/** Keys, values and transactions as e2d's code writes them, and as etcd's messages have them. */
import type { Answer, methods, RawKeyValue } from "./client_messages.ts";

type Bytes = Uint8Array<ArrayBuffer>;
type Input<M> = M extends { request: { encode(value: infer Q): unknown } } ? Q : never;
type RawRange = NonNullable<Answer<typeof methods.range>>;

/** Text is taken as UTF-8. */
export type Data = string | Uint8Array;

export interface KeyValue {
  readonly key: Bytes;
  readonly value: Bytes;
  readonly createRevision: number;
  readonly modRevision: number;
  /** How often the key was written since it was made. */
  readonly version: number;
  /** Undefined when no lease holds it. */
  readonly lease?: string;
}

export interface RangeOptions {
  /** The first key that is not meant; without it one key is. See `prefixEnd`. */
  readonly end?: Data;
  /** Keys at most; without it all. */
  readonly limit?: number;
  /** Read as of this revision. */
  readonly revision?: number;
  readonly keysOnly?: boolean;
  readonly countOnly?: boolean;
  /** From the asked member's own store, which may be behind; linearizable otherwise. */
  readonly serializable?: boolean;
}

export interface RangeResult {
  /** Of the store when it was read. */
  readonly revision: number;
  /** In the order of their keys. */
  readonly kvs: readonly KeyValue[];
  /** True when `limit` left some away. */
  readonly more: boolean;
  /** All keys of the range, those left away too. */
  readonly count: number;
}

/** A key that does not exist has version, create and mod revision 0. With `end`, all keys of the range must fit. */
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
  /** All must hold. */
  readonly compare: readonly Compare[];
  /** Done when they do. */
  readonly success: readonly Operation[];
  /** Done when one does not. */
  readonly failure?: readonly Operation[];
}

export interface TxnResult {
  readonly succeeded: boolean;
  readonly revision: number;
  /** One for each operation of the branch that was taken; undefined for those that read nothing. */
  readonly ranges: readonly (RangeResult | undefined)[];
}

/** The end of the range of all keys that begin so. */
export function prefixEnd(prefix: Data): Bytes {
  const end = new Uint8Array(toBytes(prefix));
  for (let length = end.length; length > 0; length--) {
    const last = end[length - 1]!;
    if (last === 0xff) continue;
    end[length - 1] = last + 1;
    return end.slice(0, length);
  }
  // No key is larger than all of them: etcd takes a zero byte for "to the end".
  return new Uint8Array(1);
}

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
    // The ranges inside a transaction carry no revision of their own in all releases.
    ranges: raw.responses.map(({ range }) => range && { ...rangeResult(range), revision }),
  };
}

function keyValue({ key, value, createRevision, modRevision, version, lease }: RawKeyValue): KeyValue {
  return {
    // Copies: the message they came in may be large, and is shared.
    key: new Uint8Array(key),
    value: new Uint8Array(value),
    createRevision,
    modRevision,
    version,
    ...(lease !== "0" && { lease }),
  };
}
