/** The query builder: `users.where("age").between(18, 40).orderBy("age").limit(20)`. Immutable: each step gives a new query. */
import { and, anything, type Condition, matches, or } from "./condition.ts";
import type { StoredRow } from "./codec.ts";
import { NotIndexedError, WrongTypeError } from "./errors.ts";
import { storedValue } from "./layout.ts";
import { isOrderable, type Orderable } from "./order.ts";
import { countRows, makeCursor, planOf, type QuerySpec, runQuery } from "./query_run.ts";
import { type Reader, SchemaMoved } from "./reader.ts";
import { checkKnown, fromStored, idOf } from "./row.ts";
import type { Transaction } from "./transaction.ts";
import type { TableState } from "./table_state.ts";
import { remember } from "./version.ts";

/** Fields whose values can be compared. */
export type SearchableKey<Row> =
  & {
    [K in keyof Row]-?: NonNullable<Row[K]> extends boolean | number | string | Date | Uint8Array ? K : never;
  }[keyof Row]
  & string;

type Exact<V> = V extends boolean ? boolean : V;

/** How a query reads and writes: each call at the present, or within one transaction. */
export interface Scope {
  readonly state: TableState;
  /** Runs `action` on a reader of its own, or on the transaction's. */
  read<T>(action: (reader: Reader) => Promise<T>): Promise<T>;
  /** Runs `action` in a transaction of its own, which it commits, or in the one that is open. */
  write<T>(action: (transaction: Transaction) => Promise<T>, rows?: "single" | "several"): Promise<T>;
  /** "each": rows of one call may be spread over several transactions. */
  readonly many: "each" | "together";
  reader(): Reader;
}

export interface Page<Row> {
  rows: Row[];
  /** For `after()`; undefined on the last page. */
  cursor: string | undefined;
  /** The revision the page was read at. */
  revision: number;
}

const everyRow: QuerySpec = {
  condition: anything,
  orderBy: undefined,
  reverse: false,
  skip: 0,
  limit: undefined,
  after: undefined,
  scanAllowed: false,
};

export class Query<Row extends object> implements AsyncIterable<Row> {
  readonly #scope: Scope;
  readonly #spec: QuerySpec;

  constructor(scope: Scope, spec: QuerySpec = everyRow) {
    this.#scope = scope;
    this.#spec = spec;
  }

  /** Begins a condition that must hold as well. */
  where<K extends SearchableKey<Row>>(field: K): FieldCondition<Row, Row[K]> {
    const { declared, meta } = this.#scope.state;
    checkKnown(declared, field);
    if (declared.fields.get(field)?.encrypted || meta.fields[field]?.encrypted) {
      throw new NotIndexedError(`Cannot query table "${declared.table}" by "${field}": the field is encrypted`, {
        table: declared.table,
        field,
        hint: "equal values are sealed differently; keep a keyed hash of the value in a field of its own to search by",
      });
    }
    return new FieldCondition(declared.table, field, (condition) => this.#with({ condition: this.#and(condition) }));
  }

  /** Both conditions. Order, skip and limit of the argument are not taken over. */
  and(other: Query<Row>): Query<Row> {
    return this.#with({ condition: this.#and(other.#spec.condition) });
  }

  /** One of the conditions, or both. */
  or(other: Query<Row>): Query<Row> {
    return this.#with({ condition: or(this.#spec.condition, other.#spec.condition) });
  }

  /** The opposite condition: holds for null, too, where the condition compared a value. */
  not(): Query<Row> {
    return this.#with({ condition: { kind: "not", part: this.#spec.condition } });
  }

  /** By this field's values, equal ones by id; without it, rows come in the order of the index that is used. */
  orderBy(field: SearchableKey<Row>): Query<Row> {
    checkKnown(this.#scope.state.declared, field);
    return this.#with({ orderBy: field });
  }

  reverse(): Query<Row> {
    return this.#with({ reverse: !this.#spec.reverse });
  }

  /** Skipped rows are read: for deep pages use {@link page} and {@link after}. */
  skip(count: number): Query<Row> {
    return this.#with({ skip: checkCount("skip", count) });
  }

  limit(count: number): Query<Row> {
    return this.#with({ limit: checkCount("limit", count) });
  }

  /** Continues behind the last row of an earlier {@link page} of the same query. */
  after(cursor: string): Query<Row> {
    return this.#with({ after: cursor });
  }

  /** Allows reading the whole table where no index narrows the condition. */
  scan(): Query<Row> {
    return this.#with({ scanAllowed: true });
  }

  /** All rows, read at one revision. Throws NotIndexedError; WrongKeyError for encrypted fields that do not open. */
  all(): Promise<Row[]> {
    return this.#scope.read((reader) => this.#collect(reader));
  }

  async first(): Promise<Row | undefined> {
    return (await this.#with({ limit: Math.min(this.#spec.limit ?? 1, 1) }).all())[0];
  }

  /** The number of rows that meet the condition; skip and limit do not count. One round trip where an index says it all. */
  count(): Promise<number> {
    return this.#scope.read((reader) => countRows(reader, this.#scope.state, this.#spec));
  }

  /** The rows and where to go on. `limit` is the length of a page, 100 when not set. */
  page(): Promise<Page<Row>> {
    const limit = this.#spec.limit ?? 100;
    return this.#scope.read(async (reader) => {
      const { state } = this.#scope;
      const stored: StoredRow[] = [];
      for await (const row of runQuery(reader, state, { ...this.#spec, limit: limit + 1 })) stored.push(row);
      const more = stored.length > limit;
      const kept = stored.slice(0, limit);
      const rows = await Promise.all(kept.map((row) => present<Row>(state, row)));
      const last = kept.at(-1);
      const cursor = more && last !== undefined ? makeCursor(state, this.#spec, last) : undefined;
      return { rows, cursor, revision: reader.revision! };
    });
  }

  /** Row by row, all of one revision, reading page by page; fails with CompactedError if etcd compacts it meanwhile. */
  async *[Symbol.asyncIterator](): AsyncIterator<Row> {
    const { state } = this.#scope;
    for (let begun = false;;) {
      try {
        for await (const row of runQuery(this.#scope.reader(), state, this.#spec)) {
          begun = true;
          yield present<Row>(state, row);
        }
        return;
      } catch (error) {
        if (begun || !(error instanceof SchemaMoved)) throw error;
        await state.refresh();
      }
    }
  }

  /**
   * Deletes the rows and gives their number. Outside of a transaction they go in batches: each batch is all or nothing,
   * and a row that was changed meanwhile goes only if it still meets the condition. Throws TooLargeError within a
   * transaction that cannot hold them.
   */
  async delete(): Promise<number> {
    const { state } = this.#scope;
    const ids = await this.#scope.read(async (reader) => {
      const ids: Orderable[] = [];
      for await (const row of runQuery(reader, state, this.#spec)) {
        ids.push(idOf(state.declared, state.meta.id, row.values));
      }
      return ids;
    });
    const size = this.#scope.many === "each" ? rowsPerTransaction(state) : Math.max(ids.length, 1);
    let deleted = 0;
    for (let at = 0; at < ids.length; at += size) {
      const batch = ids.slice(at, at + size);
      deleted += await this.#scope.write(async (transaction) => {
        let count = 0;
        for (const [index, row] of (await transaction.rows(state, batch)).entries()) {
          if (row === undefined) continue;
          if (!matches(this.#spec.condition, (field) => storedValue(state.meta, field, row.values))) continue;
          transaction.remove(state, batch[index]!, row);
          count++;
        }
        return count;
      }, "several");
    }
    return deleted;
  }

  /** How the query would be answered, for people: "index age, 1 interval, in order". */
  explain(): string {
    const plan = planOf(this.#scope.state, this.#spec);
    if (plan.kind === "union") {
      return `${plan.scans.map(({ kind, field }) => `${kind} ${field}`).join(" and ")}, filtered and sorted in memory`;
    }
    const { kind, field, intervals } = plan.scan;
    const notes = [plan.exact ? "" : ", filtered", plan.ordered ? ", in order" : ", sorted in memory"];
    return `${kind} ${field}, ${intervals.length} interval${intervals.length === 1 ? "" : "s"}${notes.join("")}`;
  }

  #and(condition: Condition): Condition {
    return and(this.#spec.condition, condition);
  }

  #with(part: Partial<QuerySpec>): Query<Row> {
    return new Query(this.#scope, { ...this.#spec, ...part });
  }

  async #collect(reader: Reader): Promise<Row[]> {
    const rows: (Row | Promise<Row>)[] = [];
    for await (const row of runQuery(reader, this.#scope.state, this.#spec)) {
      rows.push(present<Row>(this.#scope.state, row));
    }
    return await Promise.all(rows);
  }
}

/** The row for the program, with its version remembered. */
export function present<Row extends object>(state: TableState, stored: StoredRow): Row | Promise<Row> {
  const row = fromStored(state, stored);
  if (row instanceof Promise) return row.then((opened) => remember(opened as Row, stored.writeId));
  return remember(row as Row, stored.writeId);
}

/** How many rows of a table one etcd transaction can insert, change or delete. */
export function rowsPerTransaction(state: TableState): number {
  const spaces = 1 + Object.values(state.meta.fields).filter(({ index }) => index !== "none").length;
  // One put or delete a space, two more for one entry in 32, and guards and the counter on top: half of it is to spare.
  return Math.max(1, Math.floor((120 - spaces) / (2 * spaces)));
}

function checkCount(what: string, count: number): number {
  if (Number.isSafeInteger(count) && count >= 0) return count;
  throw new RangeError(`Cannot ${what} ${count} rows: not a whole number from 0`);
}

/** The comparisons of one field. */
export class FieldCondition<Row extends object, V> {
  readonly #table: string;
  readonly #field: string;
  readonly #add: (condition: Condition) => Query<Row>;

  constructor(table: string, field: string, add: (condition: Condition) => Query<Row>) {
    this.#table = table;
    this.#field = field;
    this.#add = add;
  }

  eq(value: Exact<V>): Query<Row> {
    return this.#compare("eq", value);
  }

  ne(value: Exact<V>): Query<Row> {
    const value_ = this.#check(value);
    return this.#add({ kind: "not", part: { kind: "compare", field: this.#field, operator: "eq", value: value_ } });
  }

  lt(value: NonNullable<V>): Query<Row> {
    return this.#compare("lt", value);
  }

  lte(value: NonNullable<V>): Query<Row> {
    return this.#compare("lte", value);
  }

  gt(value: NonNullable<V>): Query<Row> {
    return this.#compare("gt", value);
  }

  gte(value: NonNullable<V>): Query<Row> {
    return this.#compare("gte", value);
  }

  /** From `low` to `high`, both included. */
  between(low: NonNullable<V>, high: NonNullable<V>): Query<Row> {
    return this.#add({
      kind: "and",
      parts: [
        { kind: "compare", field: this.#field, operator: "gte", value: this.#check(low) },
        { kind: "compare", field: this.#field, operator: "lte", value: this.#check(high) },
      ],
    });
  }

  in(values: readonly Exact<V>[]): Query<Row> {
    return this.#add({ kind: "in", field: this.#field, values: values.map((value) => this.#check(value)) });
  }

  startsWith(this: FieldCondition<Row, string | null> | FieldCondition<Row, string>, prefix: string): Query<Row> {
    if (typeof prefix !== "string" || !prefix.isWellFormed()) throw this.#wrongType(prefix, "well-formed text");
    return this.#add({ kind: "startsWith", field: this.#field, prefix });
  }

  isNull(): Query<Row> {
    return this.#add({ kind: "compare", field: this.#field, operator: "eq", value: null });
  }

  #compare(operator: "eq" | "lt" | "lte" | "gt" | "gte", value: unknown): Query<Row> {
    return this.#add({ kind: "compare", field: this.#field, operator, value: this.#check(value) });
  }

  #check(value: unknown): Orderable {
    if (value !== undefined && isOrderable(value)) return value;
    throw this.#wrongType(value, "null, boolean, number, Date, bytes or well-formed text");
  }

  #wrongType(value: unknown, expected: string): WrongTypeError {
    return new WrongTypeError(
      `Cannot query table "${this.#table}" by "${this.#field}": ${String(value)} is not ${expected}`,
      { table: this.#table, field: this.#field },
    );
  }
}
