import { CompactedError, ConflictError } from "./errors.ts";
import { SchemaChanged } from "./kv/reader.ts";
import type { Store } from "./kv/store.ts";
import { Conflict, Transaction } from "./transaction.ts";

export interface RetryOptions {
  /** Time limit for all attempts together. */
  giveUpMs: number;
}

const pauseMaxMs = 100;

/**
 * Runs `action` in a transaction and commits it. Repeats it with increasing pauses when another writer committed first.
 * Throws ConflictError when there were conflicts until the time limit, or what `action` throws; then nothing is written.
 */
export async function runTransaction<T>(
  store: Store,
  kind: "single" | "several",
  { giveUpMs }: RetryOptions,
  action: (transaction: Transaction) => Promise<T>,
): Promise<T> {
  const { platform } = store;
  const endMs = platform.nowMs() + giveUpMs;
  for (let pauseMs = 1;; pauseMs = Math.min(pauseMs * 2, pauseMaxMs)) {
    const transaction = new Transaction(store, kind);
    try {
      const result = await action(transaction);
      await transaction.commit();
      return result;
    } catch (error) {
      transaction.abandon();
      if (error instanceof SchemaChanged) await error.state.refresh();
      // A snapshot that was compacted during a slow transaction counts as a conflict.
      else if (!(error instanceof Conflict || error instanceof CompactedError)) throw error;
      if (platform.nowMs() >= endMs) {
        throw new ConflictError(`Cannot commit a transaction: other writers committed first for ${giveUpMs} ms`, {
          cause: error,
          hint: "make the transaction smaller, or let fewer writers change the same rows",
        });
      }
    }
    await store.pause(pauseMs);
  }
}
