import { E2dError } from "../errors.ts";

/** A cloud asks for fewer questions: code `cloud_throttled`. */
export class ThrottledError extends E2dError {
  /** How long it asks to be left alone; undefined: it does not say. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, retryAfterMs: number | undefined) {
    super("cloud_throttled", message, { hint: "nothing to do: it is asked again later, and less often" });
    this.retryAfterMs = retryAfterMs;
  }
}
