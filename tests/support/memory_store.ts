/** A store in memory that fails after `left` operations: before an operation, or within a write, which leaves no object. */
import { E2dError } from "../../lib/errors.ts";
import type { Store, StoredInfo, StoredObject, WriteOptions } from "../../lib/storage/store.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export class MemoryStore implements Store {
  readonly name = "memory";
  readonly objects = new Map<string, { bytes: Bytes; modifiedMs: number }>();
  /** Operations that still succeed. */
  left = Infinity;
  nowMs = 0;
  /** Operations so far. */
  count = 0;

  #step(): void {
    this.count++;
    if (this.left-- <= 0) throw new E2dError("store_unreachable", "Cannot reach memory: it is broken");
  }

  read(key: string): Promise<StoredObject | undefined> {
    return this.#try(() => {
      const found = this.objects.get(key);
      if (found === undefined) return undefined;
      return { size: found.bytes.length, stream: ReadableStream.from([found.bytes.slice()]) };
    });
  }

  info(key: string): Promise<StoredInfo | undefined> {
    return this.#try(() => this.#info(key));
  }

  list(prefix: string): Promise<StoredInfo[]> {
    return this.#try(() =>
      [...this.objects.keys()].filter((key) => key.startsWith(prefix)).sort().map((key) => this.#info(key)!)
    );
  }

  async write(
    key: string,
    content: ReadableStream<Bytes>,
    { onProgress, ifAbsent }: WriteOptions = {},
  ): Promise<{ size: number }> {
    this.#step();
    const bytes = new Uint8Array(await new Response(content).arrayBuffer());
    onProgress?.(bytes.length);
    // The connection breaks at the end: no object exists, as the contract of stores requires.
    this.#step();
    if (ifAbsent && this.objects.has(key)) {
      throw new E2dError("store_exists", `Cannot write "${key}" in memory: it exists`);
    }
    this.objects.set(key, { bytes, modifiedMs: this.nowMs });
    return { size: bytes.length };
  }

  remove(key: string): Promise<void> {
    return this.#try(() => void this.objects.delete(key));
  }

  #info(key: string): StoredInfo | undefined {
    const found = this.objects.get(key);
    return found && { key, size: found.bytes.length, modifiedMs: found.modifiedMs };
  }

  async #try<T>(work: () => T): Promise<T> {
    await Promise.resolve();
    this.#step();
    return work();
  }
}
