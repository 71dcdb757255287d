/** The tables' public methods. Each write is one etcd transaction. */
import { binaryString, toBase64Url } from "./schema/bytes.ts";
import { decodeRow, type StoredRow } from "./schema/codec.ts";
import {
  CorruptError,
  NotFoundError,
  StaleVersionError,
  TooLargeError,
  UnknownFieldError,
  WrongTypeError,
} from "./errors.ts";
import { storedValue } from "./schema/layout.ts";
import { decodeOrdered, encodeOrdered, type Orderable } from "./schema/order.ts";
import { type FieldCondition, Query, type SearchableKey } from "./query/query.ts";
import { presentRow, rowsPerTransaction, type Scope } from "./scope.ts";
import {
  checkId,
  checkKeyValue,
  checkKnown,
  fromStored,
  idOf,
  type PlainRow,
  sealedRow,
  toStored,
} from "./schema/row.ts";
import { forwardKey } from "./schema/layout.ts";
import { everything, type Interval, underPrefix } from "./query/interval.ts";
import {
  checkHeader,
  type ExportOptions,
  headerLine,
  idIsTaken,
  type ImportOptions,
  type ImportReport,
  linesOf,
  parseRow,
  rowLine,
} from "./portable.ts";
import { scanRows } from "./query/scan.ts";
import type { Fence, Transaction } from "./transaction.ts";
import { type Change, type WatchOptions, watchTable } from "./watch.ts";

export interface WriteOptions {
  /** Write only while this lock is held; otherwise LockLostError, and nothing is written. */
  fence?: Fence | undefined;
}

export interface ChangeOptions extends WriteOptions {
  /** Write only if the row still has this version (see versionOf); otherwise StaleVersionError, and nothing is written. */
  version?: string | undefined;
}

export class Table<Row extends object, Insert extends object, Id> {
  readonly #scope: Scope;

  constructor(scope: Scope) {
    this.#scope = scope;
  }

  get name(): string {
    return this.#scope.state.name;
  }

  /** For db.transaction(): the same table, which reads and writes through `scope`. */
  within(scope: (state: Scope["state"]) => Scope): Table<Row, Insert, Id> {
    return new Table(scope(this.#scope.state));
  }

  /** The row with this id, or undefined. One round trip. */
  find(id: Id): Promise<Row | undefined> {
    const { state } = this.#scope;
    checkId(state.declared, id);
    const interval: Interval = underPrefix(encodeOrdered(id), true);
    return this.#scope.read(async (reader) => {
      const changed = reader.changed(state);
      const name = binaryString(interval.low);
      if (changed?.has(name)) {
        const row = changed.get(name);
        return row && presentRow<Row>(state, row);
      }
      const scan = { kind: "row", field: state.meta.id, intervals: [interval] } as const;
      for await (const [row] of scanRows(reader, state, scan, { reverse: false, want: 1 })) {
        if (row !== undefined) return presentRow<Row>(state, row);
      }
      return undefined;
    });
  }

  /** The row with this value in a unique field, or undefined; for a plain index, the first such row. */
  findBy<K extends SearchableKey<Row>>(field: K, value: NonNullable<Row[K]>): Promise<Row | undefined> {
    const condition = this.where(field) as FieldCondition<Row, unknown>;
    return condition.eq(value).first();
  }

  /** Begins a query with a condition. Throws UnknownFieldError now, NotIndexedError when the query runs. */
  where<K extends SearchableKey<Row>>(field: K): FieldCondition<Row, Row[K]> {
    return this.query().where(field);
  }

  /** All rows as a query. */
  query(): Query<Row> {
    return new Query(this.#scope);
  }

  orderBy(field: SearchableKey<Row>): Query<Row> {
    return this.query().orderBy(field);
  }

  /** All rows in the order of their ids. */
  all(): Promise<Row[]> {
    return this.query().all();
  }

  /** The number of rows. One round trip. */
  count(): Promise<number> {
    return this.query().count();
  }

  /**
   * Stores a new row and returns it as stored. One round trip; two for the first increment id and under contention. Throws
   * DuplicateError, MissingRequiredError, WrongTypeError, UnknownFieldError, TooLargeError.
   */
  insert(row: Insert, options: WriteOptions = {}): Promise<Row> {
    return this.#scope.write(async (transaction) => {
      fence(transaction, options);
      return await this.#present(await this.#insertInto(transaction, row as PlainRow));
    });
  }

  /**
   * Stores rows and returns them as stored. Outside a transaction they are stored in atomic batches: when one fails, the
   * batches before it remain. Within a transaction they are part of it; throws TooLargeError when they do not fit.
   */
  async insertMany(rows: readonly Insert[], options: WriteOptions = {}): Promise<Row[]> {
    const { state } = this.#scope;
    const size = this.#scope.many === "each" ? rowsPerTransaction(state) : Math.max(rows.length, 1);
    const stored: Row[] = [];
    for (let at = 0; at < rows.length; at += size) {
      stored.push(...await this.#insertBatch(rows.slice(at, at + size) as PlainRow[], options));
    }
    return stored;
  }

  /**
   * Changes the given fields of a row and returns the whole row. null clears a field, undefined keeps it. Two round
   * trips. Throws NotFoundError, StaleVersionError, and what insert throws.
   */
  update(id: Id, patch: Partial<Row>, options: ChangeOptions = {}): Promise<Row> {
    return this.#change(id, options, (current) => ({ ...current, ...withoutUndefined(patch) }));
  }

  /** Replaces the row with the same id. Fields that this program does not know are kept. */
  replace(row: Insert & Partial<Row>, options: ChangeOptions = {}): Promise<Row> {
    const id = (row as PlainRow)[this.#scope.state.declared.id] as Id;
    return this.#change(id, options, () => ({ ...row }));
  }

  /**
   * Inserts the row, or updates the row with the same value in `on`: a unique field, or the id (the default). Returns the
   * row as stored. Throws what insert and update throw.
   */
  upsert(row: Insert, { on, ...options }: WriteOptions & { on?: SearchableKey<Row> } = {}): Promise<Row> {
    const { state } = this.#scope;
    const field = on ?? state.declared.id;
    return this.#scope.write(async (transaction) => {
      fence(transaction, options);
      const existing = await this.#locate(transaction, field, (row as PlainRow)[field]);
      if (existing === undefined) return await this.#present(await this.#insertInto(transaction, row as PlainRow));
      const id = idOf(state.declared, state.meta.id, existing.values);
      const patch = { ...withoutUndefined(row as PlainRow), [state.declared.id]: id };
      return await this.#present(
        await this.#changeIn(transaction, id, existing, { ...await this.#current(existing), ...patch }),
      );
    });
  }

  /** Deletes a row; false when there is none. Two round trips. Throws StaleVersionError. */
  delete(id: Id, options: ChangeOptions = {}): Promise<boolean> {
    const { state } = this.#scope;
    checkId(state.declared, id);
    return this.#scope.write(async (transaction) => {
      fence(transaction, options);
      const row = await transaction.row(state, id);
      if (row === undefined) return false;
      checkVersion(this.name, id, row, options);
      transaction.remove(state, id, row);
      return true;
    });
  }

  /** Deletes every row, as {@link Query.delete} does. `db.drop` also removes the table, and is faster. */
  deleteAll(): Promise<number> {
    return this.query().delete();
  }

  /**
   * Every change of a row, in order, from now or from a revision on. Continues after a broken connection without a gap.
   * Throws CompactedError when etcd no longer has the missing changes, so that none is skipped silently. Ends when the
   * signal is aborted.
   */
  watch(options: WatchOptions = {}): AsyncIterable<Change<Row, Id>> {
    const { state } = this.#scope;
    return watchTable(state, options, (row) => presentRow<Row>(state, row));
  }

  /** The table as JSON lines, read at one revision, each with its line break. portable.ts describes the format. */
  async *export(options: ExportOptions = {}): AsyncGenerator<string> {
    const { state } = this.#scope;
    await state.refresh();
    yield `${headerLine(state)}\n`;
    const scan = { kind: "row", field: state.meta.id, intervals: everything } as const;
    for await (const page of scanRows(this.#scope.reader(), state, scan, { reverse: false })) {
      for (const row of page) yield `${await rowLine(state, row, options)}\n`;
    }
  }

  /**
   * Stores the rows of an export, each in its own transaction: rows stored before an error remain. Throws BadImportError
   * with the number of an invalid line, and what insert throws.
   */
  async import(
    chunks: AsyncIterable<string> | Iterable<string>,
    { onConflict = "fail" }: ImportOptions = {},
  ): Promise<ImportReport> {
    const { state } = this.#scope;
    const report: ImportReport = { inserted: 0, replaced: 0, skipped: 0 };
    let number = 0;
    for await (const line of linesOf(chunks)) {
      if (++number === 1) {
        checkHeader(state, line);
        continue;
      }
      if (line.trim() === "") continue;
      const row = await parseRow(state, line, number);
      try {
        await this.insert(row as Insert);
        report.inserted++;
      } catch (error) {
        if (onConflict === "fail" || !idIsTaken(state, error)) throw error;
        if (onConflict === "replace") await this.replace(row as Insert & Partial<Row>);
        report[onConflict === "replace" ? "replaced" : "skipped"]++;
      }
    }
    if (number === 0) checkHeader(state, undefined);
    return report;
  }

  #present(stored: StoredRow): Row | Promise<Row> {
    return presentRow<Row>(this.#scope.state, stored);
  }

  async #insertInto(transaction: Transaction, row: PlainRow, reserved?: number): Promise<StoredRow> {
    const { state } = this.#scope;
    const id = await this.#newId(transaction, row[state.declared.id], reserved);
    return transaction.insert(state, id, await toStored(state, id, row));
  }

  async #newId(transaction: Transaction, given: unknown, reserved: number | undefined): Promise<Orderable> {
    const { state } = this.#scope;
    if (given !== undefined && given !== null) {
      checkId(state.declared, given);
      if (typeof given === "number") {
        const raise = await state.counter.raise(given);
        if (raise !== undefined) transaction.useRaise(raise);
      }
      return given;
    }
    if (state.declared.idType === "id") return uuid(state.store.platform.randomBytes(16));
    if (reserved !== undefined) return reserved;
    // Within a longer transaction the number is reserved now: claimed at the commit, it would conflict with other inserts.
    if (this.#scope.many === "together") return await state.counter.reserve(1);
    const ticket = await state.counter.take();
    transaction.useTicket(ticket);
    return ticket.number;
  }

  async #insertBatch(rows: readonly PlainRow[], options: WriteOptions): Promise<Row[]> {
    const { state } = this.#scope;
    const unnumbered = rows.filter((row) => (row[state.declared.id] ?? null) === null).length;
    const numbered = state.declared.idType === "increment" && unnumbered > 0;
    const first = numbered ? await state.counter.reserve(unnumbered) : undefined;
    // A row with its own number raises the counter, which one transaction can do once, so such rows are stored singly.
    const raising = state.declared.idType === "increment" && unnumbered < rows.length;
    if (raising && rows.length > 1) {
      const single: Row[] = [];
      for (const row of rows) single.push(...await this.#insertBatch([row], options));
      return single;
    }
    try {
      return await this.#scope.write(async (transaction) => {
        fence(transaction, options);
        const stored: StoredRow[] = [];
        for (const [index, row] of rows.entries()) {
          stored.push(await this.#insertInto(transaction, row, first === undefined ? undefined : first + index));
        }
        return await Promise.all(stored.map((row) => this.#present(row)));
      }, "several");
    } catch (error) {
      // Half as many long rows may fit. Within a transaction the rows cannot be split.
      if (!(error instanceof TooLargeError) || rows.length === 1 || this.#scope.many === "together") throw error;
      const middle = rows.length >> 1;
      const head = await this.#insertBatch(rows.slice(0, middle), options);
      return [...head, ...await this.#insertBatch(rows.slice(middle), options)];
    }
  }

  #change(id: Id, options: ChangeOptions, next: (current: PlainRow) => PlainRow): Promise<Row> {
    const { state } = this.#scope;
    checkId(state.declared, id);
    return this.#scope.write(async (transaction) => {
      fence(transaction, options);
      const row = await transaction.row(state, id);
      if (row === undefined) {
        throw new NotFoundError(`Cannot change row "${String(id)}" of table "${this.name}": no such row`, {
          table: this.name,
        });
      }
      checkVersion(this.name, id, row, options);
      return await this.#present(await this.#changeIn(transaction, id, row, next(await this.#current(row))));
    });
  }

  /** Encrypted values stay sealed unless a Standard Schema must validate them. */
  #current(row: StoredRow): PlainRow | Promise<PlainRow> {
    const { state } = this.#scope;
    return state.declared.schema === undefined ? sealedRow(state, row) : fromStored(state, row);
  }

  async #changeIn(
    transaction: Transaction,
    id: Orderable,
    before: StoredRow & { modRevision: number },
    next: PlainRow,
  ): Promise<StoredRow> {
    const { state } = this.#scope;
    const given = next[state.declared.id];
    if (given !== undefined && given !== id) {
      throw new WrongTypeError(`Cannot change row "${String(id)}" of table "${this.name}": its id cannot change`, {
        table: this.name,
        field: state.declared.id,
        hint: "insert a row with the new id and delete this one, in one transaction",
      });
    }
    return transaction.update(state, id, before, await toStored(state, id, next, before.values));
  }

  /** The row with a value in the id or a unique field, including the transaction's changes. */
  async #locate(
    transaction: Transaction,
    field: string,
    value: unknown,
  ): Promise<(StoredRow & { modRevision: number }) | undefined> {
    const { state } = this.#scope;
    const { declared, layout, meta } = state;
    checkKnown(declared, field);
    if (value === undefined || value === null) return undefined;
    if (field === declared.id) {
      checkId(declared, value);
      return await transaction.row(state, value);
    }
    if (meta.fields[field]?.index !== "unique") {
      throw new UnknownFieldError(`Cannot upsert into table "${this.name}" by "${field}": the field is not unique`, {
        table: this.name,
        field,
      });
    }
    checkKeyValue(this.name, field, value);
    for (const [, row] of transaction.changed(state) ?? []) {
      const same = row !== undefined && storedValue(meta, field, row.values) === value;
      if (same) return await transaction.row(state, idOf(declared, meta.id, row.values));
    }
    const key = forwardKey({ space: layout.index(field, "unique"), suffix: encodeOrdered(value) });
    const [kv] = (await transaction.read(state, [{ key }]))[0]!.kvs;
    if (kv === undefined) return undefined;
    const decoded = decodeRow(kv.value);
    if (decoded === undefined) {
      throw new CorruptError(`Cannot read table "${this.name}": an index entry was not written by e2db`, {
        table: this.name,
        field,
      });
    }
    const id = decoded.kind === "row" ? idOf(declared, meta.id, decoded.row.values) : idFrom(decoded.pointer.id);
    const row = await transaction.row(state, id);
    // This transaction may have changed the row's value.
    return row !== undefined && storedValue(meta, field, row.values) === value ? row : undefined;
  }
}

function idFrom(bytes: Uint8Array): Orderable {
  return decodeOrdered(bytes)!.value;
}

function fence(transaction: Transaction, { fence }: WriteOptions): void {
  if (fence !== undefined) transaction.fence(fence);
}

function checkVersion(table: string, id: Orderable, row: StoredRow, { version }: ChangeOptions): void {
  if (version === undefined || version === toBase64Url(row.writeId)) return;
  throw new StaleVersionError(
    `Cannot change row "${String(id)}" of table "${table}": it has changed since version "${version}"`,
    { table, hint: "read the row again and repeat the change" },
  );
}

const withoutUndefined = (row: object): PlainRow =>
  Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined));

/** A version 4 UUID (RFC 9562, 5.4). */
function uuid(bytes: Uint8Array): string {
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
