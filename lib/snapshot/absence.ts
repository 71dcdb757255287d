/**
 * Verified absence: the store has no snapshot at a place. The only way to create the value is to query the store, which
 * must report the history and the key as empty, in a listing and by name. Must never rest on a single answer.
 */
import { E2dError } from "../errors.ts";
import type { Store } from "../storage/store.ts";

export const historyOf = (key: string) => `${key}.history/`;

export class VerifiedAbsence {
  readonly #asked: true = true;

  private constructor() {}

  /** True for every instance: only {@link verify} creates one. Makes the type nominal. */
  get asked(): true {
    return this.#asked;
  }

  /** Throws what the store throws, and E2dError `store_contradiction` when one of its answers shows something. */
  static async verify(
    { store, key }: { readonly store: Store; readonly key: string },
    signal?: AbortSignal,
  ): Promise<VerifiedAbsence> {
    const shown = [
      ...await store.list(historyOf(key), signal),
      ...(await store.list(key, signal)).filter((info) => info.key === key || info.key.startsWith(historyOf(key))),
      ...[await store.info(key, signal)].filter((info) => info !== undefined),
    ][0];
    if (shown === undefined) return new VerifiedAbsence();
    throw new E2dError(
      "store_contradiction",
      `Cannot trust ${store.name}: it listed nothing under "${key}", and "${shown.key}" is there`,
      { hint: "look again; a store whose listings lag must not decide that there is no snapshot" },
    );
  }
}
