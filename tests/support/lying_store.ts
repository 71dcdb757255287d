/** A store with wrong answers: incomplete, truncated or empty listings, 404s for existing objects, old content. */
import type { Store, StoredInfo, StoredObject } from "../../lib/storage/store.ts";
import { MemoryStore } from "./memory_store.ts";

export type Lie =
  /** Listings lack the objects that were written last. */
  | { readonly kind: "stale listing"; readonly missing: number }
  | { readonly kind: "cut listing"; readonly left: number }
  | { readonly kind: "empty listing" }
  | { readonly kind: "read 404" }
  | { readonly kind: "head 404" }
  /** The former content and time of an object that was overwritten. */
  | { readonly kind: "stale read" };

export class LyingStore implements Store {
  readonly name = "memory";
  readonly truth = new MemoryStore();
  readonly #before = new Map<string, { bytes: Uint8Array<ArrayBuffer>; modifiedMs: number }>();
  readonly #order: string[] = [];
  /** Selects the wrong answer for a request; undefined: the right one. */
  lies: (question: { operation: "list" | "read" | "info"; key: string }) => Lie | undefined = () => undefined;
  /** The answers since this list was emptied. */
  readonly answers: { operation: "list" | "read" | "info"; asked: string; shown: readonly string[] }[] = [];

  async list(prefix: string): Promise<StoredInfo[]> {
    const lie = this.lies({ operation: "list", key: prefix });
    const all = await this.truth.list(prefix);
    const late = lie?.kind === "stale listing" ? this.#order.slice(-lie.missing) : [];
    const shown = lie?.kind === "empty listing"
      ? []
      : lie?.kind === "cut listing"
      ? all.slice(0, lie.left)
      : all.filter(({ key }) => !late.includes(key));
    this.answers.push({ operation: "list", asked: prefix, shown: shown.map(({ key }) => key) });
    return shown;
  }

  async info(key: string): Promise<StoredInfo | undefined> {
    const lie = this.lies({ operation: "info", key });
    const found = lie?.kind === "head 404" ? undefined : await this.truth.info(key);
    this.answers.push({ operation: "info", asked: key, shown: found === undefined ? [] : [key] });
    return found;
  }

  async read(key: string): Promise<StoredObject | undefined> {
    const lie = this.lies({ operation: "read", key });
    const old = lie?.kind === "stale read" ? this.#before.get(key) : undefined;
    const found = lie?.kind === "read 404"
      ? undefined
      : old === undefined
      ? await this.truth.read(key)
      : { size: old.bytes.length, stream: ReadableStream.from([old.bytes.slice()]) };
    this.answers.push({ operation: "read", asked: key, shown: found === undefined ? [] : [key] });
    return found;
  }

  async write(key: string, content: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<{ size: number }> {
    const before = this.truth.objects.get(key);
    if (before !== undefined) this.#before.set(key, before);
    this.#order.push(key);
    return await this.truth.write(key, content);
  }

  remove(key: string): Promise<void> {
    return this.truth.remove(key);
  }
}
