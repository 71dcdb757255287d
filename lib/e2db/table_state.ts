/** One open table: the program's declaration, and the schema in etcd with its revision. */
import type { Cipher } from "./schema/cipher.ts";
import { CorruptError, E2dbError, UnknownTableError } from "./errors.ts";
import type { Layout, Space } from "./schema/layout.ts";
import { type Declared, decodeMeta, type TableMeta } from "./schema/schema.ts";
import type { Store } from "./kv/store.ts";
import { Counter } from "./counter.ts";

export class TableState {
  readonly store: Store;
  readonly declared: Declared;
  readonly layout: Layout;
  readonly cipher: Cipher;
  readonly counter: Counter;
  /** Spaces with so many entries that etcd's counting of them costs more than a round trip. */
  readonly large = new Set<Space>();
  /** As of `metaRevision`. Every read and write compares that revision. */
  meta: TableMeta;
  metaRevision: number;

  constructor(
    store: Store,
    declared: Declared,
    layout: Layout,
    cipher: Cipher,
    stored: { meta: TableMeta; revision: number },
  ) {
    this.store = store;
    this.declared = declared;
    this.layout = layout;
    this.cipher = cipher;
    this.meta = stored.meta;
    this.metaRevision = stored.revision;
    this.counter = new Counter(store, this);
  }

  get name(): string {
    return this.declared.table;
  }

  /**
   * Runs `action`, and once more if it failed because of a schema that has changed since it was read: an index may exist
   * now, or a field may no longer be required.
   */
  async withCurrentSchema<T>(action: () => Promise<T>): Promise<T> {
    const known = this.metaRevision;
    try {
      return await action();
    } catch (error) {
      const mayBeOutdated = error instanceof E2dbError &&
        (error.code === "not_indexed" || error.code === "missing_required");
      if (!mayBeOutdated) throw error;
      await this.refresh();
      if (this.metaRevision === known) throw error;
      return await action();
    }
  }

  /** Reads the schema again. Throws UnknownTableError when the table was dropped. */
  async refresh(): Promise<void> {
    const stored = await readMeta(this.store, this.layout);
    if (stored === undefined || stored.meta.state === "dropping") throw unknownTable(this.name);
    if (stored.meta.id !== this.meta.id || stored.meta.idType !== this.meta.idType) {
      throw new CorruptError(`Cannot use table "${this.name}": it was dropped and created again with another id`, {
        table: this.name,
        hint: "open the table again",
      });
    }
    this.meta = stored.meta;
    this.metaRevision = stored.revision;
  }
}

export const unknownTable = (table: string) =>
  new UnknownTableError(`Cannot use table "${table}": no such table`, {
    table,
    hint: "open it with its fields to create it",
  });

/** Undefined when the table does not exist. */
export async function readMeta(
  store: Store,
  layout: Layout,
): Promise<{ meta: TableMeta; revision: number } | undefined> {
  const [kv] = (await store.range({ key: layout.meta })).kvs;
  return kv && { meta: decodeMeta(kv.value, layout.table), revision: kv.modRevision };
}
