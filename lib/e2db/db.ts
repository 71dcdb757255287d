import { type CheckReport, checkTable } from "./check.ts";
import { Cipher } from "./schema/cipher.ts";
import { utf8 } from "./schema/bytes.ts";
import { BadSchemaError, ConflictError } from "./errors.ts";
import { type EtcdOptions, openEtcdKv } from "./kv/etcd_kv.ts";
import type { FieldMap, IdOf, InsertOf, RowOf } from "./schema/field.ts";
import type { Kv } from "./kv/kv.ts";
import { endOf, Layout } from "./schema/layout.ts";
import { acquireLock, type Lock, type LockOptions } from "./kv/lock.ts";
import { openTable, putMeta } from "./open_table.ts";
import { dropTable } from "./drop_table.ts";
import { defaultPlatform, type Platform } from "./platform.ts";
import type { Scope } from "./scope.ts";
import { SnapshotReader, withSchema } from "./kv/reader.ts";
import { runTransaction } from "./run_transaction.ts";
import { checkName, declareFields, declareSchema, narrow, type Narrowing, type SchemaRoles } from "./schema/schema.ts";
import {
  isStandardSchema,
  type SchemaInput,
  type SchemaOutput,
  type StandardSchema,
} from "./schema/standard_schema.ts";
import { Store } from "./kv/store.ts";
import { Table } from "./table.ts";
import { readMeta, type TableState, unknownTable } from "./table_state.ts";
import type { Fence, Transaction } from "./transaction.ts";

export type OpenOptions = (EtcdOptions | { kv: Kv }) & {
  /** The prefix of all keys; letters, digits and _ . - /. */
  namespace: string;
  /** 32 bytes for encrypted fields. */
  key?: Uint8Array;
  /** Keys with which older values were encrypted. */
  oldKeys?: readonly Uint8Array[];
  /** How long to retry a call without an answer, or a transaction with conflicts. Default 30,000. */
  giveUpMs?: number;
  platform?: Platform;
};

/**
 * Opens a database; a given `kv` is closed with it. Connects at the first call, so a wrong address is reported there.
 * Throws BadSchemaError for an invalid namespace or key.
 */
export async function open(options: OpenOptions): Promise<Db> {
  const { namespace, key, oldKeys = [], giveUpMs = 30_000, platform = defaultPlatform } = options;
  if (!/^[A-Za-z0-9_.\/-]{1,200}$/.test(namespace)) {
    throw new BadSchemaError(`Cannot use namespace "${namespace}": not 1 to 200 of A-Z a-z 0-9 _ . - /`);
  }
  const cipher = await Cipher.create([...(key === undefined ? [] : [key]), ...oldKeys], platform);
  const kv = "kv" in options ? options.kv : await openEtcdKv(options);
  return new Db(new Store(kv, platform, { giveUpMs }), namespace, cipher, giveUpMs);
}

/** The fields of a Standard Schema that have a role; the id is "id" unless named. */
export interface Roles<Row, IdName extends keyof Row & string> extends SchemaRoles {
  id?: IdName;
  unique?: readonly (keyof Row & string)[];
  index?: readonly (keyof Row & string)[];
  encrypted?: readonly (keyof Row & string)[];
}

type AsObject<T> = T extends object ? T : never;
/** The input of a Standard Schema with an optional id, which e2db fills in. */
type InsertOfSchema<Input, IdName extends PropertyKey> =
  & Omit<Input, IdName>
  & { [K in IdName]?: K extends keyof Input ? Input[K] | undefined : never };

// deno-lint-ignore no-explicit-any -- stands for every table
type SomeTable = Table<any, any, any>;

/** One transaction: use its tables instead of the database's. */
export interface Tx {
  /** The table as this transaction sees it; it must belong to the same database. */
  table<T extends SomeTable>(table: T): T;
  /** The commit fails with LockLostError unless the lock is still held at that moment. */
  fence(lock: Fence): void;
}

export class Db implements AsyncDisposable {
  readonly #store: Store;
  readonly #namespace: string;
  readonly #cipher: Cipher;
  readonly #giveUpMs: number;
  readonly #states = new WeakSet<TableState>();

  /** Use {@link open}. */
  constructor(store: Store, namespace: string, cipher: Cipher, giveUpMs: number) {
    this.#store = store;
    this.#namespace = namespace;
    this.#cipher = cipher;
    this.#giveUpMs = giveUpMs;
  }

  /**
   * Opens a table, which is created if necessary. Builds the indexes of added fields while other programs continue to
   * read and write. Throws BadSchemaError for an invalid declaration, SchemaChangeError for one that is incompatible with
   * the stored rows, DuplicateError when rows share a value of a field that becomes unique.
   */
  table<F extends FieldMap>(name: string, fields: F): Promise<Table<RowOf<F>, InsertOf<F>, IdOf<F>>>;
  table<S extends StandardSchema, IdName extends keyof SchemaOutput<S> & string = "id" & keyof SchemaOutput<S>>(
    name: string,
    schema: S,
    roles?: Roles<SchemaOutput<S>, IdName>,
  ): Promise<
    Table<
      AsObject<SchemaOutput<S>>,
      AsObject<InsertOfSchema<SchemaInput<S>, IdName>>,
      NonNullable<SchemaOutput<S>[IdName]>
    >
  >;
  async table(name: string, shape: FieldMap | StandardSchema, roles: SchemaRoles = {}): Promise<SomeTable> {
    const declared = isStandardSchema(shape) ? declareSchema(name, shape, roles) : declareFields(name, shape);
    const state = await openTable(this.#store, this.#namespace, declared, this.#cipher);
    this.#states.add(state);
    return new Table(this.#scopeOf(state));
  }

  /** The names of all tables, sorted. */
  async tables(): Promise<string[]> {
    const prefix = utf8(`${this.#namespace}!m/`);
    const { kvs } = await this.#store.range({ key: prefix, end: endOf(prefix), keysOnly: true });
    return kvs.map((kv) => new TextDecoder().decode(kv.key.subarray(prefix.length)));
  }

  /** Removes a table with all its rows, in batches; it is unusable immediately. Throws UnknownTableError. */
  drop(name: string): Promise<void> {
    checkName("table", name);
    return dropTable(this.#store, new Layout(this.#namespace, name));
  }

  /**
   * Removes indexes, or makes required fields optional, which a declaration cannot do. Throws UnknownTableError, or
   * SchemaChangeError for a field that the table does not have.
   */
  async alter(name: string, narrowing: Narrowing): Promise<void> {
    checkName("table", name);
    const layout = new Layout(this.#namespace, name);
    while (true) {
      const stored = await readMeta(this.#store, layout);
      if (stored === undefined || stored.meta.state === "dropping") throw unknownTable(name);
      const changed = await putMeta(this.#store, layout, narrow(name, stored.meta, narrowing), stored.revision);
      if (changed !== undefined) return;
    }
  }

  /**
   * Runs `action` as one serializable transaction over any number of tables: all reads are of one revision, all writes
   * are applied at one revision, and nothing that was read has changed in between. When another writer commits first,
   * `action` is called again, so it should have no other side effects. When it throws, nothing is written. Throws
   * TooLargeError for more than 128 operations or 1.5 MiB, ConflictError when there are conflicts for `giveUpMs`.
   */
  transaction<T>(action: (tx: Tx) => Promise<T>): Promise<T> {
    return runTransaction(this.#store, "several", { giveUpMs: this.#giveUpMs }, (transaction) =>
      action({
        table: <U extends SomeTable>(table: U): U =>
          table.within((state) => {
            if (!this.#states.has(state)) {
              throw new ConflictError(`Cannot use table "${state.name}" in a transaction of another database`, {
                table: state.name,
              });
            }
            return transactionScope(state, transaction);
          }) as U,
        fence: (lock) => transaction.fence(lock),
      }));
  }

  /** Acquires a lock, in the order of requests. Use `await using` so that it is released in every case. */
  lock(name: string, options: LockOptions = {}): Promise<Lock> {
    return acquireLock(this.#store, this.#namespace, name, options);
  }

  /**
   * Compares every index of all tables, or of the named ones, with all rows at one revision. Keeps the keys of one table
   * in memory. Throws UnknownTableError.
   */
  async check(tables?: readonly string[]): Promise<CheckReport> {
    const report: CheckReport = { rows: 0, entries: 0, problems: [] };
    for (const name of tables ?? await this.tables()) {
      checkName("table", name);
      await checkTable(this.#store, new Layout(this.#namespace, name), report);
    }
    return report;
  }

  /** Closes the connection: watches end, locks expire. */
  close(): void {
    this.#store.kv.close();
  }

  // deno-lint-ignore require-await -- the interface wants a promise
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  #scopeOf(state: TableState): Scope {
    const store = this.#store;
    return {
      state,
      many: "each",
      read: (action) => state.withCurrentSchema(() => withSchema(() => action(new SnapshotReader(store)))),
      write: (action, rows = "single") =>
        state.withCurrentSchema(() => runTransaction(store, rows, { giveUpMs: this.#giveUpMs }, action)),
      reader: () => new SnapshotReader(store),
    };
  }
}

const transactionScope = (state: TableState, transaction: Transaction): Scope => ({
  state,
  many: "together",
  read: (action) => action(transaction),
  write: (action) => action(transaction),
  reader: () => transaction,
});
