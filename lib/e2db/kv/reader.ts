/** Readers for queries: all answers of a reader are of one revision. */
import type { Compare, Operation, RangeRequest, RangeResponse } from "./kv.ts";
import type { StoredRow } from "../schema/codec.ts";
import type { Store } from "./store.ts";
import type { TableState } from "../table_state.ts";

/** Thrown within e2db when a table's schema has changed since it was read: refresh it and repeat the action. */
export class SchemaChanged extends Error {
  readonly state: TableState;
  constructor(state: TableState) {
    super(`the schema of table "${state.name}" has changed`);
    this.state = state;
  }
}

export interface Reader {
  /** The revision of all answers; undefined before the first. */
  readonly revision: number | undefined;
  /**
   * Answers all requests, at most 128, in one round trip. The first call for a table also compares its schema, and throws
   * SchemaChanged when that has changed. `auxiliary` reads only set the size of others, so a commit does not compare them.
   */
  read(state: TableState, requests: readonly RangeRequest[], use?: "auxiliary"): Promise<RangeResponse[]>;
  /** Rows changed by this reader's own transaction, by their encoded id as text; undefined for a deleted row. */
  changed(state: TableState): ReadonlyMap<string, StoredRow | undefined> | undefined;
}

/** The first answer is of the present; later ones are of the same revision. */
export class SnapshotReader implements Reader {
  #revision: number | undefined;
  readonly #checked = new Set<TableState>();
  readonly #store: Store;

  constructor(store: Store, revision?: number) {
    this.#store = store;
    this.#revision = revision;
  }

  get revision(): number | undefined {
    return this.#revision;
  }

  async read(state: TableState, requests: readonly RangeRequest[]): Promise<RangeResponse[]> {
    const pinned = requests.map((request) => ({ ...request, revision: this.#revision }));
    if (this.#checked.has(state) && pinned.length === 1) return [await this.#store.range(pinned[0]!)];
    const [only] = pinned;
    if (pinned.length === 1 && only!.countOnly && state.large.size > 0) {
      const counted = await this.#countBesideSchema(state, only!);
      if (counted !== undefined) return [counted];
    }
    const response = await this.#store.read({
      compares: this.#checked.has(state) ? [] : [schemaUnchanged(state)],
      success: pinned.map((request): Operation => ({ kind: "range", request })),
      failure: [],
    });
    if (!response.succeeded) throw new SchemaChanged(state);
    this.#checked.add(state);
    this.#revision ??= response.revision;
    return response.ranges as RangeResponse[];
  }

  changed(): undefined {
    return undefined;
  }

  /**
   * Reads a count and the schema concurrently, because etcd counts twice as slowly within a transaction. Undefined when
   * the schema was read before the count and may have changed in between.
   */
  async #countBesideSchema(state: TableState, request: RangeRequest): Promise<RangeResponse | undefined> {
    const [counted, schema] = await Promise.all([
      this.#store.range(request),
      this.#store.range({ key: state.layout.meta, keysOnly: true }),
    ]);
    if (schema.kvs[0]?.modRevision !== state.metaRevision) throw new SchemaChanged(state);
    if (schema.revision < counted.revision) return undefined;
    this.#checked.add(state);
    this.#revision ??= counted.revision;
    return counted;
  }
}

/** The condition that a table's schema has not changed. */
export const schemaUnchanged = (state: TableState): Compare => ({
  key: state.layout.meta,
  target: "mod",
  result: "equal",
  revision: state.metaRevision,
});

/** Repeats `action` with the new schema when that has changed. Changes are rare, so few attempts suffice. */
export async function withSchema<T>(action: () => Promise<T>): Promise<T> {
  for (let attempt = 0;; attempt++) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof SchemaChanged) || attempt === 10) throw error;
      await error.state.refresh();
    }
  }
}
