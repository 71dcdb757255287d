/** One table as this program has it open: what it declares, what etcd holds, and since when. */
import type { Cipher } from "./cipher.ts";
import { CorruptError, E2dbError, UnknownTableError } from "./errors.ts";
import type { Layout, Space } from "./layout.ts";
import { type Declared, decodeMeta, type TableMeta } from "./schema.ts";
import type { Store } from "./store.ts";
import { Counter } from "./counter.ts";

export class TableState {
  readonly store: Store;
  readonly declared: Declared;
  readonly layout: Layout;
  readonly cipher: Cipher;
  readonly counter: Counter;
  /** Spaces that were seen to hold so many entries that etcd's counting of them costs more than a round trip. */
  readonly large = new Set<Space>();
  /** As of `metaRevision`; every read and write checks that it still holds. */
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
   * Runs `action`, and once more when it fails for what the schema says but the schema has changed since it was read:
   * an index that is there now, or a field that is no longer required.
   */
  async upToDate<T>(action: () => Promise<T>): Promise<T> {
    const known = this.metaRevision;
    try {
      return await action();
    } catch (error) {
      const doubtful = error instanceof E2dbError &&
        (error.code === "not_indexed" || error.code === "missing_required");
      if (!doubtful) throw error;
      await this.refresh();
      if (this.metaRevision === known) throw error;
      return await action();
    }
  }

  /** Reads the schema again. Throws UnknownTableError when the table is gone. */
  async refresh(): Promise<void> {
    const stored = await readMeta(this.store, this.layout);
    if (stored === undefined || stored.meta.state === "dropping") throw unknownTable(this.name);
    if (stored.meta.id !== this.meta.id || stored.meta.idType !== this.meta.idType) {
      throw new CorruptError(`Cannot use table "${this.name}": it was dropped and made anew with another id`, {
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

/** undefined when there is no such table. */
export async function readMeta(
  store: Store,
  layout: Layout,
): Promise<{ meta: TableMeta; revision: number } | undefined> {
  const [kv] = (await store.range({ key: layout.meta })).kvs;
  return kv && { meta: decodeMeta(kv.value, layout.table), revision: kv.modRevision };
}
