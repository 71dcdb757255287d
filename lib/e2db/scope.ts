/** What queries and tables have in common: where they read and write, and how a stored row becomes the program's. */
import type { StoredRow } from "./schema/codec.ts";
import type { Reader } from "./kv/reader.ts";
import { fromStored } from "./schema/row.ts";
import { remember } from "./schema/version.ts";
import type { TableState } from "./table_state.ts";
import type { Transaction } from "./transaction.ts";

/** Where calls of a table read and write: each on its own, or all within one transaction. */
export interface Scope {
  readonly state: TableState;
  /** Runs `action` on a new reader, or on the transaction. */
  read<T>(action: (reader: Reader) => Promise<T>): Promise<T>;
  /** Runs `action` in a new transaction and commits it, or in the open transaction. */
  write<T>(action: (transaction: Transaction) => Promise<T>, rows?: "single" | "several"): Promise<T>;
  /** "each": the rows of one call may be split over several transactions. */
  readonly many: "each" | "together";
  reader(): Reader;
}

/** A stored row as the program gets it; its version is remembered for versionOf(). */
export function presentRow<Row extends object>(state: TableState, stored: StoredRow): Row | Promise<Row> {
  const row = fromStored(state, stored);
  if (row instanceof Promise) return row.then((opened) => remember(opened as Row, stored.writeId));
  return remember(row as Row, stored.writeId);
}

/** The number of rows of a table that one etcd transaction can insert, change or delete. */
export function rowsPerTransaction(state: TableState): number {
  const spaces = 1 + Object.values(state.meta.fields).filter(({ index }) => index !== "none").length;
  // One put or delete per space, two more for one entry in 32, plus guards and the counter: half is kept in reserve.
  return Math.max(1, Math.floor((120 - spaces) / (2 * spaces)));
}
