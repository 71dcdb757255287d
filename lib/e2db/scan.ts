/**
 * Walks a plan's intervals in etcd, page by page, at one revision, in either direction.
 *
 * Round trips: forward, one a page. Backward, two a page: the mirror tells where the page begins, then the page is read.
 * Rows over 2 KiB add one for each 128 of them or 4 MiB. The first page is as long as the caller wants rows (128 when it
 * wants all), later ones grow to 2 MiB or 5,000 rows.
 */
import { complement, concat, prefixEnd } from "./bytes.ts";
import { decodeRow, type Pointer, type StoredRow } from "./codec.ts";
import { CorruptError } from "./errors.ts";
import type { Interval, Intervals } from "./interval.ts";
import type { KeyValue, RangeRequest, RangeResponse } from "./kv.ts";
import { endOf, forwardKey, type Space } from "./layout.ts";
import type { Scan } from "./query_plan.ts";
import type { Reader } from "./reader.ts";
import type { TableState } from "./table_state.ts";

export interface ScanOptions {
  reverse: boolean;
  /** How many rows the caller expects to need; undefined for all. */
  want?: number | undefined;
}

const firstPageRows = 128;
const pageRowsMax = 5_000;
const pageBytes = 2 * 1024 * 1024;
/** Intervals of one page read together; each may answer with a whole page. */
const intervalsAtOnce = 64;
const pointersAtOnce = 128;
const pointerBytesMax = 4 * 1024 * 1024;

/** Pages of rows in the order of the scan. */
export async function* scanRows(
  reader: Reader,
  state: TableState,
  scan: Scan,
  { reverse, want }: ScanOptions,
): AsyncGenerator<StoredRow[]> {
  const space = spaceOf(state, scan);
  const readPage = reverse ? backwardPage : forwardPage;
  let intervals: Intervals = reverse ? scan.intervals.toReversed() : scan.intervals;
  let rows = Math.min(Math.max(want ?? firstPageRows, 1), pageRowsMax);
  while (intervals.length > 0) {
    const page = await readPage(reader, state, space, intervals, rows);
    intervals = page.rest;
    if (page.kvs.length === 0) continue;
    yield await resolveRows(reader, state, page.kvs);
    const bytes = page.kvs.reduce((sum, kv) => sum + kv.key.length + kv.value.length, 0);
    rows = Math.min(Math.max(Math.floor(pageBytes / (bytes / page.kvs.length)), 16), pageRowsMax);
  }
}

/** How many entries a scan holds; one round trip for each 128 intervals. */
export async function countEntries(reader: Reader, state: TableState, scan: Scan): Promise<number> {
  const space = spaceOf(state, scan);
  let count = 0;
  for (let at = 0; at < scan.intervals.length; at += 128) {
    const requests = scan.intervals.slice(at, at + 128).map((interval) => ({
      ...forwardRange(space, interval),
      countOnly: true,
    }));
    for (const response of await reader.read(state, requests)) count += response.count;
  }
  return count;
}

export function spaceOf(state: TableState, { kind, field }: Pick<Scan, "kind" | "field">): Space {
  return kind === "row" ? state.layout.rows(field) : state.layout.index(field, kind);
}

const forwardRange = (space: Space, { low, high }: Interval): RangeRequest & { end: Uint8Array } => ({
  key: concat(space.forward, low),
  end: high === undefined ? endOf(space.forward) : concat(space.forward, high),
});

/**
 * The mirrored interval. Entries are prefix-free and bounds are never inside one, so what starts with the complement of
 * `low` belongs to it and what starts with the complement of `high` does not.
 */
function mirrorRange(space: Space, { low, high }: Interval): RangeRequest & { end: Uint8Array } {
  const first = high === undefined ? undefined : prefixEnd(complement(high));
  const last = low.length === 0 ? undefined : prefixEnd(complement(low));
  // Nothing is above a bound of all zero bits, so nothing is below its complement: the range is empty.
  if (high !== undefined && first === undefined) return { key: endOf(space.mirror), end: endOf(space.mirror) };
  return {
    key: first === undefined ? space.mirror : concat(space.mirror, first),
    end: last === undefined ? endOf(space.mirror) : concat(space.mirror, last),
  };
}

interface Page {
  kvs: KeyValue[];
  rest: Intervals;
}

type ReadPage = (reader: Reader, state: TableState, space: Space, intervals: Intervals, rows: number) => Promise<Page>;

const forwardPage: ReadPage = async (reader, state, space, intervals, rows) => {
  const batch = intervals.slice(0, intervalsAtOnce);
  const requests = batch.map((interval) => ({ ...forwardRange(space, interval), limit: rows }));
  const responses = await reader.read(state, requests);
  const kvs: KeyValue[] = [];
  for (const [index, response] of responses.entries()) {
    kvs.push(...response.kvs);
    const last = response.kvs.at(-1);
    if (!response.more || last === undefined) continue;
    // Later intervals wait until this one is read to its end, so that the order holds.
    const low = prefixEnd(last.key.subarray(space.forward.length))!;
    return { kvs, rest: [{ ...batch[index]!, low }, ...intervals.slice(index + 1)] };
  }
  return { kvs, rest: intervals.slice(batch.length) };
};

const backwardPage: ReadPage = async (reader, state, space, intervals, rows) => {
  const batch = intervals.slice(0, intervalsAtOnce);
  const mirrored = batch.map((interval) => ({ ...mirrorRange(space, interval), limit: rows, keysOnly: true }));
  const ends = await reader.read(state, mirrored, "auxiliary");
  const tails: Interval[] = [];
  let rest: Intervals = intervals.slice(batch.length);
  let expected = 0;
  for (const [index, response] of ends.entries()) {
    const interval = batch[index]!;
    const begin = response.more ? firstOf(space, response) : interval.low;
    tails.push({ ...interval, low: begin });
    expected += response.kvs.length;
    if (response.more) {
      rest = [{ ...interval, high: begin }, ...intervals.slice(index + 1)];
      break;
    }
    if (expected >= rows) {
      rest = intervals.slice(index + 1);
      break;
    }
  }
  const responses = await reader.read(state, tails.map((interval) => forwardRange(space, interval)));
  return { kvs: responses.flatMap((response) => response.kvs.toReversed()), rest };
};

/** Where the page that a mirror's answer describes begins: its last key, turned back. */
const firstOf = (space: Space, response: RangeResponse): Uint8Array =>
  complement(response.kvs.at(-1)!.key.subarray(space.mirror.length));

/** The rows of entries, reading those that are too large to be copied into them. */
async function resolveRows(reader: Reader, state: TableState, kvs: readonly KeyValue[]): Promise<StoredRow[]> {
  const rows: (StoredRow | undefined)[] = [];
  const pointers: { at: number; pointer: Pointer }[] = [];
  for (const kv of kvs) {
    const decoded = decodeRow(kv.value);
    if (decoded === undefined) throw corrupt(state);
    if (decoded.kind === "pointer") pointers.push({ at: rows.length, pointer: decoded.pointer });
    rows.push(decoded.kind === "row" ? decoded.row : undefined);
  }
  const space = state.layout.rows(state.meta.id);
  for (const group of groupPointers(pointers)) {
    const requests = group.map(({ pointer }) => ({ key: forwardKey({ space, suffix: pointer.id }) }));
    const responses = await reader.read(state, requests);
    for (const [index, { at }] of group.entries()) {
      const kv = responses[index]!.kvs[0];
      const decoded = kv && decodeRow(kv.value);
      if (decoded?.kind !== "row") throw corrupt(state);
      rows[at] = decoded.row;
    }
  }
  return rows as StoredRow[];
}

function groupPointers<T extends { pointer: Pointer }>(pointers: readonly T[]): T[][] {
  const groups: T[][] = [];
  let bytes = Infinity;
  for (const one of pointers) {
    const size = one.pointer.size;
    if (bytes + size > pointerBytesMax || groups.at(-1)!.length === pointersAtOnce) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1)!.push(one);
    bytes += size;
  }
  return groups;
}

const corrupt = (state: TableState) =>
  new CorruptError(`Cannot read table "${state.name}": an index entry is not as e2db writes it`, {
    table: state.name,
    hint: "run db.check()",
  });
