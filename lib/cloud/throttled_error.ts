import { E2dError } from "../errors.ts";

/** The cloud throttles requests: code `cloud_throttled`. */
export class ThrottledError extends E2dError {
  /** The requested pause (Retry-After); undefined: the response has none. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, retryAfterMs: number | undefined) {
    super("cloud_throttled", message, { hint: "no action is needed: e2d tries again later and less often" });
    this.retryAfterMs = retryAfterMs;
  }
}
