import { E2dbError, type E2dbErrorCode } from "../../../lib/e2db/mod.ts";

/** Runs `action` and returns the E2dbError of this code that it must throw. */
export async function assertDbError(code: E2dbErrorCode, action: () => unknown): Promise<E2dbError> {
  try {
    await action();
  } catch (error) {
    if (error instanceof E2dbError && error.code === code) return error;
    throw new Error(`expected E2dbError ${code}, got ${error}`, { cause: error });
  }
  throw new Error(`expected E2dbError ${code}, but nothing was thrown`);
}
