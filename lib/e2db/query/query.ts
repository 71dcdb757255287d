/** The query builder: `users.where("age").between(18, 40).orderBy("age").limit(20)`. Each step returns a new query. */
import { and, anything, type Condition, matches, or } from "./condition.ts";
import type { StoredRow } from "../schema/codec.ts";
import { NotIndexedError, WrongTypeError } from "../errors.ts";
import { storedValue } from "../schema/layout.ts";
import { isOrderable, type Orderable } from "../schema/order.ts";
import { countRows, makeCursor, planOf, type QuerySpec, runQuery } from "./run.ts";
import { type Reader, SchemaChanged } from "../kv/reader.ts";
import { checkKnown, idOf } from "../schema/row.ts";
import { presentRow, rowsPerTransaction, type Scope } from "../scope.ts";

/** Fields whose values can be compared. */
export type SearchableKey<Row> =
  & {
    [K in keyof Row]-?: NonNullable<Row[K]> extends boolean | number | string | Date | Uint8Array ? K : never;
  }[keyof Row]
  & string;

type Exact<V> = V extends boolean ? boolean : V;

export interface Page<Row> {
  rows: Row[];
  /** For `after()`; undefined on the last page. */
  cursor: string | undefined;
  /** The revision at which the page was read. */
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

  /** Begins a further condition, which must hold too. */
  where<K extends SearchableKey<Row>>(field: K): FieldCondition<Row, Row[K]> {
    const { declared, meta } = this.#scope.state;
    checkKnown(declared, field);
    if (declared.fields.get(field)?.encrypted || meta.fields[field]?.encrypted) {
      throw new NotIndexedError(`Cannot query table "${declared.table}" by "${field}": the field is encrypted`, {
        table: declared.table,
        field,
        hint: "equal values are encrypted differently; to search, store a keyed hash of the value in another field",
      });
    }
    return new FieldCondition(declared.table, field, (condition) => this.#with({ condition: this.#and(condition) }));
  }

  /** Both conditions. Order, skip and limit of the argument are ignored. */
  and(other: Query<Row>): Query<Row> {
    return this.#with({ condition: this.#and(other.#spec.condition) });
  }

  /** At least one of the conditions. */
  or(other: Query<Row>): Query<Row> {
    return this.#with({ condition: or(this.#spec.condition, other.#spec.condition) });
  }

  /** The negated condition. The negation of a comparison holds for null, too. */
  not(): Query<Row> {
    return this.#with({ condition: { kind: "not", part: this.#spec.condition } });
  }

  /** Orders by this field's values, equal ones by id. Without it, rows come in the order of the index that is used. */
  orderBy(field: SearchableKey<Row>): Query<Row> {
    checkKnown(this.#scope.state.declared, field);
    return this.#with({ orderBy: field });
  }

  reverse(): Query<Row> {
    return this.#with({ reverse: !this.#spec.reverse });
  }

  /** Skipped rows are read nevertheless: for deep pages use {@link page} and {@link after}. */
  skip(count: number): Query<Row> {
    return this.#with({ skip: checkCount("skip", count) });
  }

  limit(count: number): Query<Row> {
    return this.#with({ limit: checkCount("limit", count) });
  }

  /** Continues after the last row of an earlier {@link page} of the same query. */
  after(cursor: string): Query<Row> {
    return this.#with({ after: cursor });
  }

  /** Allows reading the whole table when no index narrows the condition. */
  scan(): Query<Row> {
    return this.#with({ scanAllowed: true });
  }

  /** All rows, read at one revision. Throws NotIndexedError, or WrongKeyError for a field that no key decrypts. */
  all(): Promise<Row[]> {
    return this.#scope.read((reader) => this.#collect(reader));
  }

  async first(): Promise<Row | undefined> {
    return (await this.#with({ limit: Math.min(this.#spec.limit ?? 1, 1) }).all())[0];
  }

  /** The number of rows that meet the condition, ignoring skip and limit. One round trip if an index suffices. */
  count(): Promise<number> {
    return this.#scope.read((reader) => countRows(reader, this.#scope.state, this.#spec));
  }

  /** A page of `limit` rows (default 100), and a cursor for the next page. */
  page(): Promise<Page<Row>> {
    const limit = this.#spec.limit ?? 100;
    return this.#scope.read(async (reader) => {
      const { state } = this.#scope;
      const stored: StoredRow[] = [];
      for await (const row of runQuery(reader, state, { ...this.#spec, limit: limit + 1 })) stored.push(row);
      const more = stored.length > limit;
      const kept = stored.slice(0, limit);
      const rows = await Promise.all(kept.map((row) => presentRow<Row>(state, row)));
      const last = kept.at(-1);
      const cursor = more && last !== undefined ? makeCursor(state, this.#spec, last) : undefined;
      return { rows, cursor, revision: reader.revision! };
    });
  }

  /** Row by row, read page by page at one revision. Throws CompactedError if etcd compacts that revision meanwhile. */
  async *[Symbol.asyncIterator](): AsyncIterator<Row> {
    const { state } = this.#scope;
    for (let begun = false;;) {
      try {
        for await (const row of runQuery(this.#scope.reader(), state, this.#spec)) {
          begun = true;
          yield presentRow<Row>(state, row);
        }
        return;
      } catch (error) {
        if (begun || !(error instanceof SchemaChanged)) throw error;
        await state.refresh();
      }
    }
  }

  /**
   * Deletes the rows and returns their number. Outside a transaction they are deleted in atomic batches, and a row that
   * changed meanwhile is deleted only if it still meets the condition. Throws TooLargeError when they do not fit into the
   * transaction.
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

  /** A description of the query plan: "index age, 1 interval, in order". */
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
      rows.push(presentRow<Row>(this.#scope.state, row));
    }
    return await Promise.all(rows);
  }
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
    const checked = this.#check(value);
    return this.#add({ kind: "not", part: { kind: "compare", field: this.#field, operator: "eq", value: checked } });
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

  /** From `low` to `high`, inclusive. */
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
