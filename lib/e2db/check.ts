/** Compares every index entry of a table with all its rows, at one revision. */
import { binaryString, compareBytes } from "./schema/bytes.ts";
import { decodeRow, encodeRow, type StoredRow } from "./schema/codec.ts";
import type { KeyValue } from "./kv/kv.ts";
import { endOf, forwardKey, type Layout, sampleKeys, type Space } from "./schema/layout.ts";
import { decodeOrdered, encodeOrdered, isOrderable } from "./schema/order.ts";
import type { TableMeta } from "./schema/schema.ts";
import type { Store } from "./kv/store.ts";
import { readMeta, unknownTable } from "./table_state.ts";

export interface CheckProblem {
  table: string;
  /** The index's field, or the id for the rows themselves. */
  field: string;
  kind:
    /** A row that cannot be read, or is stored under another id than its own. */
    | "unreadable"
    /** A row without its entry: queries by this field do not find it. */
    | "missing"
    /** An entry without a row: queries by this field find a row that does not exist. */
    | "orphan"
    /** An entry with an older state of its row. */
    | "stale";
  /** The id of the row, if it is known. */
  id: unknown;
}

export interface CheckReport {
  rows: number;
  /** Index entries compared, samples included. */
  entries: number;
  /** At most 1,000. */
  problems: CheckProblem[];
}

const pageRows = 1_000;
const problemsMax = 1_000;

/** The expected content of a key. */
interface Expected {
  value: Uint8Array;
  id: unknown;
}

export async function checkTable(store: Store, layout: Layout, report: CheckReport): Promise<void> {
  const stored = await readMeta(store, layout);
  if (stored === undefined) throw unknownTable(layout.table);
  const { meta } = stored;
  // The rows of a table that is being dropped do not count.
  if (meta.state === "dropping") return;
  const spaces = Object.entries(meta.fields)
    .filter(([, shape]) => shape.index !== "none" && shape.state === "ready")
    .map(([name, shape]) => layout.index(name, shape.index as "index" | "unique"));
  const rows = layout.rows(meta.id);
  const expected = new Map<Space, Map<string, Expected>>([rows, ...spaces].map((space) => [space, new Map()]));
  const problem = (field: string, kind: CheckProblem["kind"], id: unknown) => {
    if (report.problems.length < problemsMax) report.problems.push({ table: layout.table, field, kind, id });
  };
  const snapshot = (await store.range({ key: layout.meta, keysOnly: true })).revision;
  for await (const kv of keysUnder(store, rows.forward, snapshot)) {
    report.rows++;
    const row = readRow(meta, rows, kv);
    if (row === undefined) problem(meta.id, "unreadable", decodeOrdered(kv.key, rows.forward.length)?.value);
    else expectEntries(layout, meta, row, expected);
  }
  for (const [space, entries] of expected) {
    const samples = [space.samples, space.samplesBack];
    const prefixes = space.kind === "row" ? samples : [space.forward, ...samples];
    for (const prefix of prefixes) {
      for await (const kv of keysUnder(store, prefix, snapshot)) {
        report.entries++;
        const name = binaryString(kv.key);
        const wanted = entries.get(name);
        if (wanted === undefined) problem(space.field, "orphan", undefined);
        else if (compareBytes(wanted.value, kv.value) !== 0) problem(space.field, "stale", wanted.id);
        entries.delete(name);
      }
    }
    for (const { id } of entries.values()) problem(space.field, "missing", id);
  }
}

/** Undefined for an invalid row, or one that is not stored under its own id. */
function readRow(meta: TableMeta, rows: Space, kv: KeyValue): { row: StoredRow; id: unknown } | undefined {
  const decoded = decodeRow(kv.value);
  if (decoded?.kind !== "row") return undefined;
  const id = decoded.row.values[meta.id];
  if (!isOrderable(id) || compareBytes(encodeOrdered(id), kv.key.subarray(rows.forward.length)) !== 0) return undefined;
  return { row: decoded.row, id };
}

function expectEntries(
  layout: Layout,
  meta: TableMeta,
  { row, id }: { row: StoredRow; id: unknown },
  expected: ReadonlyMap<Space, Map<string, Expected>>,
): void {
  if (!isOrderable(id)) return;
  const { entry: value } = encodeRow(row.values, row.writeId, encodeOrdered(id));
  for (const entry of layout.entries(meta, id, row.values)) {
    const entries = expected.get(entry.space);
    if (entries === undefined) continue;
    if (entry.space.kind !== "row") entries.set(binaryString(forwardKey(entry)), { value, id });
    for (const key of sampleKeys(entry)) entries.set(binaryString(key), { value: new Uint8Array(), id });
  }
}

async function* keysUnder(store: Store, prefix: Uint8Array, revision: number): AsyncGenerator<KeyValue> {
  for (let key = prefix;;) {
    const { kvs, more } = await store.range({ key, end: endOf(prefix), limit: pageRows, revision });
    yield* kvs;
    if (!more) return;
    key = endOf(kvs.at(-1)!.key);
  }
}
