import { E2dError } from "../errors.ts";

/** ENOSPC (28) and EDQUOT (122) have the code `disk_full`, because they need another hint. */
export function failure(code: string, action: string, cause: unknown): E2dError {
  if (osError(cause, 28) || osError(cause, 122)) {
    return new E2dError("disk_full", `${action}: the disk is full`, {
      cause,
      hint: "free space on the disk, then run the command again",
    });
  }
  if (osError(cause, 13)) {
    return new E2dError(code, `${action}: permission denied`, {
      hint: "make the user that e2d runs as its owner (chown), or give that user the permission (chmod)",
    });
  }
  return new E2dError(code, `${action}: ${reasonOf(cause)}`, { cause });
}

/** True for an error of the system with this errno. */
export function osError(cause: unknown, number: number): boolean {
  return new RegExp(`os error ${number}\\b`).test(String(cause));
}

/** The system's message without its errno and path, which the action names. */
function reasonOf(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause);
  const words = /^(.*?) \(os error \d+\)/.exec(text)?.[1];
  return words === undefined ? "the system refused" : words.charAt(0).toLowerCase() + words.slice(1);
}
