/** Builds and clears indexes of tables in use, in bounded batches. */
import { compareBytes } from "./schema/bytes.ts";
import { decodeRow, encodeRow, type StoredRow } from "./schema/codec.ts";
import { CorruptError, DuplicateError } from "./errors.ts";
import type { Compare, KeyValue, Operation } from "./kv/kv.ts";
import { endOf, type Entry, forwardKey, sampleKeys, type Space, storedValue } from "./schema/layout.ts";
import { encodeOrdered, type Orderable } from "./schema/order.ts";
import { SchemaChanged, schemaUnchanged } from "./kv/reader.ts";
import { checkKeyValue, idOf } from "./schema/row.ts";
import type { Store } from "./kv/store.ts";
import type { TableState } from "./table_state.ts";

/** A row needs a put and a compare, one more compare for a unique value, and two more puts if it is a sample. */
const batchRows = 60;
/** etcd counts the rest of the table for each page, so pages are longer than batches. */
const pageRows = 960;
const clearRows = 1_000;

/** Throws DuplicateError when two rows share a value of a unique field, SchemaChanged when the schema changed. */
export async function buildIndex(state: TableState, field: string): Promise<void> {
  for await (const batch of rowBatches(state)) {
    let rows = batch;
    while (rows.length > 0 && !await putEntries(state, field, rows)) rows = await rereadRows(state, rows);
  }
}

/** The id of a row without a value in the field; undefined when all have one. */
export async function findEmpty(state: TableState, field: string): Promise<Orderable | undefined> {
  for await (const batch of rowBatches(state)) {
    for (const { row, id } of batch) if (storedValue(state.meta, field, row.values) === null) return id;
  }
  return undefined;
}

/** The revision of the schema under which keys may be removed. */
export interface UnderSchema {
  key: Uint8Array;
  revision: number;
}

/** Removes every entry of an index that no writer maintains; false when the schema changed meanwhile. */
export async function clearSpace(store: Store, space: Space, under: UnderSchema): Promise<boolean> {
  for (const prefix of [space.forward, space.samples, space.samplesBack]) {
    if (!await clearPrefix(store, prefix, under)) return false;
  }
  return true;
}

/**
 * Removes all keys with a prefix, a thousand at a time, so that etcd serves others in between. False when the schema
 * changed meanwhile: the keys may now belong to a new table or index, and must not be removed.
 */
export async function clearPrefix(store: Store, prefix: Uint8Array, under: UnderSchema): Promise<boolean> {
  const end = endOf(prefix);
  while (true) {
    const { kvs, more } = await store.range({ key: prefix, end, limit: clearRows, keysOnly: true });
    const last = kvs.at(-1);
    if (last === undefined) return true;
    const response = await store.commit(
      {
        compares: [{ ...under, target: "mod", result: "equal" }],
        success: [{ kind: "delete", key: prefix, end: more ? endOf(last.key) : end }],
        failure: [],
      },
      undefined,
      {},
    );
    if (!response.succeeded) return false;
  }
}

interface SourceRow {
  kv: KeyValue;
  row: StoredRow;
  id: Orderable;
}

/** All rows, each batch at its own revision. Writers maintain the entries of later rows themselves. */
async function* rowBatches(state: TableState): AsyncGenerator<SourceRow[]> {
  const { forward } = state.layout.rows(state.meta.id);
  for (let key: Uint8Array = forward;;) {
    const { kvs, more } = await state.store.range({ key, end: endOf(forward), limit: pageRows });
    for (let at = 0; at < kvs.length; at += batchRows) {
      yield kvs.slice(at, at + batchRows).map((kv) => sourceRow(state, kv));
    }
    if (!more) return;
    key = endOf(kvs.at(-1)!.key);
  }
}

async function rereadRows(state: TableState, rows: readonly SourceRow[]): Promise<SourceRow[]> {
  const response = await state.store.read({
    compares: [schemaUnchanged(state)],
    success: rows.map(({ kv: { key } }) => ({ kind: "range", request: { key } })),
    failure: [],
  });
  if (!response.succeeded) throw new SchemaChanged(state);
  return response.ranges.flatMap((range) => range!.kvs.map((kv) => sourceRow(state, kv)));
}

function sourceRow(state: TableState, kv: KeyValue): SourceRow {
  const decoded = decodeRow(kv.value);
  if (decoded?.kind !== "row") {
    throw new CorruptError(`Cannot read a row of table "${state.name}": not written by e2db`, { table: state.name });
  }
  return { kv, row: decoded.row, id: idOf(state.declared, state.meta.id, decoded.row.values) };
}

/** False when a row changed meanwhile: the batch must be read again. */
async function putEntries(state: TableState, field: string, rows: readonly SourceRow[]): Promise<boolean> {
  const compares: Compare[] = [schemaUnchanged(state)];
  const success: Operation[] = [];
  const entries = rows.map((row) => ({ ...row, entry: entryOf(state, field, row) }));
  const owners = await ownersOf(state, entries.map(({ entry }) => entry));
  const taken = new Map<string, Orderable>();
  for (const [index, { kv, row, id, entry }] of entries.entries()) {
    const idBytes = encodeOrdered(id);
    compares.push({ key: kv.key, target: "mod", result: "equal", revision: kv.modRevision });
    if (entry.exclusive) {
      const name = entry.suffix.join();
      const owner = owners[index];
      if (taken.has(name) || (owner !== undefined && compareBytes(owner, idBytes) !== 0)) {
        throw duplicate(state, field, id);
      }
      taken.set(name, id);
      // The entry of this row was written with the row, whose compare protects it.
      if (owner !== undefined) continue;
    }
    const key = forwardKey(entry);
    success.push({ kind: "put", key, value: encodeRow(row.values, row.writeId, idBytes).entry });
    for (const sample of sampleKeys(entry)) success.push({ kind: "put", key: sample, value: new Uint8Array() });
  }
  for (const [index, { entry }] of entries.entries()) {
    if (!entry.exclusive || owners[index] !== undefined) continue;
    compares.push({ key: forwardKey(entry), target: "mod", result: "equal", revision: 0 });
  }
  const readSchema: Operation = { kind: "range", request: { key: state.layout.meta, keysOnly: true } };
  const response = await state.store.commit({ compares, success, failure: [readSchema] }, undefined, {
    table: state.name,
  });
  if (response.succeeded) return true;
  if (response.ranges[0]?.kvs[0]?.modRevision !== state.metaRevision) throw new SchemaChanged(state);
  return false;
}

function entryOf(state: TableState, field: string, { row, id }: SourceRow): Entry {
  const { layout, meta, name } = state;
  checkKeyValue(name, field, storedValue(meta, field, row.values));
  return layout.entries(meta, id, row.values).find(({ space }) => space.field === field && space.kind !== "row")!;
}

/** The encoded ids of the rows that have these unique values already. */
async function ownersOf(state: TableState, entries: readonly Entry[]): Promise<(Uint8Array | undefined)[]> {
  if (!entries.some(({ exclusive }) => exclusive)) return [];
  const response = await state.store.read({
    compares: [],
    success: entries.map((entry) => ({ kind: "range", request: { key: forwardKey(entry) } })),
    failure: [],
  });
  return response.ranges.map((range, index) => {
    const [kv] = range!.kvs;
    if (kv === undefined || !entries[index]!.exclusive) return undefined;
    const decoded = decodeRow(kv.value);
    if (decoded?.kind === "pointer") return decoded.pointer.id;
    return decoded && encodeOrdered(idOf(state.declared, state.meta.id, decoded.row.values));
  });
}

const duplicate = (state: TableState, field: string, id: Orderable) =>
  new DuplicateError(
    `Cannot make field "${field}" of table "${state.name}" unique: row "${String(id)}" has a value of another row`,
    { table: state.name, field, hint: "change one of the rows, then open the table again" },
  );
