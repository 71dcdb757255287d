/** Virtual time: due timers run in the order of their time, and at equal times in the order of their creation. */

export interface Timer {
  readonly atMs: number;
  cancel(): void;
}

class Entry implements Timer {
  cancelled = false;

  constructor(readonly atMs: number, readonly order: number, readonly run: () => void) {}

  cancel(): void {
    this.cancelled = true;
  }
}

export class VirtualClock {
  #nowMs = 0;
  #order = 0;
  /** A binary heap, the earliest first. */
  readonly #heap: Entry[] = [];

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Runs `run` at `atMs`, or next if that time has passed. */
  at(atMs: number, run: () => void): Timer {
    if (Number.isNaN(atMs)) throw new Error("Cannot set a timer: its time is no number");
    const entry = new Entry(Math.max(atMs, this.#nowMs), this.#order++, run);
    this.#push(entry);
    return entry;
  }

  after(delayMs: number, run: () => void): Timer {
    return this.at(this.#nowMs + delayMs, run);
  }

  /** Runs all timers that are due up to `untilMs`, which is then the present time. */
  runUntil(untilMs: number): void {
    for (let next = this.#heap[0]; next !== undefined && next.atMs <= untilMs; next = this.#heap[0]) {
      this.#pop();
      if (next.cancelled) continue;
      this.#nowMs = next.atMs;
      next.run();
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  runFor(ms: number): void {
    this.runUntil(this.#nowMs + ms);
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(entry, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function before(a: Entry, b: Entry): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
