/** Drops a table: marks it, so that no writer adds rows, then removes its keys in batches, then its schema. */
import { clearPrefix } from "./build_index.ts";
import type { Layout } from "./schema/layout.ts";
import { encodeMeta } from "./schema/schema.ts";
import type { Store } from "./kv/store.ts";
import { readMeta, unknownTable } from "./table_state.ts";

/** Throws UnknownTableError when the table does not exist. */
export async function dropTable(store: Store, layout: Layout): Promise<void> {
  while (true) {
    const stored = await readMeta(store, layout);
    if (stored === undefined) throw unknownTable(layout.table);
    if (stored.meta.state === "dropping") break;
    const meta = { ...stored.meta, state: "dropping" as const, epoch: stored.meta.epoch + 1 };
    const response = await store.commit(
      {
        compares: [{ key: layout.meta, target: "mod", result: "equal", revision: stored.revision }],
        success: [{ kind: "put", key: layout.meta, value: encodeMeta(meta) }],
        failure: [],
      },
      undefined,
      { table: layout.table },
    );
    if (response.succeeded) break;
  }
  await finishDrop(store, layout);
}

/** Completes a drop that this or another program has begun. */
export async function finishDrop(store: Store, layout: Layout): Promise<void> {
  const stored = await readMeta(store, layout);
  if (stored?.meta.state !== "dropping") return;
  const under = { key: layout.meta, revision: stored.revision };
  if (!await clearPrefix(store, layout.data, under)) return;
  await store.commit(
    {
      compares: [{ key: layout.meta, target: "mod", result: "equal", revision: stored.revision }],
      success: [{ kind: "delete", key: layout.meta }],
      failure: [],
    },
    undefined,
    { table: layout.table },
  );
}
