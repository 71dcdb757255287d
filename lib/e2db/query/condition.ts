/** Evaluates conditions on one row, and translates them to intervals of an index. Pure. */
import { prefixEnd } from "../schema/bytes.ts";
import { everything, intersect, type Interval, type Intervals, invert, underPrefix, union } from "./interval.ts";
import { encodeOrdered, encodeStringPrefix, type Orderable } from "../schema/order.ts";

export type Condition =
  | { kind: "compare"; field: string; operator: Operator; value: Orderable }
  | { kind: "in"; field: string; values: readonly Orderable[] }
  | { kind: "startsWith"; field: string; prefix: string }
  | { kind: "and" | "or"; parts: readonly Condition[] }
  | { kind: "not"; part: Condition };

export type Operator = "eq" | "lt" | "lte" | "gt" | "gte";

/** True for every row. */
export const anything: Condition = { kind: "and", parts: [] };
export const isAnything = (condition: Condition): boolean => condition.kind === "and" && condition.parts.length === 0;

/** Joins without nesting, so that the planner can use the parts. */
export function and(a: Condition, b: Condition): Condition {
  const partsOf = (condition: Condition) => condition.kind === "and" ? condition.parts : [condition];
  const parts = [...partsOf(a), ...partsOf(b)];
  return parts.length === 1 ? parts[0]! : { kind: "and", parts };
}

export function or(a: Condition, b: Condition): Condition {
  const partsOf = (condition: Condition) => condition.kind === "or" ? condition.parts : [condition];
  return { kind: "or", parts: [...partsOf(a), ...partsOf(b)] };
}

/**
 * Whether a row meets the condition. Only values of one type have an order: null is neither below nor above 18. `not` is
 * plain negation, so it holds for null.
 */
export function matches(condition: Condition, valueOf: (field: string) => unknown): boolean {
  switch (condition.kind) {
    case "compare": {
      const order = compareValues(valueOf(condition.field), condition.value);
      return order !== undefined && holds[condition.operator](order);
    }
    case "in": {
      const value = valueOf(condition.field);
      return condition.values.some((one) => compareValues(value, one) === 0);
    }
    case "startsWith": {
      const value = valueOf(condition.field);
      return typeof value === "string" && value.startsWith(condition.prefix);
    }
    case "and":
      return condition.parts.every((part) => matches(part, valueOf));
    case "or":
      return condition.parts.some((part) => matches(part, valueOf));
    case "not":
      return !matches(condition.part, valueOf);
    default:
      return condition satisfies never;
  }
}

const holds: Record<Operator, (order: number) => boolean> = {
  eq: (order) => order === 0,
  lt: (order) => order < 0,
  lte: (order) => order <= 0,
  gt: (order) => order > 0,
  gte: (order) => order >= 0,
};

/** The order of two values of one type, as their encodings sort; undefined for different types. */
function compareValues(a: unknown, b: unknown): number | undefined {
  if (typeof a === "number" && typeof b === "number") return a - b || (a === b ? 0 : a < b ? -1 : 1);
  if (typeof a === "string" && typeof b === "string") return compareText(a, b);
  if (typeof a === "boolean" && typeof b === "boolean") return Number(a) - Number(b);
  if (a === null || a === undefined) return b === null ? 0 : undefined;
  if (a instanceof Date && b instanceof Date) return a.getTime() - b.getTime();
  if (a instanceof Uint8Array && b instanceof Uint8Array) {
    for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
    return a.length - b.length;
  }
  return undefined;
}

/** By code point. UTF-16 sorts surrogates below U+E000 to U+FFFF; code points of higher planes sort above. */
function compareText(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    const rank = (unit: number) => unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
    return rank(x) - rank(y);
  }
  return a.length - b.length;
}

/** The entries of an index that can meet a condition. `exact`: all of them do, whatever the other fields are. */
export interface Bounds {
  intervals: Intervals;
  exact: boolean;
}

const unbounded: Bounds = { intervals: everything, exact: false };

export function boundsOn(field: string, condition: Condition): Bounds {
  switch (condition.kind) {
    case "compare":
      if (condition.field !== field) return unbounded;
      return { intervals: [compared(condition.operator, condition.value)], exact: true };
    case "in":
      if (condition.field !== field) return unbounded;
      return { intervals: union(condition.values.map((value) => [compared("eq", value)])), exact: true };
    case "startsWith":
      if (condition.field !== field) return unbounded;
      return { intervals: [underPrefix(encodeStringPrefix(condition.prefix), false)], exact: true };
    case "and": {
      const parts = condition.parts.map((part) => boundsOn(field, part));
      return {
        intervals: parts.reduce<Intervals>((all, part) => intersect(all, part.intervals), everything),
        exact: parts.every((part) => part.exact),
      };
    }
    case "or": {
      const parts = condition.parts.map((part) => boundsOn(field, part));
      return { intervals: union(parts.map((part) => part.intervals)), exact: parts.every((part) => part.exact) };
    }
    case "not": {
      // Rows outside an inexact bound certainly fail, but rows inside it may fail, too.
      const part = boundsOn(field, condition.part);
      return part.exact ? { intervals: invert(part.intervals), exact: true } : unbounded;
    }
    default:
      return condition satisfies never;
  }
}

/** The range of all values of one type. */
function typeRange(value: Orderable): { first: Uint8Array; last: Uint8Array } {
  if (typeof value === "boolean") return { first: encodeOrdered(false), last: prefixEnd(encodeOrdered(true))! };
  const first = encodeOrdered(value).subarray(0, 1);
  return { first, last: prefixEnd(first)! };
}

function compared(operator: Operator, value: Orderable): Interval {
  const low = encodeOrdered(value);
  const high = prefixEnd(low)!;
  const { first, last } = typeRange(value);
  switch (operator) {
    case "eq":
      return { low, high, point: true };
    case "lt":
      return { low: first, high: low, point: false };
    case "lte":
      return { low: first, high, point: false };
    case "gt":
      return { low: high, high: last, point: false };
    case "gte":
      return { low, high: last, point: false };
    default:
      return operator satisfies never;
  }
}
