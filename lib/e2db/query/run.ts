/** Runs a planned query on a reader: filter, order, skip and limit, including the transaction's own changes. */
import {
  binaryString,
  compareBytes,
  concat,
  fromBase64Url,
  fromUtf8,
  prefixEnd,
  toBase64Url,
  utf8,
} from "../schema/bytes.ts";
import type { StoredRow } from "../schema/codec.ts";
import { type Condition, matches } from "./condition.ts";
import { BadCursorError } from "../errors.ts";
import { intersect, type Interval } from "./interval.ts";
import { storedValue } from "../schema/layout.ts";
import { encodeOrdered, isOrderable, type Orderable } from "../schema/order.ts";
import { type Plan, planQuery, type Scan } from "./plan.ts";
import type { Reader } from "../kv/reader.ts";
import { idOf } from "../schema/row.ts";
import { countEntries, scanRows } from "./scan.ts";
import type { TableState } from "../table_state.ts";

export interface QuerySpec {
  condition: Condition;
  orderBy: string | undefined;
  reverse: boolean;
  skip: number;
  limit: number | undefined;
  /** A cursor of an earlier page. */
  after: string | undefined;
  scanAllowed: boolean;
}

export function planOf(state: TableState, spec: QuerySpec): Plan {
  const { condition, orderBy, scanAllowed } = spec;
  return planQuery({ table: state.name, meta: state.meta, condition, orderBy, scanAllowed });
}

/** Rows in the query's order, from `skip` on, up to `limit`. */
export async function* runQuery(reader: Reader, state: TableState, spec: QuerySpec): AsyncGenerator<StoredRow> {
  const plan = planOf(state, spec);
  const end = spec.limit === undefined ? Infinity : spec.skip + spec.limit;
  if (end === spec.skip) return;
  let at = 0;
  for await (const row of orderedRows(reader, state, spec, plan, end)) {
    if (at >= spec.skip) yield row;
    if (++at >= end) return;
  }
}

/** The number of rows that meet the condition, ignoring skip and limit. */
export async function countRows(reader: Reader, state: TableState, spec: QuerySpec): Promise<number> {
  const whole: QuerySpec = { ...spec, orderBy: undefined, skip: 0, limit: undefined, after: undefined };
  const plan = planOf(state, whole);
  if (plan.kind === "scan" && plan.exact && reader.changed(state) === undefined) {
    return countEntries(reader, state, plan.scan);
  }
  let count = 0;
  for await (const _ of orderedRows(reader, state, whole, plan, Infinity)) count++;
  return count;
}

/** All rows that meet the condition, in order; at least the first `want` of them. */
async function* orderedRows(
  reader: Reader,
  state: TableState,
  spec: QuerySpec,
  plan: Plan,
  want: number,
): AsyncGenerator<StoredRow> {
  const changed = reader.changed(state);
  const { meta } = state;
  const accepts = (row: StoredRow) => matches(spec.condition, (field) => storedValue(meta, field, row.values));
  const after = spec.after === undefined ? undefined : parseCursor(state, spec, spec.after);
  if (plan.kind === "scan" && plan.ordered && changed === undefined) {
    const scan = after === undefined ? plan.scan : { ...plan.scan, intervals: beyond(plan.scan, after, spec.reverse) };
    // A filter drops an unknown number of rows, so at least one page is read.
    const expected = want === Infinity ? undefined : plan.exact ? want : Math.max(want, 128);
    for await (const page of scanRows(reader, state, scan, { reverse: spec.reverse, want: expected })) {
      for (const row of page) if (plan.exact || accepts(row)) yield row;
    }
    return;
  }
  const rows = await collect(reader, state, spec, plan, changed, want);
  const field = orderField(state, spec, plan);
  const keyed = rows.filter(accepts).map((row) => ({ row, key: orderKey(state, field, row) }));
  keyed.sort((a, b) => compareBytes(a.key, b.key));
  if (spec.reverse) keyed.reverse();
  const last = after && concat(after.value, after.id);
  for (const { row, key } of keyed) {
    const order = last === undefined ? 1 : compareBytes(key, last) * (spec.reverse ? -1 : 1);
    if (order > 0) yield row;
  }
}

/** The rows to filter and sort in memory: those in etcd, replaced by this transaction's own changes. */
async function collect(
  reader: Reader,
  state: TableState,
  spec: QuerySpec,
  plan: Plan,
  changed: ReadonlyMap<string, StoredRow | undefined> | undefined,
  want: number,
): Promise<StoredRow[]> {
  const rows = new Map<string, StoredRow>();
  const scans = plan.kind === "scan" ? [plan.scan] : plan.scans;
  // An ordered, exact scan may stop early: at as many rows as wanted, plus those that changes may remove.
  const early = plan.kind === "scan" && plan.ordered && plan.exact && spec.after === undefined;
  const enough = early ? want + (changed?.size ?? 0) : Infinity;
  const options = { reverse: spec.reverse, want: enough === Infinity ? undefined : enough };
  for (const scan of scans) {
    for await (const page of scanRows(reader, state, scan, options)) {
      for (const row of page) rows.set(idName(state, row), row);
      if (rows.size >= enough) break;
    }
  }
  for (const [name, row] of changed ?? []) {
    if (row === undefined) rows.delete(name);
    else rows.set(name, row);
  }
  return [...rows.values()];
}

const idName = (state: TableState, row: StoredRow) =>
  binaryString(encodeOrdered(idOf(state.declared, state.meta.id, row.values)));

/** The field by which rows are ordered: that of the plan's index, else the requested one, else the id. */
const orderField = (state: TableState, spec: QuerySpec, plan: Plan): string =>
  plan.kind === "scan" && plan.ordered ? plan.scan.field : spec.orderBy ?? state.meta.id;

/** A value that cannot be ordered (JSON, encrypted) counts as null. */
const orderedValue = (state: TableState, field: string, row: StoredRow): Orderable => {
  const value = storedValue(state.meta, field, row.values);
  return isOrderable(value) ? value : null;
};

function orderKey(state: TableState, field: string, row: StoredRow): Uint8Array {
  const id = encodeOrdered(idOf(state.declared, state.meta.id, row.values));
  return field === state.meta.id ? concat(id, id) : concat(encodeOrdered(orderedValue(state, field, row)), id);
}

interface Cursor {
  value: Uint8Array;
  id: Uint8Array;
}

/** Where a page ended: table, field and direction of its order, and the last row's value and id. */
export function makeCursor(state: TableState, spec: QuerySpec, row: StoredRow): string {
  const field = orderField(state, spec, planOf(state, spec));
  const id = encodeOrdered(idOf(state.declared, state.meta.id, row.values));
  const value = field === state.meta.id ? id : encodeOrdered(orderedValue(state, field, row));
  return toBase64Url(utf8(JSON.stringify([state.name, field, spec.reverse, toBase64Url(value), toBase64Url(id)])));
}

function parseCursor(state: TableState, spec: QuerySpec, text: string): Cursor {
  const field = orderField(state, spec, planOf(state, spec));
  try {
    const [table, by, reverse, value, id] = JSON.parse(fromUtf8(fromBase64Url(text)));
    if (table === state.name && by === field && reverse === spec.reverse) {
      return { value: fromBase64Url(value), id: fromBase64Url(id) };
    }
  } catch {
    // Reported like a cursor of another query.
  }
  throw new BadCursorError(`Cannot continue a query of table "${state.name}": the cursor is not one of this query`, {
    table: state.name,
    field,
    hint: "repeat the query exactly as it was, with after() set to the cursor of its last page",
  });
}

/** The part of a scan that comes after the cursor. */
function beyond(scan: Scan, { value, id }: Cursor, reverse: boolean): Interval[] {
  // The key of a unique value has no id; that of a null in a unique field has one. Cutting after value and id is correct
  // for both, because no other entry lies between.
  const position = scan.kind === "row" ? id : concat(value, id);
  if (reverse) {
    const high = scan.kind === "unique" && !isNull(value) ? value : position;
    return intersect(scan.intervals, [{ low: new Uint8Array(), high, point: false }]);
  }
  const low = prefixEnd(scan.kind === "unique" && !isNull(value) ? value : position);
  return low === undefined ? [] : intersect(scan.intervals, [{ low, high: undefined, point: false }]);
}

const isNull = (value: Uint8Array) => compareBytes(value, encodeOrdered(null)) === 0;
