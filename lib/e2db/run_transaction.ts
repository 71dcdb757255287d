import { CompactedError, ConflictError } from "./errors.ts";
import { SchemaMoved } from "./reader.ts";
import type { Store } from "./store.ts";
import { Conflict, Transaction } from "./transaction.ts";

export interface RetryOptions {
  /** How long to begin again after conflicts, in all. */
  giveUpMs: number;
}

const pauseMaxMs = 100;

/**
 * Runs `action` in a transaction and commits it; begins again, with growing pauses, when another writer came first.
 * Throws ConflictError when others won until the time was up, and whatever `action` throws; nothing is written then.
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
      if (error instanceof SchemaMoved) await error.state.refresh();
      // A snapshot that was compacted away under a slow transaction is as good as a conflict.
      else if (!(error instanceof Conflict || error instanceof CompactedError)) throw error;
      if (platform.nowMs() >= endMs) {
        throw new ConflictError(`Cannot commit a transaction: other writers came first for ${giveUpMs} ms`, {
          cause: error,
          hint: "make it smaller, or let fewer writers change the same rows",
        });
      }
    }
    await store.pause(pauseMs);
  }
}
