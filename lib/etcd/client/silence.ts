import type { E2dError } from "../../errors.ts";
import type { Clock } from "../../ports.ts";

/** Ends a call when its reader has waited `timeoutMs` without any byte. Time that the reader takes itself does not count. */
export class SilenceTimeout {
  readonly #clock: Clock;
  readonly #expired = new AbortController();
  readonly #stopped = new AbortController();
  #sinceMs: number | undefined;

  constructor(clock: Clock, timeoutMs: number, error: () => E2dError) {
    this.#clock = clock;
    void this.#watch(timeoutMs, error);
  }

  /** Aborted with the error at the time-out. */
  get signal(): AbortSignal {
    return this.#expired.signal;
  }

  /** The result of `work`, unless `ending` is aborted first: a stream may not notice that its call has ended. */
  async during<T>(ending: AbortSignal, work: () => Promise<T>): Promise<T> {
    this.heard();
    const { promise, reject } = Promise.withResolvers<never>();
    const onEnd = () => reject(ending.reason);
    ending.addEventListener("abort", onEnd, { once: true });
    try {
      ending.throwIfAborted();
      return await Promise.race([work(), promise]);
    } finally {
      ending.removeEventListener("abort", onEnd);
      this.#sinceMs = undefined;
    }
  }

  /** Bytes have arrived. */
  heard(): void {
    this.#sinceMs = this.#clock.monotonicMs();
  }

  stop(): void {
    this.#stopped.abort();
  }

  async #watch(timeoutMs: number, error: () => E2dError): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      const leftMs = this.#sinceMs === undefined ? timeoutMs : this.#sinceMs + timeoutMs - this.#clock.monotonicMs();
      if (leftMs <= 0) return this.#expired.abort(error());
      try {
        await this.#clock.sleep(leftMs, this.#stopped.signal);
      } catch {
        return;
      }
    }
  }
}
