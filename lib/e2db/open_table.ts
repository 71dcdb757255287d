/** Opens a table: creates it, or brings its stored schema up to what the program declares, building indexes online. */
import { buildIndex, clearSpace, findEmpty } from "./build_index.ts";
import type { Cipher } from "./cipher.ts";
import { E2dbError, SchemaChangeError } from "./errors.ts";
import { Layout } from "./layout.ts";
import { type Declared, encodeMeta, firstMeta, reconcile, type TableMeta } from "./schema.ts";
import type { Store } from "./store.ts";
import { readMeta, TableState } from "./table_state.ts";
import { finishDrop } from "./drop_table.ts";
import { SchemaMoved } from "./reader.ts";

/**
 * The order of a change: the new schema with its indexes marked "building" is stored first, and since every write
 * compares the schema, from that moment no writer leaves an entry out. Then rows that are already there get theirs in
 * batches, each checked against changes. Then the index is marked "ready" and queries may use it. A program that dies in
 * between leaves "building" behind, and the next one to open the table takes the work up again.
 */
export async function openTable(
  store: Store,
  namespace: string,
  declared: Declared,
  cipher: Cipher,
): Promise<TableState> {
  const layout = new Layout(namespace, declared.table);
  while (true) {
    const stored = await readMeta(store, layout);
    if (stored === undefined) {
      await putMeta(store, layout, firstMeta(declared), 0);
      continue;
    }
    if (stored.meta.state === "dropping") {
      await finishDrop(store, layout);
      continue;
    }
    const change = reconcile(declared, stored.meta);
    const state = new TableState(store, declared, layout, cipher, stored);
    if (change === undefined) return state;
    try {
      if (change.meta !== stored.meta) await begin(state, change);
      await carryOut(state, change, stored.meta);
      return state;
    } catch (error) {
      if (!(error instanceof SchemaMoved)) throw error;
    }
  }
}

/** Stores a schema in place of the one of `revision`; undefined when that is no longer the present one. */
export async function putMeta(
  store: Store,
  layout: Layout,
  meta: TableMeta,
  revision: number,
): Promise<number | undefined> {
  const response = await store.commit(
    {
      compares: [{ key: layout.meta, target: "mod", result: "equal", revision }],
      success: [{ kind: "put", key: layout.meta, value: encodeMeta(meta) }],
      failure: [],
    },
    undefined,
    { table: layout.table },
  );
  return response.succeeded ? response.revision : undefined;
}

/**
 * Makes sure that no entry of an earlier index of the same field is left (nobody writes one as long as this schema
 * holds), then stores the new schema.
 */
async function begin(state: TableState, change: { meta: TableMeta; build: string[] }): Promise<void> {
  const { store, layout } = state;
  const under = { key: layout.meta, revision: state.metaRevision };
  for (const name of change.build) {
    const index = change.meta.fields[name]!.index;
    const before = state.meta.fields[name];
    if (index === "none" || (before?.index === index && before.state === "building")) continue;
    if (!await clearSpace(store, layout.index(name, index), under)) throw new SchemaMoved(state);
  }
  await replaceMeta(state, change.meta);
}

/** Throws SchemaMoved when another program changed the schema first. */
async function replaceMeta(state: TableState, meta: TableMeta): Promise<void> {
  const revision = await putMeta(state.store, state.layout, meta, state.metaRevision);
  if (revision === undefined) throw new SchemaMoved(state);
  state.meta = meta;
  state.metaRevision = revision;
}

async function carryOut(
  state: TableState,
  { build, verify }: { build: string[]; verify: string[] },
  before: TableMeta,
): Promise<void> {
  const { store, layout } = state;
  try {
    for (const field of verify) {
      const id = await findEmpty(state, field);
      if (id === undefined) continue;
      throw new SchemaChangeError(
        `Cannot open table "${state.name}": field "${field}" is now required, but row "${String(id)}" has no value`,
        {
          table: state.name,
          field,
          hint: `give the field a .default(), or fill it in every row and open the table again`,
        },
      );
    }
    for (const field of build) await buildIndex(state, field);
  } catch (error) {
    // Only a refusal takes the change back; after a failure of etcd the work is taken up again by the next opening.
    if (error instanceof E2dbError && (error.code === "duplicate" || error.code === "schema_change")) {
      await takeBack(state, before, { build, verify });
    }
    throw error;
  }
  const fields = { ...state.meta.fields };
  for (const name of build) fields[name] = { ...fields[name]!, state: "ready" };
  for (const name of verify) fields[name] = { ...fields[name]!, checking: undefined };
  await replaceMeta(state, { ...state.meta, epoch: state.meta.epoch + 1, fields });
  for (const name of build) {
    const was = before.fields[name]?.index ?? "none";
    if (was === "none" || was === fields[name]!.index) continue;
    await clearSpace(store, layout.index(name, was), { key: layout.meta, revision: state.metaRevision });
  }
}

/**
 * The schema as it was, without the indexes in question: an index that was to become unique missed the writes of the
 * meantime, so it is given up, and built again by the next program that declares it.
 */
async function takeBack(
  state: TableState,
  before: TableMeta,
  { build, verify }: { build: string[]; verify: string[] },
): Promise<void> {
  const fields = { ...before.fields };
  for (const name of verify) {
    if (fields[name] !== undefined) fields[name] = { ...fields[name], required: false, checking: undefined };
  }
  for (const name of build) {
    if (fields[name] !== undefined) fields[name] = { ...fields[name], index: "none", state: "ready" };
  }
  await putMeta(state.store, state.layout, { ...before, epoch: state.meta.epoch + 1, fields }, state.metaRevision);
}
