/** Remembers the write id of each row that e2db returned, outside the row, so that rows are plain data. */
import { toBase64Url } from "./bytes.ts";

const versions = new WeakMap<object, Uint8Array>();

export function remember<Row extends object>(row: Row, writeId: Uint8Array): Row {
  // A copy, because the id is a view of the whole answer, which would stay in memory.
  versions.set(row, writeId.slice());
  return row;
}

/**
 * The version of a row that e2db returned: a short text, new for each write, usable as an ETag. Pass it to update, replace
 * or delete to change the row only if no other writer has. undefined for any other object.
 */
export function versionOf(row: object): string | undefined {
  const writeId = versions.get(row);
  return writeId && toBase64Url(writeId);
}
