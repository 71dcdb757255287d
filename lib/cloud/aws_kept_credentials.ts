import { describeError } from "../errors.ts";
import type { Clock, Logger } from "../ports.ts";
import type { AwsCredentials, AwsCredentialSource } from "./aws_credential_source.ts";

/** Fetched afresh so long before they end: AWS has the next ones ready by then. */
export const freshBeforeEndMs = 300_000;
/** Those without an end come from flags, environment or a file, which somebody may rewrite. */
const endlessKeptMs = 300_000;
/** Kept at least so long, whatever a clock that is wrong makes of their end. */
const keptMinMs = 30_000;

interface Kept {
  credentials: AwsCredentials;
  /** On the monotonic clock. */
  freshUntilMs: number;
  endsMs: number;
}

/**
 * One set of credentials for all who ask: fetched once for those who ask meanwhile, again five minutes before its end.
 * While that fails the ones at hand are given on to their end.
 */
export function keptCredentials(
  fetchThem: (signal: AbortSignal) => Promise<AwsCredentials>,
  { clock, log }: { clock: Clock; log: Logger },
): AwsCredentialSource {
  let kept: Kept | undefined;
  let running: Promise<Kept> | undefined;

  async function renew(): Promise<Kept> {
    // Of nobody who asks: one that gives up must not take the answer from the others.
    const credentials = await fetchThem(new AbortController().signal);
    const nowMs = clock.monotonicMs();
    const leftMs = credentials.expiresAtMs === undefined ? Infinity : credentials.expiresAtMs - clock.wallMs();
    const freshMs = leftMs === Infinity ? endlessKeptMs : Math.max(leftMs - freshBeforeEndMs, keptMinMs);
    return { credentials, freshUntilMs: nowMs + freshMs, endsMs: nowMs + leftMs };
  }

  return async (signal, refused) => {
    signal?.throwIfAborted();
    if (refused !== undefined && kept?.credentials.accessKeyId === refused.accessKeyId) kept = undefined;
    if (kept !== undefined && clock.monotonicMs() < kept.freshUntilMs) return kept.credentials;
    running ??= renew().finally(() => running = undefined);
    try {
      kept = await abandonable(running, signal);
    } catch (error) {
      signal?.throwIfAborted();
      if (kept === undefined || clock.monotonicMs() >= kept.endsMs) throw error;
      kept.freshUntilMs = clock.monotonicMs() + keptMinMs;
      log.warn("AWS credentials cannot be renewed: the old ones are used on", { error: describeError(error) });
    }
    return kept.credentials;
  };
}

async function abandonable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await promise;
  const given = Promise.withResolvers<never>();
  const giveUp = () => given.reject(signal.reason);
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    return await Promise.race([promise, given.promise]);
  } finally {
    signal.removeEventListener("abort", giveUp);
  }
}
