/**
 * Assigns the numbers of increment ids. A single insert claims its number in its own transaction. Concurrent inserts wait
 * for it, and one transaction then reserves numbers for all of them.
 */
import { fromUtf8, utf8 } from "./schema/bytes.ts";
import { CorruptError, UnknownTableError } from "./errors.ts";
import type { Compare, KeyValue, Operation } from "./kv/kv.ts";
import type { Store } from "./kv/store.ts";

/** A number and, unless it is reserved already, the operations that the transaction using it must add. */
export interface Ticket {
  number: number;
  claim?: { compare: Compare; put: Operation };
  /** Must be called once, with the revision of the commit, or undefined when the commit failed. */
  settle(revision: number | undefined): void;
}

interface CountedTable {
  readonly name: string;
  readonly layout: { counter: Uint8Array; meta: Uint8Array };
}

interface CounterState {
  last: number;
  modRevision: number;
}

export class Counter {
  readonly #store: Store;
  readonly #table: CountedTable;
  #known: CounterState | undefined;
  #busy = false;
  #waiting: { count: number; resolve: (first: number) => void; reject: (error: unknown) => void }[] = [];

  constructor(store: Store, table: CountedTable) {
    this.#store = store;
    this.#table = table;
  }

  /** The next number. The insert claims it itself if that saves a round trip. */
  async take(): Promise<Ticket> {
    const known = this.#known;
    if (this.#busy || known === undefined) return { number: await this.reserve(1), settle: () => {} };
    this.#busy = true;
    const number = known.last + 1;
    return {
      number,
      claim: { compare: this.#compare(known), put: this.#put(number) },
      settle: (revision) => {
        this.#known = revision === undefined ? undefined : { last: number, modRevision: revision };
        this.#busy = false;
        this.#serve();
      },
    };
  }

  /** The first of `count` numbers that no other insert gets. Unused numbers are lost. */
  reserve(count: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ count, resolve, reject });
      this.#serve();
    });
  }

  /** The operations that keep the counter from assigning `number` again; undefined when it is beyond already. */
  async raise(number: number): Promise<{ compare: Compare; put: Operation } | undefined> {
    const known = this.#read((await this.#store.range({ key: this.#table.layout.counter })).kvs[0]);
    if (number <= known.last) return undefined;
    this.#known = undefined;
    return { compare: this.#compare(known), put: this.#put(number) };
  }

  #serve(): void {
    if (this.#busy || this.#waiting.length === 0) return;
    this.#busy = true;
    const served = this.#waiting.splice(0);
    const total = served.reduce((sum, { count }) => sum + count, 0);
    this.#reserve(total).then((first) => {
      for (const { count, resolve } of served) {
        resolve(first);
        first += count;
      }
    }, (error) => served.forEach(({ reject }) => reject(error))).finally(() => {
      this.#busy = false;
      this.#serve();
    });
  }

  async #reserve(count: number): Promise<number> {
    const { counter: key, meta } = this.#table.layout;
    let known = this.#known ?? this.#read((await this.#store.range({ key })).kvs[0]);
    for (let pauseMs = 1;; pauseMs = Math.min(pauseMs * 2, 50)) {
      const response = await this.#store.commit(
        {
          // The counter of a table that was dropped meanwhile must not be created again.
          compares: [this.#compare(known), { key: meta, target: "create", result: "greater", revision: 0 }],
          success: [this.#put(known.last + count)],
          failure: [{ kind: "range", request: { key } }, { kind: "range", request: { key: meta, keysOnly: true } }],
        },
        undefined,
        { table: this.#table.name },
      );
      if (response.succeeded) {
        this.#known = { last: known.last + count, modRevision: response.revision };
        return known.last + 1;
      }
      if (response.ranges[1]!.count === 0) {
        throw new UnknownTableError(`Cannot use table "${this.#table.name}": no such table`, {
          table: this.#table.name,
        });
      }
      known = this.#read(response.ranges[0]!.kvs[0]);
      if (pauseMs > 1) await this.#store.pause(pauseMs);
    }
  }

  #compare(known: CounterState): Compare {
    return { key: this.#table.layout.counter, target: "mod", result: "equal", revision: known.modRevision };
  }

  #put(last: number): Operation {
    return { kind: "put", key: this.#table.layout.counter, value: utf8(String(last)) };
  }

  #read(kv: KeyValue | undefined): CounterState {
    if (kv === undefined) return { last: 0, modRevision: 0 };
    const last = Number(fromUtf8(kv.value));
    if (Number.isSafeInteger(last) && last >= 0) return { last, modRevision: kv.modRevision };
    throw new CorruptError(`Cannot read the counter of table "${this.#table.name}": not a number`, {
      table: this.#table.name,
    });
  }
}
