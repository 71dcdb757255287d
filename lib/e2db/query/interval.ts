/**
 * Sets of byte strings as sorted, disjoint, half-open intervals. Conditions become such sets over an index; `and`, `or`
 * and `not` become intersection, union and complement. Pure.
 */
import { compareBytes, prefixEnd } from "../schema/bytes.ts";

/** From `low`, inclusive, to `high`, exclusive; undefined: to the end. */
export interface Interval {
  low: Uint8Array;
  high: Uint8Array | undefined;
  /** True when it contains the entries of one value only. */
  point: boolean;
}

export type Intervals = readonly Interval[];

const bottom = new Uint8Array();
export const everything: Intervals = [{ low: bottom, high: undefined, point: false }];

export const isEverything = (set: Intervals): boolean =>
  set.length === 1 && set[0]!.low.length === 0 && set[0]!.high === undefined;

/** All byte strings with this prefix. */
export const underPrefix = (prefix: Uint8Array, point: boolean): Interval => ({
  low: prefix,
  high: prefixEnd(prefix),
  point,
});

/** Orders by end; an interval without one sorts last. */
function compareHigh(a: Uint8Array | undefined, b: Uint8Array | undefined): number {
  if (a === undefined || b === undefined) return a === b ? 0 : a === undefined ? 1 : -1;
  return compareBytes(a, b);
}

const isEmpty = ({ low, high }: Interval) => high !== undefined && compareBytes(low, high) >= 0;

export function intersect(a: Intervals, b: Intervals): Interval[] {
  const out: Interval[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    const x = a[i]!;
    const y = b[j]!;
    const low = compareBytes(x.low, y.low) >= 0 ? x.low : y.low;
    const xEndsFirst = compareHigh(x.high, y.high) <= 0;
    const both: Interval = { low, high: xEndsFirst ? x.high : y.high, point: x.point || y.point };
    if (!isEmpty(both)) out.push(both);
    if (xEndsFirst) i++;
    else j++;
  }
  return out;
}

export function union(sets: readonly Intervals[]): Interval[] {
  const sorted = sets.flat().filter((interval) => !isEmpty(interval)).sort((a, b) => compareBytes(a.low, b.low));
  const out: Interval[] = [];
  for (const next of sorted) {
    const last = out.at(-1);
    // Adjacent intervals stay separate, so that a list of single values keeps its points.
    const overlaps = last !== undefined && (last.high === undefined || compareBytes(next.low, last.high) < 0);
    if (!overlaps) {
      out.push(next);
    } else if (compareHigh(next.high, last.high) > 0) {
      out[out.length - 1] = { low: last.low, high: next.high, point: false };
    }
  }
  return out;
}

export function invert(set: Intervals): Interval[] {
  const out: Interval[] = [];
  let low: Uint8Array = bottom;
  for (const interval of set) {
    const gap: Interval = { low, high: interval.low, point: false };
    if (!isEmpty(gap)) out.push(gap);
    if (interval.high === undefined) return out;
    low = interval.high;
  }
  out.push({ low, high: undefined, point: false });
  return out;
}
