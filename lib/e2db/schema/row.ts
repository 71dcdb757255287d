/** Translates rows of the program to stored values, with validation, and back, with defaults and decryption. */
import type { Cipher } from "./cipher.ts";
import { decodeValue, encodeValue, Sealed, type StoredRow, type Values } from "./codec.ts";
import { CorruptError, MissingRequiredError, TooLargeError, UnknownFieldError, WrongTypeError } from "../errors.ts";
import type { FieldType } from "./field.ts";
import { storedValue } from "./layout.ts";
import { encodeOrdered, isOrderable, type Orderable } from "./order.ts";
import type { Declared, TableMeta } from "./schema.ts";
import { issueField } from "./standard_schema.ts";

/** A row of the program. */
export type PlainRow = Record<string, unknown>;

/** Bytes of the encoding of an id or an indexed value. */
const keyValueBytesMax = 4096;

const isType: Record<FieldType, (value: unknown) => boolean> = {
  id: (value) => typeof value === "string" && value !== "",
  increment: (value) => Number.isSafeInteger(value) && (value as number) > 0,
  string: (value) => typeof value === "string",
  number: (value) => typeof value === "number" && !Number.isNaN(value),
  boolean: (value) => typeof value === "boolean",
  date: (value) => value instanceof Date && !Number.isNaN(value.getTime()),
  bytes: (value) => value instanceof Uint8Array,
  json: () => true,
  any: () => true,
};

/** Throws WrongTypeError or TooLargeError unless `value` can be the id of a row. */
export function checkId(declared: Declared, value: unknown): asserts value is Orderable {
  if (!isType[declared.idType](value)) throw wrongType(declared.table, declared.id, idTypeName[declared.idType], value);
  checkKeyValue(declared.table, declared.id, value);
}

const idTypeName = { id: "a non-empty string", increment: "a whole number above 0" } as const;

/** Throws WrongTypeError or TooLargeError unless `value` can be part of a key. */
export function checkKeyValue(table: string, field: string, value: unknown): asserts value is Orderable {
  if (!isOrderable(value)) {
    throw wrongType(table, field, "null, boolean, number, Date, bytes or well-formed text", value);
  }
  const { length } = encodeOrdered(value);
  if (length > keyValueBytesMax) {
    throw new TooLargeError(
      `Cannot use a value of ${length} bytes in field "${field}" of table "${table}": ids and indexed values hold ` +
        `${keyValueBytesMax}`,
      { table, field },
    );
  }
}

export function wrongType(table: string, field: string, expected: string, value: unknown): WrongTypeError {
  const shown = typeof value === "string"
    ? `"${value.slice(0, 40)}"`
    : value instanceof Date
    ? "an invalid Date"
    : value;
  return new WrongTypeError(
    `Cannot use ${describe(shown)} as field "${field}" of table "${table}": not ${expected}`,
    { table, field },
  );
}

function describe(value: unknown): string {
  if (value === null || ["string", "number", "boolean", "undefined", "bigint"].includes(typeof value)) {
    return String(value);
  }
  return typeof value === "object" ? `a ${value.constructor?.name ?? "object"}` : `a ${typeof value}`;
}

/**
 * Validates a whole row and encrypts its encrypted fields, except those that are sealed already. `before` is the stored
 * state of a row that is changed: fields that this program does not know are kept from it.
 */
export async function toStored(
  { declared, meta, cipher }: { declared: Declared; meta: TableMeta; cipher: Cipher },
  id: Orderable,
  row: PlainRow,
  before?: Values,
): Promise<Values> {
  const { table } = declared;
  const checked = declared.schema === undefined ? checkFields(declared, row) : await checkSchema(declared, id, row);
  const values: Record<string, unknown> = declared.schema === undefined ? keepUnknown(declared, before) : {};
  for (const [name, value] of Object.entries(checked)) {
    if (value === undefined || value === null) {
      // A null must be stored where an absent value means the default of older rows.
      if (meta.fields[name]?.absent !== undefined) values[name] = null;
      else if (value === null && declared.schema !== undefined) values[name] = null;
      continue;
    }
    const encrypted = declared.fields.get(name)?.encrypted || meta.fields[name]?.encrypted;
    if (encrypted && !(value instanceof Sealed)) {
      values[name] = await cipher.seal(value, { table, field: name, id });
    } else values[name] = value;
  }
  values[declared.id] = id;
  for (const [name, shape] of Object.entries(meta.fields)) {
    if (shape.index !== "none") checkKeyValue(table, name, storedValue(meta, name, values));
    if (shape.required && storedValue(meta, name, values) === null && name !== declared.id) throw missing(table, name);
  }
  try {
    // As it will be read: -0 becomes 0, and no object is shared with the caller.
    return decodeValue(encodeValue(values)) as Values;
  } catch (cause) {
    const field = /\(at ([^.[)]+)/.exec((cause as Error).message)?.[1];
    throw new WrongTypeError(`Cannot store a row of table "${table}": ${(cause as Error).message}`, {
      table,
      field,
      cause,
    });
  }
}

const missing = (table: string, field: string) =>
  new MissingRequiredError(`Cannot write a row of table "${table}": required field "${field}" has no value`, {
    table,
    field,
  });

function keepUnknown(declared: Declared, before: Values | undefined): Record<string, unknown> {
  return Object.fromEntries(Object.entries(before ?? {}).filter(([name]) => !declared.fields.has(name)));
}

function checkFields(declared: Declared, row: PlainRow): PlainRow {
  const { table } = declared;
  for (const name of Object.keys(row)) checkKnown(declared, name);
  const checked: PlainRow = {};
  for (const [name, spec] of declared.fields) {
    if (name === declared.id) continue;
    let value = row[name];
    if (value === undefined) value = spec.default?.value ?? null;
    if (value === null) {
      if (spec.required || spec.default !== undefined) throw missing(table, name);
      checked[name] = null;
      continue;
    }
    const sealed = spec.encrypted && value instanceof Sealed;
    if (!sealed && !isType[spec.type](value)) throw wrongType(table, name, `a ${spec.type}`, value);
    checked[name] = value;
  }
  return checked;
}

/** Throws UnknownFieldError for a field that the table does not have. */
export function checkKnown(declared: Declared, name: string): void {
  if (declared.fields.has(name) || declared.schema !== undefined) return;
  throw new UnknownFieldError(`Cannot use field "${name}" of table "${declared.table}": no such field`, {
    table: declared.table,
    field: name,
    hint: `the fields are ${[...declared.fields.keys()].join(", ")}`,
  });
}

async function checkSchema(declared: Declared, id: Orderable, row: PlainRow): Promise<PlainRow> {
  const { table } = declared;
  const result = await declared.schema!["~standard"].validate({ ...row, [declared.id]: id });
  if (result.issues === undefined) return result.value as PlainRow;
  const [issue] = result.issues;
  const field = issue === undefined ? undefined : issueField(issue);
  const details = { table, field, cause: result.issues };
  const text = `Cannot write a row of table "${table}": ${issue?.message ?? "the schema refuses it"}`;
  if (field !== undefined && row[field] === undefined && field !== declared.id) {
    throw new MissingRequiredError(field === undefined ? text : `${text} (field "${field}")`, details);
  }
  throw new WrongTypeError(field === undefined ? text : `${text} (field "${field}")`, details);
}

/** The row's fields with the defaults of older rows. Encrypted fields stay sealed. */
export function sealedRow(
  { declared, meta }: { declared: Declared; meta: TableMeta },
  { values }: StoredRow,
): PlainRow {
  if (declared.schema !== undefined) return { ...values };
  const row: PlainRow = {};
  for (const name of declared.fields.keys()) row[name] = storedValue(meta, name, values);
  return row;
}

/** The row for the program. Throws WrongKeyError or CorruptError for a value that cannot be decrypted. */
export function fromStored(
  state: { declared: Declared; meta: TableMeta; cipher: Cipher },
  stored: StoredRow,
): PlainRow | Promise<PlainRow> {
  const row = sealedRow(state, stored);
  let sealed: string[] | undefined;
  for (const name in row) if (row[name] instanceof Sealed) (sealed ??= []).push(name);
  return sealed === undefined ? row : openSealed(state.declared, state.cipher, row, sealed);
}

async function openSealed(declared: Declared, cipher: Cipher, row: PlainRow, names: string[]): Promise<PlainRow> {
  const id = row[declared.id] as Orderable;
  for (const field of names) {
    row[field] = await cipher.open(row[field] as Sealed, { table: declared.table, field, id });
  }
  return row;
}

/** The id in a stored row. Throws CorruptError for an invalid id. */
export function idOf(declared: { table: string }, idField: string, values: Values): Orderable {
  const id = values[idField];
  if (isOrderable(id) && id !== null) return id;
  throw new CorruptError(`Cannot read a row of table "${declared.table}": it has no id "${idField}"`, {
    table: declared.table,
    field: idField,
  });
}
