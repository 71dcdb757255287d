/**
 * The store under the tables: {@link Kv} with time limits and repeated reads, which also determines the outcome of a write
 * whose connection was lost before the answer.
 *
 * To determine the outcome, the same transaction is sent again. Its conditions name the revisions of the rows that it
 * changes, so it cannot be applied twice; if it succeeds, it is applied now. If it fails, either the first transaction was
 * applied or another writer committed first. The write id in the row (for deletions: in a guard) decides: it is searched
 * in the key's present state and, if others wrote since, in etcd's history.
 */
import { compareBytes } from "../schema/bytes.ts";
import { decodeRow } from "../schema/codec.ts";
import {
  ClosedError,
  CompactedError,
  E2dbError,
  type E2dbErrorDetails,
  OutcomeUnknownError,
  TooLargeError,
  UnavailableError,
} from "../errors.ts";
import {
  type KeyValue,
  type Kv,
  KvError,
  operationsMax,
  type RangeRequest,
  type RangeResponse,
  requestBytesMax,
  type TxnRequest,
  type TxnResponse,
} from "./kv.ts";
import type { Platform } from "../platform.ts";

/** Where the write id of a write is stored. */
export interface Evidence {
  key: Uint8Array;
  /** Whether `key` contains a row, or is a guard, which contains the write id only. */
  holds: "row" | "guard";
  writeId: Uint8Array;
  /** The write can only have been applied after this revision. */
  afterRevision: number;
  /** The outcome when `key` was deleted or created again: for a single row, nothing of the write is left in either case. */
  goneMeans: "not_applied" | "unknown";
}

export interface StoreOptions {
  /** Time limit for all attempts of a call together. */
  giveUpMs: number;
}

const historyStepsMax = 256;
const pauseFirstMs = 20;
const pauseMaxMs = 1_000;
/** Upper bound of the bytes that an operation adds to its key and value. */
const operationOverheadBytes = 32;

export class Store {
  readonly kv: Kv;
  readonly platform: Platform;
  readonly #options: StoreOptions;

  constructor(kv: Kv, platform: Platform, options: StoreOptions) {
    this.kv = kv;
    this.platform = platform;
    this.#options = options;
  }

  range(request: RangeRequest): Promise<RangeResponse> {
    return this.withRetry(() => this.kv.range(request));
  }

  /** A transaction without puts and deletes. */
  read(request: TxnRequest): Promise<TxnResponse> {
    return this.withRetry(() => this.kv.txn(request));
  }

  /** Repeats `call`, which must be idempotent, until the time limit. Throws E2dbError, as `toE2dbError` makes it. */
  async withRetry<T>(call: () => Promise<T>): Promise<T> {
    const pauses = this.#pauses();
    while (true) {
      try {
        return await call();
      } catch (error) {
        if (!isTransient(error) || !await pauses.next()) throw toE2dbError(error, {});
      }
    }
  }

  /**
   * Applies a transaction once. Throws TooLargeError before sending it, UnavailableError when etcd has certainly not
   * applied it, OutcomeUnknownError when the outcome cannot be determined. Without `evidence`, a failure of its conditions
   * after a lost connection is reported as a failure, so the caller must accept that the transaction may be applied.
   */
  async commit(request: TxnRequest, evidence: Evidence | undefined, details: E2dbErrorDetails): Promise<TxnResponse> {
    checkSize(request, details);
    const pauses = this.#pauses();
    let sentBefore = false;
    while (true) {
      let response: TxnResponse;
      try {
        response = await this.kv.txn(request);
      } catch (error) {
        if (!isTransient(error)) {
          throw sentBefore ? outcomeUnknown(error, details) : toE2dbError(error, details);
        }
        sentBefore ||= error.kind === "unavailable";
        if (!await pauses.next()) throw sentBefore ? outcomeUnknown(error, details) : toE2dbError(error, details);
        continue;
      }
      if (response.succeeded || !sentBefore || evidence === undefined) return response;
      const applied = await this.#wasApplied(evidence, details);
      return applied === undefined ? response : { succeeded: true, revision: applied, ranges: [] };
    }
  }

  /** The revision at which the write was applied; undefined when it was not. Throws OutcomeUnknownError. */
  async #wasApplied(evidence: Evidence, details: E2dbErrorDetails): Promise<number | undefined> {
    let revision: number | undefined;
    for (let step = 0; step < historyStepsMax; step++) {
      let kv: KeyValue | undefined;
      try {
        [kv] = (await this.range({ key: evidence.key, revision })).kvs;
      } catch (error) {
        throw outcomeUnknown(error, details);
      }
      if (kv === undefined) break;
      const writeId = evidence.holds === "guard" ? kv.value : writeIdOf(kv.value);
      if (writeId !== undefined && compareBytes(writeId, evidence.writeId) === 0) return kv.modRevision;
      if (kv.modRevision <= evidence.afterRevision) return undefined;
      if (kv.version === 1) break;
      revision = kv.modRevision - 1;
      if (step === historyStepsMax - 1) throw outcomeUnknown(undefined, details);
    }
    if (evidence.goneMeans === "not_applied") return undefined;
    throw outcomeUnknown(undefined, details);
  }

  /** Increasing pauses with jitter. `next` returns false at the time limit. */
  #pauses(): { next(): Promise<boolean> } {
    const endMs = this.platform.nowMs() + this.#options.giveUpMs;
    let pauseMs = pauseFirstMs;
    return {
      next: async () => {
        if (this.platform.nowMs() + pauseMs > endMs) return false;
        await this.pause(pauseMs);
        pauseMs = Math.min(pauseMs * 2, pauseMaxMs);
        return true;
      },
    };
  }

  /** Sleeps between half of `ms` and `ms`, so that competing writers do not retry at the same time. */
  pause(ms: number): Promise<void> {
    const [byte] = this.platform.randomBytes(1);
    return this.platform.sleep(ms * (0.5 + byte! / 510));
  }
}

const writeIdOf = (value: Uint8Array): Uint8Array | undefined => {
  const decoded = decodeRow(value);
  return decoded?.kind === "row" ? decoded.row.writeId : undefined;
};

const isTransient = (error: unknown): error is KvError =>
  error instanceof KvError && (error.kind === "unavailable" || error.kind === "refused");

const outcomeUnknown = (cause: unknown, details: E2dbErrorDetails) =>
  new OutcomeUnknownError(
    `Cannot tell whether a write${
      ofTable(details)
    } was applied: the connection was lost, and etcd's history does not show the write`,
    { ...details, cause, hint: "read the rows before writing again" },
  );

const ofTable = ({ table }: E2dbErrorDetails) => table === undefined ? "" : ` to table "${table}"`;

/** The error that e2db throws for an error of the store. */
export function toE2dbError(error: unknown, details: E2dbErrorDetails): unknown {
  if (error instanceof E2dbError || !(error instanceof KvError)) return error;
  const given = { ...details, cause: error };
  switch (error.kind) {
    case "compacted":
      return new CompactedError(`Cannot read the past: etcd has compacted that revision`, {
        ...given,
        compactRevision: error.compactRevision,
        hint: "read again from the present",
      });
    case "too_large":
    case "too_many_operations":
      return new TooLargeError(`Cannot write${ofTable(details)}: ${error.message}`, {
        ...given,
        hint: "this etcd allows less than its defaults: see --max-txn-ops and --max-request-bytes",
      });
    case "closed":
      return new ClosedError(`Cannot reach etcd: ${error.message}`, given);
    case "unavailable":
    case "refused":
      return new UnavailableError(`Cannot reach etcd: ${error.message}`, given);
    case "denied":
      return new UnavailableError(`Cannot use etcd: ${error.message}`, {
        ...given,
        hint: "check the user, the password and the roles, and etcd's alarms",
      });
    case "no_lease":
    case "invalid":
      return new E2dbError("unavailable", `Cannot use etcd: ${error.message}`, given);
    default:
      return error.kind satisfies never;
  }
}

/** Throws TooLargeError for a request above etcd's default limits. */
function checkSize(request: TxnRequest, details: E2dbErrorDetails): void {
  const operations = Math.max(request.compares.length, request.success.length, request.failure.length);
  if (operations > operationsMax) {
    throw new TooLargeError(
      `Cannot write${ofTable(details)} in one transaction: ${operations} operations, etcd takes ${operationsMax}`,
      {
        ...details,
        hint: "write fewer rows at once, or use insertMany and deleteAll, which are atomic per batch only",
      },
    );
  }
  let bytes = 0;
  for (const compare of request.compares) bytes += compare.key.length + (compare.end?.length ?? 0);
  for (const operation of [...request.success, ...request.failure]) {
    if (operation.kind === "put") bytes += operation.key.length + operation.value.length;
    else if (operation.kind === "delete") bytes += operation.key.length + (operation.end?.length ?? 0);
    else bytes += operation.request.key.length + (operation.request.end?.length ?? 0);
  }
  bytes += operationOverheadBytes * (request.compares.length + request.success.length + request.failure.length);
  if (bytes > requestBytesMax) {
    throw new TooLargeError(
      `Cannot write${ofTable(details)} in one transaction: ${bytes} bytes, etcd takes ${requestBytesMax}`,
      { ...details, hint: "store large content elsewhere and keep its address in the row" },
    );
  }
}
