/** Opens a table: creates it, or changes its stored schema to the program's declaration and builds indexes online. */
import { buildIndex, clearSpace, findEmpty } from "./build_index.ts";
import type { Cipher } from "./schema/cipher.ts";
import { E2dbError, SchemaChangeError } from "./errors.ts";
import { Layout } from "./schema/layout.ts";
import { type Declared, encodeMeta, firstMeta, reconcile, type TableMeta } from "./schema/schema.ts";
import type { Store } from "./kv/store.ts";
import { readMeta, TableState } from "./table_state.ts";
import { finishDrop } from "./drop_table.ts";
import { SchemaChanged } from "./kv/reader.ts";

/**
 * The order of a change: first the new schema is stored, with its indexes marked "building". Every write compares the
 * schema, so from then on all writers maintain the new entries. Then existing rows get theirs in batches, each verified
 * against concurrent changes. Then the index is marked "ready" and queries may use it. A program that dies in between
 * leaves "building" behind, and the next program that opens the table continues the work.
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
      if (change.meta !== stored.meta) await storeChange(state, change);
      await buildAndVerify(state, change, stored.meta);
      return state;
    } catch (error) {
      if (!(error instanceof SchemaChanged)) throw error;
    }
  }
}

/** Replaces the schema of `revision`; undefined when another program has replaced that one already. */
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
 * Removes all entries of an earlier index of the same field (no writer adds one under the present schema), then stores
 * the new schema.
 */
async function storeChange(state: TableState, change: { meta: TableMeta; build: string[] }): Promise<void> {
  const { store, layout } = state;
  const under = { key: layout.meta, revision: state.metaRevision };
  for (const name of change.build) {
    const index = change.meta.fields[name]!.index;
    const before = state.meta.fields[name];
    if (index === "none" || (before?.index === index && before.state === "building")) continue;
    if (!await clearSpace(store, layout.index(name, index), under)) throw new SchemaChanged(state);
  }
  await replaceMeta(state, change.meta);
}

/** Throws SchemaChanged when another program changed the schema first. */
async function replaceMeta(state: TableState, meta: TableMeta): Promise<void> {
  const revision = await putMeta(state.store, state.layout, meta, state.metaRevision);
  if (revision === undefined) throw new SchemaChanged(state);
  state.meta = meta;
  state.metaRevision = revision;
}

async function buildAndVerify(
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
    // Only a violation reverts the change; after a failure of etcd, the next program that opens the table continues.
    if (error instanceof E2dbError && (error.code === "duplicate" || error.code === "schema_change")) {
      await revertChange(state, before, { build, verify });
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
 * Stores the earlier schema without the indexes of the change. An index that was to become unique lacks the writes made
 * meanwhile, so it is dropped, and built again by the next program that declares it.
 */
async function revertChange(
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
