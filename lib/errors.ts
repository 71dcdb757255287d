/** What an {@link E2dError} carries beside its message. */
export interface E2dErrorOptions {
  /** What the operator can do next, as an instruction: "pass the CA key that sealed it". */
  hint?: string;
  cause?: unknown;
}

/**
 * The one error type that leaves a module of e2d on purpose.
 *
 * The message reads «action, quoted value, colon, state»: `Cannot open snapshot "s3://b/k": chunk 3 fails
 * authentication`. `code` is a stable snake_case name that programs (and `--json` output) may rely on.
 */
export class E2dError extends Error {
  override readonly name = "E2dError";
  readonly code: string;
  readonly hint: string | undefined;

  constructor(code: string, message: string, options: E2dErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

/** True for an E2dError, of the given code where one is named. */
export function isE2dError(error: unknown, code?: string): error is E2dError {
  return error instanceof E2dError && (code === undefined || error.code === code);
}

/** One line for people: the message of any thrown value, its causes joined with ": ", the hint in brackets. */
export function describeError(error: unknown): string {
  const { text, hint } = wordsOf(error);
  return hint ? `${text} (hint: ${hint})` : text;
}

/** The same in two, where the hint has a place of its own. */
export function wordsOf(error: unknown): { text: string; hint: string | undefined } {
  const parts: string[] = [];
  let hint: string | undefined;
  for (let e = error, depth = 0; e !== undefined && e !== null && depth < 5; depth++) {
    // A bare object, as gRPC's failures are, is for who looks at it: its text is in the message of what it caused.
    if (parts.length > 0 && typeof e === "object" && !(e instanceof Error)) break;
    const text = e instanceof Error ? e.message || e.name : String(e);
    if (!parts.some((part) => part.includes(text))) parts.push(text);
    if (e instanceof E2dError) hint ??= e.hint;
    e = e instanceof Error ? e.cause : undefined;
  }
  return { text: parts.join(": "), hint };
}
