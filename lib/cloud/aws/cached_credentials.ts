import { describeError } from "../../errors.ts";
import type { Clock, Logger } from "../../ports.ts";
import type { AwsCredentials, AwsCredentialSource } from "./credential_source.ts";

/** Credentials are fetched again this long before they expire: AWS issues the next ones by then. */
export const refreshBeforeExpiryMs = 300_000;
/** Credentials without an expiry come from flags, the environment or a file, which can be rewritten. */
const noExpiryRefreshMs = 300_000;
/** The minimum time in the cache: with a wrong clock credentials may look expired. */
const cachedMinMs = 30_000;

interface CachedCredentials {
  credentials: AwsCredentials;
  /** On the monotonic clock. */
  freshUntilMs: number;
  endsMs: number;
}

/**
 * Caches one set of credentials for all callers. Concurrent callers share one fetch; credentials are fetched again five
 * minutes before they expire. While that fails, the cached ones are returned until they expire.
 */
export function cachedCredentials(
  fetchCredentials: (signal: AbortSignal) => Promise<AwsCredentials>,
  { clock, log }: { clock: Clock; log: Logger },
): AwsCredentialSource {
  let cached: CachedCredentials | undefined;
  let running: Promise<CachedCredentials> | undefined;

  async function renew(): Promise<CachedCredentials> {
    // Not the signal of a caller: a caller that aborts must not abort the fetch for the others.
    const credentials = await fetchCredentials(new AbortController().signal);
    const nowMs = clock.monotonicMs();
    const leftMs = credentials.expiresAtMs === undefined ? Infinity : credentials.expiresAtMs - clock.wallMs();
    const freshMs = leftMs === Infinity ? noExpiryRefreshMs : Math.max(leftMs - refreshBeforeExpiryMs, cachedMinMs);
    return { credentials, freshUntilMs: nowMs + freshMs, endsMs: nowMs + leftMs };
  }

  return async (signal, refused) => {
    signal?.throwIfAborted();
    if (refused !== undefined && cached?.credentials.accessKeyId === refused.accessKeyId) cached = undefined;
    if (cached !== undefined && clock.monotonicMs() < cached.freshUntilMs) return cached.credentials;
    running ??= renew().finally(() => running = undefined);
    try {
      cached = await raceAbort(running, signal);
    } catch (error) {
      signal?.throwIfAborted();
      if (cached === undefined || clock.monotonicMs() >= cached.endsMs) throw error;
      cached.freshUntilMs = clock.monotonicMs() + cachedMinMs;
      log.warn("Cannot renew the AWS credentials: using the present ones until they expire", {
        error: describeError(error),
      });
    }
    return cached.credentials;
  };
}

async function raceAbort<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await promise;
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
