/** Which write made a row that a program holds; kept beside the row, so that rows are plain data. */
import { toBase64Url } from "./bytes.ts";

const versions = new WeakMap<object, Uint8Array>();

export function remember<Row extends object>(row: Row, writeId: Uint8Array): Row {
  // A copy, so that a row that is kept does not keep the whole answer it came in.
  versions.set(row, writeId.slice());
  return row;
}

/**
 * The version of a row that e2db gave out: short text, new for each write of the row, good as an ETag. Pass it to
 * update, replace or delete to change the row only if nobody else has. undefined for an object e2db did not give out.
 */
export function versionOf(row: object): string | undefined {
  const writeId = versions.get(row);
  return writeId && toBase64Url(writeId);
}
