/** Reads at one revision: what queries run on. */
import { CompactedError } from "./errors.ts";
import type { Compare, KeyValue, Operation, RangeRequest, RangeResponse } from "./kv.ts";
import type { StoredRow } from "./codec.ts";
import type { Store } from "./store.ts";
import type { TableState } from "./table_state.ts";

/** Thrown within e2db when a table's schema is no longer the one a plan was made for: refresh, and begin again. */
export class SchemaMoved extends Error {
  readonly state: TableState;
  constructor(state: TableState) {
    super(`the schema of table "${state.name}" has changed`);
    this.state = state;
  }
}

export interface Reader {
  /** The revision all answers are of; undefined before the first. */
  readonly revision: number | undefined;
  /**
   * Answers all requests, at most 128, in one round trip. The first call on a table also checks that its schema still
   * holds, and throws SchemaMoved when it does not. `auxiliary` reads only steer others and need no protection against
   * changes.
   */
  read(state: TableState, requests: readonly RangeRequest[], use?: "auxiliary"): Promise<RangeResponse[]>;
  /** Rows this reader's own transaction has changed, by the text of their id's encoding; undefined for a deleted one. */
  changed(state: TableState): ReadonlyMap<string, StoredRow | undefined> | undefined;
}

/** Reads the present, then goes on reading as of the revision the first answer had. */
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
      compares: this.#checked.has(state) ? [] : [schemaHolds(state)],
      success: pinned.map((request): Operation => ({ kind: "range", request })),
      failure: [],
    });
    if (!response.succeeded) throw new SchemaMoved(state);
    this.#checked.add(state);
    this.#revision ??= response.revision;
    return response.ranges as RangeResponse[];
  }

  changed(): undefined {
    return undefined;
  }

  /**
   * A count and the schema side by side: within a transaction etcd takes twice as long to count. Undefined when the
   * schema was read before the count and may have changed in between.
   */
  async #countBesideSchema(state: TableState, request: RangeRequest): Promise<RangeResponse | undefined> {
    const [counted, schema] = await Promise.all([
      this.#store.range(request),
      this.#store.range({ key: state.layout.meta, keysOnly: true }),
    ]);
    if (schema.kvs[0]?.modRevision !== state.metaRevision) throw new SchemaMoved(state);
    if (schema.revision < counted.revision) return undefined;
    this.#checked.add(state);
    this.#revision ??= counted.revision;
    return counted;
  }
}

/** The condition that a table's schema is the one this program knows. */
export const schemaHolds = (state: TableState): Compare => ({
  key: state.layout.meta,
  target: "mod",
  result: "equal",
  revision: state.metaRevision,
});

/** Runs `action`, and again with the new schema when that moved; other programs change it rarely, so a few times do. */
export async function withSchema<T>(action: () => Promise<T>): Promise<T> {
  for (let attempt = 0;; attempt++) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof SchemaMoved) || attempt === 10) throw error;
      await error.state.refresh();
    }
  }
}

/** Where a plain read fails only because its snapshot became too old, the reader is told so. */
export const snapshotGone = (error: unknown): error is CompactedError => error instanceof CompactedError;

export type { KeyValue };
