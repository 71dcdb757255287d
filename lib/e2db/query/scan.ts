/**
 * Reads a plan's intervals from etcd, page by page, at one revision, in either direction.
 *
 * Round trips: forward, one per page, and one more if the range is known to have more than 4,000 entries, to find the end
 * of the page by samples, so that etcd does not count all entries. Backward, two per page: samples give its beginning.
 * Rows over 2 KiB add one for each 128 of them or 4 MiB. The first page has as many rows as the caller wants (128 for
 * all); later pages grow to 2 MiB or 5,000 rows.
 */
import { complement, concat, prefixEnd } from "../schema/bytes.ts";
import { decodeRow, type Pointer, type StoredRow } from "../schema/codec.ts";
import { CorruptError } from "../errors.ts";
import type { Interval, Intervals } from "./interval.ts";
import type { KeyValue, RangeRequest } from "../kv/kv.ts";
import { endOf, forwardKey, sampleSpacing, type Space } from "../schema/layout.ts";
import type { Scan } from "./plan.ts";
import type { Reader } from "../kv/reader.ts";
import type { TableState } from "../table_state.ts";

export interface ScanOptions {
  reverse: boolean;
  /** The number of rows that the caller expects to need; undefined: all. */
  want?: number | undefined;
}

const firstPageRows = 128;
const pageRowsMax = 5_000;
const pageBytes = 2 * 1024 * 1024;
/** With more entries in a range, a round trip costs less than etcd's counting. */
const largeCount = 4_000;
/** Longer pages are not bounded by samples: reading those would cost more than counting. */
const boundedRowsMax = 1_000;
/** Intervals that are read together; each may return a whole page. */
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

/** The number of entries of a scan, in one round trip for each 128 intervals. etcd counts key by key. */
export async function countEntries(reader: Reader, state: TableState, scan: Scan): Promise<number> {
  const space = spaceOf(state, scan);
  let count = 0;
  for (let at = 0; at < scan.intervals.length; at += 128) {
    const requests = scan.intervals.slice(at, at + 128).map((interval) => ({
      ...forwardRange(space, interval),
      countOnly: true,
    }));
    for (const response of await reader.read(state, requests)) {
      count += response.count;
      if (response.count > largeCount) state.large.add(space);
    }
  }
  return count;
}

function spaceOf(state: TableState, { kind, field }: Pick<Scan, "kind" | "field">): Space {
  return kind === "row" ? state.layout.rows(field) : state.layout.index(field, kind);
}

const forwardRange = (space: Space, { low, high }: Interval): RangeRequest & { end: Uint8Array } => ({
  key: concat(space.forward, low),
  end: high === undefined ? endOf(space.forward) : concat(space.forward, high),
});

/**
 * The interval among the reversed samples. Entries are prefix-free and no bound lies inside an entry, so keys with the
 * complement of `low` as prefix belong to the interval and keys with the complement of `high` do not.
 */
function backwardSamples(space: Space, { low, high }: Interval): RangeRequest & { end: Uint8Array } {
  const prefix = space.samplesBack;
  const first = high === undefined ? undefined : prefixEnd(complement(high));
  const last = low.length === 0 ? undefined : prefixEnd(complement(low));
  // No key is below a bound of all zero bits: the range is empty.
  if (high !== undefined && first === undefined) return { key: endOf(prefix), end: endOf(prefix) };
  return {
    key: first === undefined ? prefix : concat(prefix, first),
    end: last === undefined ? endOf(prefix) : concat(prefix, last),
  };
}

interface Page {
  kvs: KeyValue[];
  rest: Intervals;
}

type ReadPage = (reader: Reader, state: TableState, space: Space, intervals: Intervals, rows: number) => Promise<Page>;

const forwardPage: ReadPage = async (reader, state, space, intervals, rows) => {
  const batch = intervals.slice(0, intervalsAtOnce);
  const bounded = state.large.has(space) && rows <= boundedRowsMax
    ? await boundForward(reader, state, space, batch, rows)
    : batch;
  const responses = await reader.read(
    state,
    bounded.map((interval) => ({ ...forwardRange(space, interval), limit: rows })),
  );
  const kvs: KeyValue[] = [];
  for (const [index, response] of responses.entries()) {
    kvs.push(...response.kvs);
    if (response.count > largeCount) state.large.add(space);
    const last = response.more ? response.kvs.at(-1) : undefined;
    const low = last === undefined ? bounded[index]!.high : prefixEnd(last.key.subarray(space.forward.length));
    // To keep the order, later intervals are read after the end of this one.
    if (last === undefined && low === batch[index]!.high) continue;
    return { kvs, rest: [{ ...batch[index]!, low: low! }, ...intervals.slice(index + 1)] };
  }
  return { kvs, rest: intervals.slice(batch.length) };
};

/**
 * The number of samples that represent at least `rows` entries. Samples are random, so the standard deviation of their
 * number is the root of its mean. With a margin of two deviations one page in fifty is too short, with five none.
 */
function samplesFor(rows: number, deviations: number): number {
  const mean = rows / sampleSpacing;
  return Math.ceil(mean + deviations * Math.sqrt(mean)) + 1;
}

/** The intervals, cut after slightly more than `rows` entries each. */
async function boundForward(
  reader: Reader,
  state: TableState,
  space: Space,
  intervals: Intervals,
  rows: number,
): Promise<Intervals> {
  const limit = samplesFor(rows, 5) + 4;
  const requests = intervals.map(({ low, high }) => ({
    key: concat(space.samples, low),
    end: high === undefined ? endOf(space.samples) : concat(space.samples, high),
    limit,
    keysOnly: true,
  }));
  const responses = await reader.read(state, requests, "auxiliary");
  return intervals.map((interval, index) => {
    const last = responses[index]!.kvs[limit - 1];
    return last === undefined ? interval : { ...interval, high: last.key.subarray(space.samples.length) };
  });
}

const backwardPage: ReadPage = async (reader, state, space, intervals, rows) => {
  const batch = intervals.slice(0, intervalsAtOnce);
  // Backward, surplus entries are transferred, so the margin is smaller than forward.
  const limit = samplesFor(rows, 2);
  const ends = await reader.read(
    state,
    batch.map((interval) => ({ ...backwardSamples(space, interval), limit, keysOnly: true })),
    "auxiliary",
  );
  const tails: Interval[] = [];
  let rest: Intervals = intervals.slice(batch.length);
  let expected = 0;
  for (const [index, response] of ends.entries()) {
    const interval = batch[index]!;
    const last = response.kvs[limit - 1];
    if (last !== undefined) {
      const begin = complement(last.key.subarray(space.samplesBack.length));
      tails.push({ ...interval, low: begin });
      rest = [{ ...interval, high: begin }, ...intervals.slice(index + 1)];
      break;
    }
    tails.push(interval);
    expected += response.kvs.length * sampleSpacing;
    if (expected >= rows) {
      rest = intervals.slice(index + 1);
      break;
    }
  }
  const responses = await reader.read(state, tails.map((interval) => forwardRange(space, interval)));
  return { kvs: responses.flatMap((response) => response.kvs.toReversed()), rest };
};

/** The rows of entries. Rows that are too large to be copied into their entries are read separately. */
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
  new CorruptError(`Cannot read table "${state.name}": an index entry was not written by e2db`, {
    table: state.name,
    hint: "run db.check()",
  });
