/** The optional fields of an {@link E2dError}. */
export interface E2dErrorOptions {
  /** The next action of the operator, as an instruction: "pass the CA key that sealed it". */
  hint?: string;
  cause?: unknown;
}

/**
 * The only error type that modules of e2d throw on purpose.
 *
 * Messages have the form `Cannot VERB OBJECT "VALUE": STATE`, for example `Cannot open snapshot "s3://b/k": chunk 3 fails
 * authentication`. `code` is a stable snake_case name for programs and `--json` output.
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

/** True for an E2dError; with `code`, only of that code. */
export function isE2dError(error: unknown, code?: string): error is E2dError {
  return error instanceof E2dError && (code === undefined || error.code === code);
}

/** One line: the message of any thrown value, its causes joined with ": ", and the hint in brackets. */
export function describeError(error: unknown): string {
  const { text, hint } = wordsOf(error);
  return hint ? `${text} (hint: ${hint})` : text;
}

/** The message with its causes, and the hint separately. */
export function wordsOf(error: unknown): { text: string; hint: string | undefined } {
  const parts: string[] = [];
  let hint: string | undefined;
  for (let e = error, depth = 0; e !== undefined && e !== null && depth < 5; depth++) {
    // Failures of gRPC are bare objects; the message of the error that they caused contains their text.
    if (parts.length > 0 && typeof e === "object" && !(e instanceof Error)) break;
    const text = e instanceof Error ? e.message || e.name : String(e);
    if (!parts.some((part) => part.includes(text))) parts.push(text);
    if (e instanceof E2dError) hint ??= e.hint;
    e = e instanceof Error ? e.cause : undefined;
  }
  return { text: parts.join(": "), hint };
}
