/** Delivers the changes of a table in order and without a gap, across broken connections. */
import { decodeRow, type StoredRow } from "./schema/codec.ts";
import { CompactedError, CorruptError } from "./errors.ts";
import { KvError, type WatchEvent } from "./kv/kv.ts";
import { endOf } from "./schema/layout.ts";
import { decodeOrdered } from "./schema/order.ts";
import { toE2dbError } from "./kv/store.ts";
import type { TableState } from "./table_state.ts";

export interface WatchOptions {
  signal?: AbortSignal;
  /** Begin after this revision, for example that of a page() or of an earlier change. Default: now. */
  after?: number;
}

export type Change<Row, Id> =
  | { kind: "insert"; id: Id; row: Row; before: undefined; revision: number }
  | { kind: "update"; id: Id; row: Row; before: Row | undefined; revision: number }
  | { kind: "delete"; id: Id; row: undefined; before: Row | undefined; revision: number };

const pauseFirstMs = 50;
const pauseMaxMs = 2_000;

/**
 * `before` is undefined when etcd has compacted the earlier state. "Now" is the time of the call, not of the first
 * connection, so that a watch that must reconnect before it begins misses nothing.
 */
export function watchTable<Row extends object, Id>(
  state: TableState,
  { signal = new AbortController().signal, after }: WatchOptions,
  present: (row: StoredRow) => Row | Promise<Row>,
): AsyncIterable<Change<Row, Id>> {
  const start = after === undefined
    ? state.store.range({ key: state.layout.meta, keysOnly: true }).then(({ revision }) => revision)
    : Promise.resolve(after);
  // A failure is thrown when the loop begins, not as an unhandled rejection before.
  start.catch(() => {});
  return follow(state, signal, start, present);
}

async function* follow<Row extends object, Id>(
  state: TableState,
  signal: AbortSignal,
  start: Promise<number>,
  present: (row: StoredRow) => Row | Promise<Row>,
): AsyncGenerator<Change<Row, Id>> {
  const { forward } = state.layout.rows(state.meta.id);
  if (signal.aborted) return;
  let next = await start + 1;
  let pauseMs = pauseFirstMs;
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  try {
    while (!either.aborted) {
      try {
        const watch = state.store.kv.watch({ key: forward, end: endOf(forward), fromRevision: next, signal: either });
        for await (const batch of watch) {
          pauseMs = pauseFirstMs;
          for (const event of batch.events) {
            next = revisionOf(event);
            yield await change<Row, Id>(state, event, present);
            if (either.aborted) return;
          }
          next = Math.max(next, batch.revision + 1);
        }
        return;
      } catch (error) {
        if (!(error instanceof KvError)) throw error;
        if (error.kind === "compacted") throw changesCompacted(state, error, next);
        if (error.kind !== "unavailable" && error.kind !== "refused") throw toE2dbError(error, { table: state.name });
      }
      try {
        await state.store.platform.sleep(pauseMs, either);
      } catch {
        return;
      }
      pauseMs = Math.min(pauseMs * 2, pauseMaxMs);
    }
  } finally {
    stop.abort();
  }
}

const changesCompacted = (state: TableState, cause: KvError, next: number) =>
  new CompactedError(
    `Cannot continue to watch table "${state.name}": etcd has compacted the changes from revision ${next} on`,
    {
      table: state.name,
      cause,
      compactRevision: cause.compactRevision,
      hint: "read the table again, and watch from the revision of that read, which query().page() returns",
    },
  );

const revisionOf = (event: WatchEvent) => event.kind === "put" ? event.kv.modRevision : event.modRevision;

async function change<Row extends object, Id>(
  state: TableState,
  event: WatchEvent,
  present: (row: StoredRow) => Row | Promise<Row>,
): Promise<Change<Row, Id>> {
  const revision = revisionOf(event);
  const before = event.before && await present(rowOf(state, event.before.value));
  const key = event.kind === "put" ? event.kv.key : event.key;
  const id = idOfKey(state, key) as Id;
  if (event.kind === "delete") return { kind: "delete", id, row: undefined, before, revision };
  const row = await present(rowOf(state, event.kv.value));
  if (event.kv.version === 1) return { kind: "insert", id, row, before: undefined, revision };
  return { kind: "update", id, row, before, revision };
}

function idOfKey(state: TableState, key: Uint8Array): unknown {
  const decoded = decodeOrdered(key, state.layout.rows(state.meta.id).forward.length);
  if (decoded !== undefined) return decoded.value;
  throw new CorruptError(`Cannot watch table "${state.name}": a key was not written by e2db`, { table: state.name });
}

function rowOf(state: TableState, value: Uint8Array): StoredRow {
  const decoded = decodeRow(value);
  if (decoded?.kind === "row") return decoded.row;
  throw new CorruptError(`Cannot watch table "${state.name}": a row was not written by e2db`, { table: state.name });
}
