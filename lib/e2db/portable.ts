/**
 * Exports and imports a table as JSON lines: a header with format and table name, then one row per line in order of id.
 * Values are tagged as in etcd (see codec.ts). Encrypted fields stay sealed, bound to the table's name and the row's id,
 * so that an export can be decrypted only with the table's key; on request they are exported in clear text.
 */
import { decodeValue, encodeValue, Sealed, type StoredRow } from "./schema/codec.ts";
import { BadImportError, DuplicateError, type E2dbError } from "./errors.ts";
import { type PlainRow, sealedRow } from "./schema/row.ts";
import type { TableState } from "./table_state.ts";

export interface ExportOptions {
  /** Encrypted fields "sealed" (the default) or in "clear". */
  secrets?: "sealed" | "clear";
}

export interface ImportOptions {
  /** For a row whose id exists: fail (the default), keep the existing row, or replace it. */
  onConflict?: "fail" | "skip" | "replace";
}

export interface ImportReport {
  inserted: number;
  replaced: number;
  skipped: number;
}

const format = 1;

export const headerLine = (state: TableState): string => encodeValue({ e2db: format, table: state.name });

/** One row as a line, without the line break. */
export async function rowLine(
  state: TableState,
  row: StoredRow,
  { secrets = "sealed" }: ExportOptions,
): Promise<string> {
  const plain = sealedRow(state, row);
  if (secrets === "sealed") return encodeValue(plain);
  for (const [field, value] of Object.entries(plain)) {
    if (!(value instanceof Sealed)) continue;
    plain[field] = await state.cipher.open(value, { table: state.name, field, id: plain[state.meta.id] as string });
  }
  return encodeValue(plain);
}

/** Splits chunks of text into lines, for example a file's stream through TextDecoderStream, or an export. */
export async function* linesOf(chunks: AsyncIterable<string> | Iterable<string>): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of chunks) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
  if (rest !== "") yield rest;
}

/** Throws BadImportError for a first line that is not the header of this table. */
export function checkHeader(state: TableState, line: string | undefined): void {
  const header = parse(state, line ?? "", 1) as { e2db?: unknown; table?: unknown };
  if (header.e2db === format && header.table === state.name) return;
  throw new BadImportError(
    `Cannot import into table "${state.name}": line 1 is not the header of an export of this table`,
    { table: state.name, hint: `the first line must be ${headerLine(state)}` },
  );
}

/** Throws BadImportError, with the line's number, for a line that is not a row. */
export async function parseRow(state: TableState, line: string, number: number): Promise<PlainRow> {
  const row = parse(state, line, number);
  for (const [field, value] of Object.entries(row)) {
    if (!(value instanceof Sealed)) continue;
    if (!state.declared.fields.get(field)?.encrypted) {
      throw bad(state, number, `field "${field}" is not encrypted here`);
    }
    // A value that cannot be decrypted here never can: reported now instead of at the first read.
    const place = { table: state.name, field, id: row[state.meta.id] as string };
    const clear = await state.cipher.open(value, place).catch((error: E2dbError) => {
      throw error.code === "corrupt"
        ? bad(state, number, `field "${field}" was encrypted for another table, row or field`, error)
        : error;
    });
    row[field] = state.declared.schema === undefined ? value : clear;
  }
  return row;
}

function parse(state: TableState, line: string, number: number): PlainRow {
  let row: unknown;
  try {
    row = decodeValue(line);
  } catch (cause) {
    throw bad(state, number, "not JSON as an export writes it", cause);
  }
  const plain = typeof row === "object" && row !== null && !Array.isArray(row) && !(row instanceof Date) &&
    !(row instanceof Uint8Array) && !(row instanceof Sealed);
  if (!plain) throw bad(state, number, "not an object");
  return row as PlainRow;
}

const bad = (state: TableState, number: number, why: string, cause?: unknown) =>
  new BadImportError(`Cannot import line ${number} into table "${state.name}": ${why}`, { table: state.name, cause });

/** True for a row whose id exists, which an import may skip or replace; other duplicates are errors. */
export const idIsTaken = (state: TableState, error: unknown): boolean =>
  error instanceof DuplicateError && error.field === state.meta.id;
