/**
 * Walks a plan's intervals in etcd, page by page, at one revision, in either direction.
 *
 * Round trips: forward, one a page, and one more before it where the range is known to hold over 4,000 entries: the
 * samples tell where the page ends, so that etcd need not count them all. Backward, two a page: the samples tell where
 * it begins. Rows over 2 KiB add one for each 128 of them or 4 MiB. The first page is as long as the caller wants rows
 * (128 when it wants all), later ones grow to 2 MiB or 5,000 rows.
 */
import { complement, concat, prefixEnd } from "./bytes.ts";
import { decodeRow, type Pointer, type StoredRow } from "./codec.ts";
import { CorruptError } from "./errors.ts";
import type { Interval, Intervals } from "./interval.ts";
import type { KeyValue, RangeRequest } from "./kv.ts";
import { endOf, forwardKey, sampleSpacing, type Space } from "./layout.ts";
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
/** From so many entries in a range on, etcd's counting is worth a round trip to avoid it. */
const largeCount = 4_000;
/** Pages longer than this are not bounded: reading the samples would cost more than counting. */
const boundedRowsMax = 1_000;
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

/** How many entries a scan holds; one round trip for each 128 intervals. etcd counts key by key. */
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

export function spaceOf(state: TableState, { kind, field }: Pick<Scan, "kind" | "field">): Space {
  return kind === "row" ? state.layout.rows(field) : state.layout.index(field, kind);
}

const forwardRange = (space: Space, { low, high }: Interval): RangeRequest & { end: Uint8Array } => ({
  key: concat(space.forward, low),
  end: high === undefined ? endOf(space.forward) : concat(space.forward, high),
});

/**
 * The interval among the samples turned round. Entries are prefix-free and bounds are never inside one, so what starts
 * with the complement of `low` belongs to it and what starts with the complement of `high` does not.
 */
function backwardSamples(space: Space, { low, high }: Interval): RangeRequest & { end: Uint8Array } {
  const prefix = space.samplesBack;
  const first = high === undefined ? undefined : prefixEnd(complement(high));
  const last = low.length === 0 ? undefined : prefixEnd(complement(low));
  // Nothing is above a bound of all zero bits, so nothing is below its complement: the range is empty.
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
    // Later intervals wait until this one is read to its end, so that the order holds.
    if (last === undefined && low === batch[index]!.high) continue;
    return { kvs, rest: [{ ...batch[index]!, low: low! }, ...intervals.slice(index + 1)] };
  }
  return { kvs, rest: intervals.slice(batch.length) };
};

/**
 * How many samples stand for at least `rows` entries: samples fall at random, so that their number in a stretch varies
 * by the root of its mean. With two deviations of margin one page in fifty is short and takes another, with five none.
 */
function samplesFor(rows: number, deviations: number): number {
  const mean = rows / sampleSpacing;
  return Math.ceil(mean + deviations * Math.sqrt(mean)) + 1;
}

/** The intervals cut where they hold somewhat more than `rows` entries. */
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
  // What is read too much backward is carried over the wire, so the margin is smaller than forward.
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
