/**
 * One transaction: it reads at one revision, buffers its writes, and commits them by one etcd transaction that is applied
 * only if nothing that was read has changed. Transactions are therefore serializable: at the commit's revision all reads
 * would return the same answers.
 *
 * - A row that was read by its key is compared by its revision (0 for "absent").
 * - A range that was read is compared as a range: no key in it is newer than the snapshot, so no row was added or changed.
 *   A removed row leaves no key to compare. Therefore every write that removes an entry from an index also writes that
 *   index's guard, and a transaction that has read a range of the index compares the guard.
 * - The schema of each table is compared, so no write follows an old schema.
 *
 * Every single write (insert, update, …) is such a transaction of one row.
 */
import { binaryString } from "./schema/bytes.ts";
import { decodeRow, type StoredRow, type Values, writeIdBytes } from "./schema/codec.ts";
import { ConflictError, CorruptError, DuplicateError, LockLostError, TooLargeError } from "./errors.ts";
import type { Compare, Operation, RangeRequest, RangeResponse, TxnResponse } from "./kv/kv.ts";
import { type CommitPlan, type Fresh, nameOf, planCommit, type Write } from "./commit_plan.ts";
import type { Ticket } from "./counter.ts";
import { endOf, forwardKey, type Space } from "./schema/layout.ts";
import { encodeOrdered, type Orderable } from "./schema/order.ts";
import { type Reader, SchemaChanged, schemaUnchanged } from "./kv/reader.ts";
import type { Evidence, Store } from "./kv/store.ts";
import type { TableState } from "./table_state.ts";

/** A lock that must still be held when the transaction commits. */
export interface Fence {
  readonly name: string;
  readonly key: Uint8Array;
  /** The revision at which the lock was acquired: larger for each later holder. */
  readonly token: number;
}

/** Thrown within e2db when another writer committed first: the transaction must be repeated. */
export class Conflict extends Error {}

/** A table's changes by the encoded id as text. */
type Writes = Map<string, Write>;

/** etcd reads the range of a compare while it applies the transaction, so its size must be bounded. */
const rangeRowsMax = 10_000;

export class Transaction implements Reader {
  readonly #store: Store;
  readonly #kind: "single" | "several";
  #revision: number | undefined;
  readonly #tables = new Set<TableState>();
  readonly #points = new Map<string, { key: Uint8Array; modRevision: number }>();
  readonly #ranges = new Map<string, { key: Uint8Array; end: Uint8Array }>();
  #rangeRows = 0;
  readonly #guards = new Map<string, Uint8Array>();
  readonly #writes = new Map<TableState, Writes>();
  readonly #fences = new Map<string, Fence>();
  readonly #tickets: Ticket[] = [];
  readonly #raised: { compare: Compare; put: Operation }[] = [];
  #ended = false;

  constructor(store: Store, kind: "single" | "several") {
    this.#store = store;
    this.#kind = kind;
  }

  get revision(): number | undefined {
    return this.#revision;
  }

  async read(state: TableState, requests: readonly RangeRequest[], use?: "auxiliary"): Promise<RangeResponse[]> {
    this.#enter();
    const response = await this.#store.read({
      compares: [schemaUnchanged(state)],
      success: requests.map((request) => ({ kind: "range", request: { ...request, revision: this.#revision } })),
      failure: [],
    });
    // A schema newer than the snapshot may name an index that is incomplete in the snapshot.
    if (!response.succeeded || state.metaRevision > (this.#revision ?? Infinity)) throw new SchemaChanged(state);
    this.#revision ??= response.revision;
    this.#tables.add(state);
    const ranges = response.ranges as RangeResponse[];
    if (use !== "auxiliary") requests.forEach((request, index) => this.#remember(state, request, ranges[index]!));
    return ranges;
  }

  changed(state: TableState): ReadonlyMap<string, StoredRow | undefined> | undefined {
    const writes = this.#writes.get(state);
    return writes && new Map([...writes].map(([name, write]) => [name, write.after]));
  }

  /** A row including this transaction's own changes. */
  async row(state: TableState, id: Orderable): Promise<(StoredRow & { modRevision: number }) | undefined> {
    return (await this.rows(state, [id]))[0];
  }

  /** Needs one round trip for each 128 rows. */
  async rows(
    state: TableState,
    ids: readonly Orderable[],
  ): Promise<((StoredRow & { modRevision: number }) | undefined)[]> {
    this.#enter();
    const writes = this.#writes.get(state);
    const keys = ids.map((id) => encodeOrdered(id));
    const space = state.layout.rows(state.meta.id);
    const missing = keys.filter((key) => !writes?.has(binaryString(key)));
    const found = new Map<string, StoredRow & { modRevision: number }>();
    for (let at = 0; at < missing.length; at += 128) {
      const requests = missing.slice(at, at + 128).map((suffix) => ({ key: forwardKey({ space, suffix }) }));
      for (const { kvs: [kv] } of await this.read(state, requests)) {
        if (kv === undefined) continue;
        const decoded = decodeRow(kv.value);
        if (decoded?.kind !== "row") throw corruptRow(state);
        found.set(binaryString(kv.key.subarray(space.forward.length)), {
          ...decoded.row,
          modRevision: kv.modRevision,
        });
      }
    }
    return keys.map((key) => {
      const name = binaryString(key);
      const write = writes?.get(name);
      if (write === undefined) return found.get(name);
      return write.after && { ...write.after, modRevision: write.before?.modRevision ?? 0 };
    });
  }

  /** A row that must not exist. It is not read before, so that a single insert needs one round trip. */
  insert(state: TableState, id: Orderable, values: Values): StoredRow {
    this.#enter();
    const name = binaryString(encodeOrdered(id));
    const earlier = this.#writes.get(state)?.get(name);
    if (earlier?.after !== undefined) throw duplicateId(state, id);
    const known = this.#points.get(binaryString(this.#rowKey(state, id)));
    if (earlier === undefined && known !== undefined && known.modRevision > 0) throw duplicateId(state, id);
    return this.#write(state, id, earlier?.before, values)!;
  }

  /** Changes a row that this transaction has read. */
  update(state: TableState, id: Orderable, seen: { values: Values; modRevision: number }, values: Values): StoredRow {
    this.#enter();
    const earlier = this.#writes.get(state)?.get(binaryString(encodeOrdered(id)));
    return this.#write(state, id, earlier === undefined ? seen : earlier.before, values)!;
  }

  /** Deletes a row that this transaction has read. */
  remove(state: TableState, id: Orderable, seen: { values: Values; modRevision: number }): void {
    this.#enter();
    const earlier = this.#writes.get(state)?.get(binaryString(encodeOrdered(id)));
    this.#write(state, id, earlier === undefined ? seen : earlier.before, undefined);
  }

  /** The commit fails with LockLostError unless the lock is still held at that moment. */
  fence(fence: Fence): void {
    this.#enter();
    this.#fences.set(binaryString(fence.key), fence);
  }

  useTicket(ticket: Ticket): void {
    this.#tickets.push(ticket);
  }

  useRaise(raise: { compare: Compare; put: Operation }): void {
    this.#raised.push(raise);
  }

  /** The revision of the commit; undefined when there was nothing to write. Throws Conflict. */
  async commit(): Promise<number | undefined> {
    this.#enter();
    this.#ended = true;
    let committed: number | undefined;
    try {
      const writes = [...this.#writes.values()].flatMap((writes) => [...writes.values()]);
      const changes = writes.filter(({ before, after }) => before !== undefined || after !== undefined);
      // All reads are of one revision, so a transaction without writes is consistent.
      if (changes.length === 0 && this.#fences.size === 0) return undefined;
      committed = await this.#apply(changes);
      return committed;
    } finally {
      for (const ticket of this.#tickets) ticket.settle(committed);
    }
  }

  /** Releases the numbers of a transaction that is not committed. */
  abandon(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const ticket of this.#tickets) ticket.settle(undefined);
  }

  #enter(): void {
    if (this.#ended) {
      throw new ConflictError("Cannot use a transaction: it has ended", {
        hint: "await every call within the function passed to transaction(), and begin a new transaction after it",
      });
    }
  }

  #remember(state: TableState, request: RangeRequest, response: RangeResponse): void {
    const { key, end } = request;
    if (end === undefined) {
      this.#points.set(binaryString(key), { key, modRevision: response.kvs[0]?.modRevision ?? 0 });
      return;
    }
    this.#rangeRows += request.countOnly ? response.count : response.kvs.length;
    if (this.#rangeRows > rangeRowsMax) {
      throw new TooLargeError(
        `Cannot read table "${state.name}" in a transaction: its ranges have more than ${rangeRowsMax} rows in total`,
        { table: state.name, hint: "narrow the query, or read outside the transaction" },
      );
    }
    // A read that was cut by its limit covers the range up to its last key only.
    const last = response.more ? response.kvs.at(-1) : undefined;
    const covered = last === undefined ? end : endOf(last.key);
    this.#ranges.set(binaryString(key) + "\0" + binaryString(covered), { key, end: covered });
    const space = this.#spaces(state).find((space) => startsWith(key, space.forward));
    if (space !== undefined) this.#guards.set(binaryString(space.guard), space.guard);
  }

  #spaces(state: TableState): Space[] {
    const indexes = Object.entries(state.meta.fields).flatMap(([name, shape]) =>
      shape.index === "none" ? [] : [state.layout.index(name, shape.index)]
    );
    return [state.layout.rows(state.meta.id), ...indexes];
  }

  #rowKey(state: TableState, id: Orderable): Uint8Array {
    return forwardKey({ space: state.layout.rows(state.meta.id), suffix: encodeOrdered(id) });
  }

  #write(state: TableState, id: Orderable, before: Write["before"], values: Values | undefined): StoredRow | undefined {
    this.#tables.add(state);
    const after = values && { values, writeId: this.#store.platform.randomBytes(writeIdBytes) };
    const writes = this.#writes.get(state) ?? new Map();
    this.#writes.set(state, writes);
    if (after !== undefined) this.#refuseOwnDuplicates(state, id, after.values, writes);
    writes.set(binaryString(encodeOrdered(id)), { state, id, before, after });
    return after;
  }

  /** Two rows of one transaction with the same unique value would silently overwrite each other's entry. */
  #refuseOwnDuplicates(state: TableState, id: Orderable, values: Values, writes: Writes): void {
    const { layout, meta } = state;
    const own = binaryString(encodeOrdered(id));
    const mine = layout.entries(meta, id, values).filter(({ space, exclusive }) => exclusive && space.kind === "unique")
      .map(nameOf);
    if (mine.length === 0) return;
    for (const [name, { id: otherId, after }] of writes) {
      if (name === own || after === undefined) continue;
      for (const entry of layout.entries(meta, otherId, after.values)) {
        if (mine.includes(nameOf(entry))) throw duplicateValue(state, entry.space.field);
      }
    }
  }

  async #apply(changes: Write[]): Promise<number> {
    const plan = planCommit(changes, this.#store.platform.randomBytes(writeIdBytes));
    for (const [name, kept] of this.#points) if (!plan.points.has(name)) plan.points.set(name, kept);
    const before = this.#revision === undefined ? undefined : this.#revision + 1;
    const tables = [...this.#tables];
    const fences = [...this.#fences.values()];
    const counters = [...this.#tickets.flatMap(({ claim }) => claim ?? []), ...this.#raised];
    const compares: Compare[] = [
      ...tables.map(schemaUnchanged),
      ...[...plan.points.values()].map(({ key, modRevision }): Compare => ({
        key,
        target: "mod",
        result: "equal",
        revision: modRevision,
      })),
      ...[...this.#ranges.values()].map((range): Compare => ({
        ...range,
        target: "mod",
        result: "less",
        revision: before!,
      })),
      ...[...this.#guards.values()].map((key): Compare => ({ key, target: "mod", result: "less", revision: before! })),
      ...fences.map(({ key, token }): Compare => ({ key, target: "create", result: "equal", revision: token })),
      ...counters.map(({ compare }) => compare),
    ];
    const readOnFailure: Uint8Array[] = [
      ...tables.map((table) => table.layout.meta),
      ...fences.map(({ key }) => key),
      ...counters.map(({ compare }) => compare.key),
      ...plan.fresh.map(({ key }) => key),
    ];
    const table = tables.length === 1 ? tables[0]!.name : undefined;
    const response = await this.#store.commit(
      {
        compares,
        success: [...plan.operations, ...counters.map(({ put }) => put)],
        failure: readOnFailure.map((key) => ({ kind: "range", request: { key, keysOnly: true } })),
      },
      this.#evidence(changes, plan),
      { table },
    );
    if (response.succeeded) return response.revision;
    throw this.#failureOf(response, { tables, fences, counters: counters.map(({ compare }) => compare), ...plan });
  }

  /** A deletion is evident from the guard, which stays; any other write from its first row. */
  #evidence(changes: readonly Write[], plan: CommitPlan): Evidence | undefined {
    const afterRevision = Math.max(0, ...changes.map(({ before }) => before?.modRevision ?? 0));
    const goneMeans = this.#kind === "single" ? "not_applied" : "unknown";
    if (plan.guard !== undefined) return { ...plan.guard, holds: "guard", afterRevision, goneMeans };
    const put = changes.find(({ after }) => after !== undefined);
    if (put === undefined) return undefined;
    const { writeId } = put.after!;
    return { key: this.#rowKey(put.state, put.id), holds: "row", writeId, afterRevision, goneMeans };
  }

  /** Distinguishes a duplicate, a lost lock and a changed schema from a conflict by the keys that the failed commit read. */
  #failureOf(response: TxnResponse, { tables, fences, counters, fresh }: FailureReads): unknown {
    const seen = response.ranges.map((range) => range!.kvs[0]);
    for (const state of tables) {
      if (seen.shift()?.modRevision !== state.metaRevision) return new SchemaChanged(state);
    }
    for (const { name, token } of fences) {
      if (seen.shift()?.createRevision !== token) {
        return new LockLostError(`Cannot write under lock "${name}": it is no longer held`, {
          hint: "acquire the lock again and repeat the work: another holder may have changed the data",
        });
      }
    }
    // Another process has taken the number, so the row under it is not a duplicate.
    for (const { revision } of counters) {
      if ((seen.shift()?.modRevision ?? 0) !== revision) return new Conflict("another writer took the number");
    }
    for (const { state, id, field } of fresh) {
      const kv = seen.shift();
      // A row newer than the snapshot is a conflict: the next attempt reads it and may decide otherwise.
      if (kv === undefined || (this.#revision !== undefined && kv.modRevision > this.#revision)) continue;
      return field === undefined ? duplicateId(state, id) : duplicateValue(state, field);
    }
    return new Conflict("another writer committed first");
  }
}

/** The keys that a failed commit reads, in this order. */
interface FailureReads {
  tables: readonly TableState[];
  fences: readonly Fence[];
  counters: readonly Compare[];
  fresh: readonly Fresh[];
}

function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  if (bytes.length < prefix.length) return false;
  for (let i = 0; i < prefix.length; i++) if (bytes[i] !== prefix[i]) return false;
  return true;
}

const duplicateId = (state: TableState, id: Orderable) =>
  new DuplicateError(`Cannot insert into table "${state.name}": id "${String(id)}" exists already`, {
    table: state.name,
    field: state.meta.id,
  });

const duplicateValue = (state: TableState, field: string) =>
  new DuplicateError(`Cannot write to table "${state.name}": another row has this value in unique field "${field}"`, {
    table: state.name,
    field,
  });

const corruptRow = (state: TableState) =>
  new CorruptError(`Cannot read a row of table "${state.name}": not written by e2db`, { table: state.name });
