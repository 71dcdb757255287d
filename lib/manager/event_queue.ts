/** A queue of events with one reader, in the order of arrival. Never drops an event before it is closed. */
export class EventQueue<T> {
  readonly #waiting: T[] = [];
  #wake: (() => void) | undefined;
  #closed = false;

  push(event: T): void {
    if (this.#closed) return;
    this.#waiting.push(event);
    this.#wake?.();
  }

  /** Ends the reader. Unread events are discarded. */
  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    while (!this.#closed) {
      const event = this.#waiting.shift();
      if (event !== undefined) {
        yield event;
        continue;
      }
      await new Promise<void>((resolve) => this.#wake = resolve);
      this.#wake = undefined;
    }
  }
}
