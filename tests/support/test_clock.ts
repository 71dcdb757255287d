import { setImmediate } from "node:timers";
import type { Clock } from "../../lib/ports.ts";
import { VirtualClock } from "../sim/clock.ts";

/** Virtual time as a Clock: it moves only in `advance` and `settle`. */
export class TestClock implements Clock {
  readonly #virtual = new VirtualClock();
  /** Added to the wall time, to simulate a wrong clock. */
  skewMs = 0;

  wallMs = () => Date.UTC(2026, 0, 1) + this.#virtual.nowMs + this.skewMs;
  monotonicMs = () => this.#virtual.nowMs;

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = () => {
        timer.cancel();
        reject(signal!.reason);
      };
      const timer = this.#virtual.after(ms, () => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      });
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** Advances by `ms`, and after each step runs everything that needs no more time. */
  async advance(ms: number, stepMs = 250): Promise<void> {
    await flush();
    for (let left = ms; left > 0; left -= stepMs) {
      this.#virtual.runFor(Math.min(left, stepMs));
      await flush();
    }
  }

  /**
   * Advances until the promise is settled; returns its outcome and the elapsed time. The first steps leave real time to
   * work that waits for no clock (a module that is loaded, cryptography): on a busy machine virtual time would overtake it.
   */
  async settle<T>(promise: Promise<T>, maxMs = 600_000): Promise<PromiseSettledResult<T> & { tookMs: number }> {
    const startMs = this.#virtual.nowMs;
    let settled = false;
    const outcome = Promise.allSettled([promise]).then(([result]) => (settled = true, result!));
    await flush();
    for (let step = 0; !settled; step++) {
      if (step < unhurriedSteps) await new Promise((resolve) => setTimeout(resolve, 1));
      if (settled) break;
      if (this.#virtual.nowMs - startMs > maxMs) throw new Error(`nothing settled within ${maxMs} ms of virtual time`);
      await this.advance(50, 50);
    }
    return { ...await outcome, tookMs: this.#virtual.nowMs - startMs };
  }
}

/** A third of a second of real time, and fifteen of virtual time. */
const unhurriedSteps = 300;

/** Runs everything that waits for no time; streams need several turns. */
export async function flush(): Promise<void> {
  for (let turn = 0; turn < 8; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
}
