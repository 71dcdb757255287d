/** Time and chance as e2db uses them; give your own to {@link open} in tests. */
export interface Platform {
  /** Milliseconds from any fixed start; used for time limits alone. */
  nowMs(): number;
  /** Resolves after `ms`; rejects with the signal's reason when that is aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Fit for keys and nonces. */
  randomBytes(length: number): Uint8Array<ArrayBuffer>;
}

/** The platform's own. The one place in lib/e2db that reads a clock, so that the library stands without the rest of e2d. */
export const defaultPlatform: Platform = {
  nowMs: () => performance.now(),
  sleep(ms, signal) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = () => {
        clearTimeout(timer);
        reject(signal!.reason);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      }, ms);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  },
  randomBytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
};

/** gRPC takes a deadline as a point in wall time. */
export const deadlineAfter = (ms: number): Date => new Date(performance.timeOrigin + performance.now() + ms);
