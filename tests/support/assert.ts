/** node:assert/strict under the names that the tests use. */
import strict from "node:assert/strict";
import { type E2dError, isE2dError } from "../../lib/errors.ts";

/** The types of node:assert take no message that may be undefined. */
type Assert = typeof strict & ((value: unknown, message?: string | Error) => asserts value);
type AssertEquals = <T>(actual: unknown, expected: T, message?: string | Error) => asserts actual is T;

export const assert: Assert = strict as Assert;
export const assertEquals: AssertEquals = strict.deepStrictEqual as AssertEquals;

/** Runs `action` and returns the E2dError of this code that it must throw. */
export async function assertE2dError(code: string, action: () => unknown): Promise<E2dError> {
  try {
    await action();
  } catch (error) {
    if (isE2dError(error, code)) return error;
    throw new Error(`expected E2dError ${code}, got ${error}`, { cause: error });
  }
  throw new Error(`expected E2dError ${code}, but nothing was thrown`);
}
