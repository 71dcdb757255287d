/**
 * A bounded queue between a writer that never waits and one reader that may be busy. When it is full, the oldest item is
 * dropped and counted. After `close`, `read` ends behind the last item.
 */
export class NewestQueue<T> {
  readonly #limit: number;
  readonly #items: T[] = [];
  #wake: (() => void) | undefined;
  #closed = false;
  #dropped = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get dropped(): number {
    return this.#dropped;
  }

  push(item: T): void {
    if (this.#items.length >= this.#limit) {
      this.#items.shift();
      this.#dropped++;
    }
    this.#items.push(item);
    this.#wake?.();
  }

  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  async *read(): AsyncGenerator<T> {
    for (;;) {
      const next = this.#items.shift();
      if (next !== undefined) yield next;
      else if (this.#closed) return;
      else {
        await new Promise<void>((resolve) => this.#wake = resolve);
        this.#wake = undefined;
      }
    }
  }
}
