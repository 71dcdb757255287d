import { E2dError } from "../errors.ts";

/** ENOSPC (28) and EDQUOT (122) get a code of their own: the way out is another one. */
export function failure(code: string, action: string, cause: unknown): E2dError {
  if (osError(cause, 28) || osError(cause, 122)) {
    return new E2dError("disk_full", `${action}: the disk is full`, { cause, hint: "make room, then run it again" });
  }
  if (osError(cause, 13)) {
    return new E2dError(code, `${action}: permission denied`, {
      hint: "give it to the user that e2d runs as (chown), or let that user have it (chmod)",
    });
  }
  return new E2dError(code, `${action}: ${reasonOf(cause)}`, { cause });
}

/** True when the system's own number for what went wrong is this one. */
export function osError(cause: unknown, number: number): boolean {
  return new RegExp(`os error ${number}\\b`).test(String(cause));
}

/** The system's words without its number; the action says the rest. */
function reasonOf(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause);
  const words = /^(.*?) \(os error \d+\)/.exec(text)?.[1];
  return words === undefined ? "the system refused" : words.charAt(0).toLowerCase() + words.slice(1);
}
