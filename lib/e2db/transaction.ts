/**
 * One transaction: reads at one revision, writes kept back, and one etcd transaction at the end that applies them only
 * if everything read is still so. That makes it serializable: at the commit's revision all its reads would give the same
 * answers.
 *
 * - A row read by its key is compared by its revision (0 for "not there").
 * - A range read is compared as a range: no key in it is newer than the snapshot, so nothing came or changed. What went
 *   away leaves no key to compare; therefore every write that removes an entry from an index also writes that index's
 *   guard, and whoever has read a range of it compares the guard.
 * - The schema of each table is compared, so nobody writes by an old one.
 *
 * Every single write (insert, update, …) is such a transaction of one row.
 */
import { binaryString } from "./bytes.ts";
import { decodeRow, encodeRow, type StoredRow, type Values, writeIdBytes } from "./codec.ts";
import { ConflictError, CorruptError, DuplicateError, LockLostError, TooLargeError } from "./errors.ts";
import type { Compare, Operation, RangeRequest, RangeResponse, TxnResponse } from "./kv.ts";
import type { Ticket } from "./counter.ts";
import { endOf, type Entry, forwardKey, sampleKeys, type Space } from "./layout.ts";
import { encodeOrdered, type Orderable } from "./order.ts";
import { type Reader, schemaHolds, SchemaMoved } from "./reader.ts";
import type { Evidence, Store } from "./store.ts";
import type { TableState } from "./table_state.ts";

/** A lock that must still be held when the transaction commits. */
export interface Fence {
  readonly name: string;
  readonly key: Uint8Array;
  /** The revision at which the lock was taken: larger for each later holder. */
  readonly token: number;
}

/** Thrown within e2db when another writer came first: begin again. */
export class Conflict extends Error {}

/** What a row was and is to be. */
interface Write {
  state: TableState;
  id: Orderable;
  before: { values: Values; modRevision: number } | undefined;
  after: StoredRow | undefined;
}

/** A table's changes by the text of the id's encoding. */
type Writes = Map<string, Write>;

/** etcd evaluates a range compare by reading the range while it applies the transaction, so its size is bounded. */
export const rangeRowsMax = 10_000;

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
      compares: [schemaHolds(state)],
      success: requests.map((request) => ({ kind: "range", request: { ...request, revision: this.#revision } })),
      failure: [],
    });
    // A schema newer than the snapshot may name an index that the snapshot does not have in full.
    if (!response.succeeded || state.metaRevision > (this.#revision ?? Infinity)) throw new SchemaMoved(state);
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

  /** A row as this transaction sees it, its own changes included. */
  async row(state: TableState, id: Orderable): Promise<(StoredRow & { modRevision: number }) | undefined> {
    return (await this.rows(state, [id]))[0];
  }

  /** Several rows in one round trip for each 128. */
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

  /** A row that must not exist yet; not read before, so that a lone insert takes one round trip. */
  insert(state: TableState, id: Orderable, values: Values): StoredRow {
    this.#enter();
    const name = binaryString(encodeOrdered(id));
    const earlier = this.#writes.get(state)?.get(name);
    if (earlier?.after !== undefined) throw duplicateId(state, id);
    const known = this.#points.get(binaryString(this.#rowKey(state, id)));
    if (earlier === undefined && known !== undefined && known.modRevision > 0) throw duplicateId(state, id);
    return this.#write(state, id, earlier?.before, values)!;
  }

  /** A new state of a row that this transaction has read. */
  update(state: TableState, id: Orderable, seen: { values: Values; modRevision: number }, values: Values): StoredRow {
    this.#enter();
    const earlier = this.#writes.get(state)?.get(binaryString(encodeOrdered(id)));
    return this.#write(state, id, earlier === undefined ? seen : earlier.before, values)!;
  }

  /** The end of a row that this transaction has read. */
  remove(state: TableState, id: Orderable, seen: { values: Values; modRevision: number }): void {
    this.#enter();
    const earlier = this.#writes.get(state)?.get(binaryString(encodeOrdered(id)));
    this.#write(state, id, earlier === undefined ? seen : earlier.before, undefined);
  }

  /** The commit will fail with LockLostError unless the lock is still held then. */
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

  /** Gives the revision of the commit, or undefined where there was nothing to write. Throws Conflict to begin again. */
  async commit(): Promise<number | undefined> {
    this.#enter();
    this.#ended = true;
    let committed: number | undefined;
    try {
      const writes = [...this.#writes.values()].flatMap((writes) => [...writes.values()]);
      const changes = writes.filter(({ before, after }) => before !== undefined || after !== undefined);
      // All reads are of one revision, so a transaction that writes nothing is consistent as it is.
      if (changes.length === 0 && this.#fences.size === 0) return undefined;
      committed = await this.#apply(changes);
      return committed;
    } finally {
      for (const ticket of this.#tickets) ticket.settle(committed);
    }
  }

  /** For a transaction that is given up. */
  abandon(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const ticket of this.#tickets) ticket.settle(undefined);
  }

  #enter(): void {
    if (this.#ended) {
      throw new ConflictError("Cannot use a transaction: it has ended", {
        hint: "await everything within the function given to transaction(), and begin a new one after it",
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
        `Cannot read on in a transaction: over ${rangeRowsMax} rows of ranges, among them of table "${state.name}"`,
        { table: state.name, hint: "narrow the query, or read outside of the transaction" },
      );
    }
    // A read that its limit cut short says nothing about what comes after its last key.
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

  /** Two rows of one transaction with one unique value would overwrite each other's entry unseen. */
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
    const build = buildCommit(changes, this.#store.platform.randomBytes(writeIdBytes));
    for (const [name, kept] of this.#points) if (!build.points.has(name)) build.points.set(name, kept);
    const before = this.#revision === undefined ? undefined : this.#revision + 1;
    const tables = [...this.#tables];
    const fences = [...this.#fences.values()];
    const counters = [...this.#tickets.flatMap(({ claim }) => claim ?? []), ...this.#raised];
    const compares: Compare[] = [
      ...tables.map(schemaHolds),
      ...[...build.points.values()].map(({ key, modRevision }): Compare => ({
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
    const looks: Uint8Array[] = [
      ...tables.map((table) => table.layout.meta),
      ...fences.map(({ key }) => key),
      ...counters.map(({ compare }) => compare.key),
      ...build.fresh.map(({ key }) => key),
    ];
    const table = tables.length === 1 ? tables[0]!.name : undefined;
    const response = await this.#store.commit(
      {
        compares,
        success: [...build.operations, ...counters.map(({ put }) => put)],
        failure: looks.map((key) => ({ kind: "range", request: { key, keysOnly: true } })),
      },
      this.#evidence(changes, build),
      { table },
    );
    if (response.succeeded) return response.revision;
    throw this.#whyFailed(response, { tables, fences, counters: counters.map(({ compare }) => compare), ...build });
  }

  /** Deletions leave their trace in a guard, which stays; otherwise the first row written is the trace. */
  #evidence(changes: readonly Write[], build: Commit): Evidence | undefined {
    const afterRevision = Math.max(0, ...changes.map(({ before }) => before?.modRevision ?? 0));
    const goneMeans = this.#kind === "single" ? "not_applied" : "unknown";
    if (build.guard !== undefined) return { ...build.guard, holds: "guard", afterRevision, goneMeans };
    const put = changes.find(({ after }) => after !== undefined);
    if (put === undefined) return undefined;
    const { writeId } = put.after!;
    return { key: this.#rowKey(put.state, put.id), holds: "row", writeId, afterRevision, goneMeans };
  }

  /** Tells a duplicate, a lost lock and a moved schema from a conflict, by what the failed commit saw. */
  #whyFailed(response: TxnResponse, { tables, fences, counters, fresh }: Looks): unknown {
    const seen = response.ranges.map((range) => range!.kvs[0]);
    for (const state of tables) {
      if (seen.shift()?.modRevision !== state.metaRevision) return new SchemaMoved(state);
    }
    for (const { name, token } of fences) {
      if (seen.shift()?.createRevision !== token) {
        return new LockLostError(`Cannot write under lock "${name}": it is no longer held`, {
          hint: "take the lock again and start over: somebody else may have worked meanwhile",
        });
      }
    }
    // Another process has taken the number: the row found under it is no duplicate of anything.
    for (const { revision } of counters) {
      if ((seen.shift()?.modRevision ?? 0) !== revision) return new Conflict("another writer took the number");
    }
    for (const { state, id, field } of fresh) {
      const kv = seen.shift();
      // What came after the snapshot is a conflict first: the next attempt sees it, and may decide otherwise.
      if (kv === undefined || (this.#revision !== undefined && kv.modRevision > this.#revision)) continue;
      return field === undefined ? duplicateId(state, id) : duplicateValue(state, field);
    }
    return new Conflict("another writer came first");
  }
}

/** What a failed commit looks at again, in this order. */
interface Looks {
  tables: readonly TableState[];
  fences: readonly Fence[];
  counters: readonly Compare[];
  fresh: readonly Fresh[];
}

/** A key that must not exist yet. */
interface Fresh {
  key: Uint8Array;
  state: TableState;
  id: Orderable;
  /** The unique field, or undefined for the row itself. */
  field: string | undefined;
}

interface Commit {
  operations: Operation[];
  points: Map<string, { key: Uint8Array; modRevision: number }>;
  fresh: Fresh[];
  guard: { key: Uint8Array; writeId: Uint8Array } | undefined;
}

/** The operations that bring rows and all their entries from `before` to `after`; `writeId` goes into guards. Pure. */
function buildCommit(changes: readonly Write[], writeId: Uint8Array): Commit {
  const removed = new Map<string, Entry>();
  const puts = new Map<string, Operation>();
  const points: Commit["points"] = new Map();
  const fresh: Fresh[] = [];
  const before = new Set<string>();
  for (const { state, id, before: old } of changes) {
    if (old === undefined) continue;
    for (const entry of state.layout.entries(state.meta, id, old.values)) {
      const name = nameOf(entry);
      before.add(name);
      removed.set(name, entry);
    }
  }
  for (const { state, id, before: old, after } of changes) {
    const { layout, meta } = state;
    const idBytes = encodeOrdered(id);
    const rowKey = forwardKey({ space: layout.rows(meta.id), suffix: idBytes });
    points.set(binaryString(rowKey), { key: rowKey, modRevision: old?.modRevision ?? 0 });
    if (after === undefined) continue;
    if (old === undefined) fresh.push({ key: rowKey, state, id, field: undefined });
    const bytes = encodeRow(after.values, after.writeId, idBytes);
    for (const entry of layout.entries(meta, id, after.values)) {
      const name = nameOf(entry);
      const key = forwardKey(entry);
      puts.set(name, { kind: "put", key, value: entry.space.kind === "row" ? bytes.row : bytes.entry });
      removed.delete(name);
      if (before.has(name)) continue;
      for (const sample of sampleKeys(entry)) {
        puts.set(binaryString(sample), { kind: "put", key: sample, value: new Uint8Array() });
      }
      if (!entry.exclusive || entry.space.kind === "row") continue;
      points.set(name, { key, modRevision: 0 });
      fresh.push({ key, state, id, field: entry.space.field });
    }
  }
  const operations = [...puts.values()];
  const guards = new Map<string, Uint8Array>();
  for (const entry of removed.values()) {
    for (const key of [forwardKey(entry), ...sampleKeys(entry)]) operations.push({ kind: "delete", key });
    guards.set(binaryString(entry.space.guard), entry.space.guard);
  }
  for (const key of guards.values()) operations.push({ kind: "put", key, value: writeId });
  const [key] = guards.values();
  return { operations, points, fresh, guard: key && { key, writeId } };
}

const nameOf = (entry: Entry): string => binaryString(forwardKey(entry));

function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  if (bytes.length < prefix.length) return false;
  for (let i = 0; i < prefix.length; i++) if (bytes[i] !== prefix[i]) return false;
  return true;
}

const duplicateId = (state: TableState, id: Orderable) =>
  new DuplicateError(`Cannot insert into table "${state.name}": id "${String(id)}" is taken`, {
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
