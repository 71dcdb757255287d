/** Time and randomness as e2db uses them. Tests pass their own to {@link open}. */
export interface Platform {
  /** Milliseconds since an arbitrary fixed start, for time limits only. */
  nowMs(): number;
  /** Resolves after `ms`; rejects with the signal's reason when that is aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Cryptographically secure, for keys and nonces. */
  randomBytes(length: number): Uint8Array<ArrayBuffer>;
}

/** The platform's own. Only this module of lib/e2db reads a clock, because the library must not depend on lib/sys. */
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
