/** The schema of a table as a program declares it and as etcd stores it, and the change from one to the other. Pure. */
import { decodeValue, encodeValue } from "./codec.ts";
import { fromUtf8, utf8 } from "./bytes.ts";
import { BadSchemaError, CorruptError, SchemaChangeError } from "../errors.ts";
import type { FieldMap, FieldSpec, FieldType } from "./field.ts";
import type { StandardSchema } from "./standard_schema.ts";

/** One field of the stored schema. */
export interface FieldShape {
  type: FieldType;
  /** Enforced for every write. */
  required: boolean;
  /** Rows from before the field was required are not verified yet. */
  checking?: true | undefined;
  encrypted: boolean;
  index: "none" | "index" | "unique";
  /** Writers maintain an index while it is building; queries use it when it is ready. */
  state: "ready" | "building";
  /** The value of the field in rows that are older than the field. */
  absent?: unknown;
}

/** The schema under a table's meta key. Every write compares that key, so no write follows an old schema. */
export interface TableMeta {
  format: 1;
  state: "live" | "dropping";
  /** Incremented by each change of the schema. */
  epoch: number;
  id: string;
  idType: "id" | "increment";
  fields: Record<string, FieldShape>;
}

/** The program's declaration of a table. */
export interface Declared {
  table: string;
  id: string;
  idType: "id" | "increment";
  fields: ReadonlyMap<string, FieldSpec>;
  /** A Standard Schema instead of a field map; fields without a role are then not listed. */
  schema?: StandardSchema | undefined;
}

/** The fields of a Standard Schema that have a role. */
export interface SchemaRoles {
  /** Default "id". */
  id?: string;
  /** The id is a counted number instead of text. */
  increment?: boolean;
  unique?: readonly string[];
  index?: readonly string[];
  encrypted?: readonly string[];
}

const namePattern = /^[A-Za-z_][A-Za-z0-9_.-]{0,99}$/;

/** Throws BadSchemaError for a name that cannot be part of a key. */
export function checkName(what: "table" | "field" | "lock", name: string, table?: string): void {
  if (namePattern.test(name) && name !== "__proto__") return;
  throw new BadSchemaError(
    `Cannot use ${what} name "${name}": not a letter followed by up to 99 of A-Z a-z 0-9 _ . -`,
    {
      table: what === "table" ? name : table,
      field: what === "field" ? name : undefined,
    },
  );
}

export function declareFields(table: string, map: FieldMap): Declared {
  checkName("table", table);
  const fields = new Map<string, FieldSpec>();
  let id: { name: string; type: "id" | "increment" } | undefined;
  for (const [name, { spec }] of Object.entries(map)) {
    checkName("field", name, table);
    const refuse = (why: string, hint?: string) => {
      throw new BadSchemaError(`Cannot declare field "${name}" of table "${table}": ${why}`, {
        table,
        field: name,
        hint,
      });
    };
    if (spec.type === "id" || spec.type === "increment") {
      if (id !== undefined) refuse(`"${id.name}" is the id already`);
      if (spec.encrypted || spec.index !== "none" || spec.default !== undefined) {
        refuse("an id is always unique and ordered, and can be neither encrypted nor have a default");
      }
      id = { name, type: spec.type };
    }
    if (spec.encrypted && spec.index !== "none") {
      refuse("an encrypted field cannot be indexed", "each value is sealed with its own nonce, so equal values differ");
    }
    if (spec.type === "json" && spec.index !== "none") refuse("JSON has no order to index by");
    fields.set(name, spec);
  }
  if (id === undefined) {
    throw new BadSchemaError(`Cannot declare table "${table}": no id field`, {
      table,
      hint: "add one of field.id() and field.increment()",
    });
  }
  return { table, id: id.name, idType: id.type, fields };
}

export function declareSchema(table: string, schema: StandardSchema, roles: SchemaRoles): Declared {
  checkName("table", table);
  const id = roles.id ?? "id";
  const fields = new Map<string, FieldSpec>();
  const idType = roles.increment ? "increment" : "id";
  fields.set(id, { type: idType, required: false, index: "none", encrypted: false });
  const add = (names: readonly string[] | undefined, role: Partial<FieldSpec>) => {
    for (const name of names ?? []) {
      const before = fields.get(name) ?? { type: "any", required: false, index: "none", encrypted: false };
      fields.set(name, { ...before, ...role });
    }
  };
  add(roles.index, { index: "index" });
  add(roles.unique, { index: "unique" });
  add(roles.encrypted, { encrypted: true });
  for (const [name, spec] of fields) {
    checkName("field", name, table);
    const isId = name === id;
    if ((spec.encrypted && spec.index !== "none") || (isId && (spec.encrypted || spec.index !== "none"))) {
      throw new BadSchemaError(
        `Cannot declare field "${name}" of table "${table}": an encrypted field or an id cannot be indexed`,
        { table, field: name },
      );
    }
  }
  return { table, id, idType, fields, schema };
}

export function encodeMeta(meta: TableMeta): Uint8Array {
  return utf8(encodeValue(meta));
}

export function decodeMeta(bytes: Uint8Array, table: string): TableMeta {
  let meta: TableMeta;
  try {
    meta = decodeValue(fromUtf8(bytes)) as TableMeta;
  } catch (cause) {
    throw new CorruptError(`Cannot read the schema of table "${table}": not written by e2db`, { table, cause });
  }
  if (meta.format !== 1) {
    throw new CorruptError(`Cannot read the schema of table "${table}": format ${meta.format}, this e2db reads 1`, {
      table,
      hint: "upgrade this program",
    });
  }
  return meta;
}

const shapeOf = (spec: FieldSpec, state: FieldShape["state"]): FieldShape => ({
  type: spec.type,
  required: spec.required || spec.default !== undefined,
  encrypted: spec.encrypted,
  index: spec.index,
  state,
  ...(spec.default !== undefined && { absent: spec.default.value }),
});

/** The schema of a new table, whose indexes are ready because it has no rows. */
export function firstMeta(declared: Declared): TableMeta {
  const fields: TableMeta["fields"] = {};
  for (const [name, spec] of declared.fields) fields[name] = shapeOf(spec, "ready");
  return { format: 1, state: "live", epoch: 1, id: declared.id, idType: declared.idType, fields };
}

/**
 * The change that a declaration requires of a stored table: undefined for none, or the new schema with the indexes to
 * build and the fields that must be verified to have a value in all rows. Fields that the program does not know, and
 * indexes and requirements that it does not declare, are kept for other programs; {@link narrow} removes them. Throws
 * SchemaChangeError for a change that is incompatible with stored rows.
 */
export function reconcile(
  declared: Declared,
  meta: TableMeta,
): { meta: TableMeta; build: string[]; verify: string[] } | undefined {
  const { table } = declared;
  if (declared.id !== meta.id || declared.idType !== meta.idType) {
    throw new SchemaChangeError(
      `Cannot open table "${table}": its id is ${meta.idType} "${meta.id}", declared ${declared.idType} "${declared.id}"`,
      {
        table,
        field: declared.id,
        hint: "an id cannot change: create a table under a new name, export this one and import it there",
      },
    );
  }
  const fields = { ...meta.fields };
  const build: string[] = [];
  const verify: string[] = [];
  let changed = false;
  for (const [name, spec] of declared.fields) {
    const before = fields[name];
    if (before === undefined) {
      const after = shapeOf(spec, spec.index === "none" ? "ready" : "building");
      if (spec.index !== "none") build.push(name);
      if (spec.required && spec.default === undefined) {
        after.checking = true;
        verify.push(name);
      }
      fields[name] = after;
      changed = true;
      continue;
    }
    refuseIncompatible(table, name, before, spec);
    const after = { ...before };
    if (spec.type !== "any") after.type = spec.type;
    const needed = (spec.required || spec.default !== undefined) && name !== declared.id;
    if (needed && (!before.required || before.checking)) {
      after.required = true;
      after.checking = true;
      verify.push(name);
    }
    const wider = indexRank[spec.index] > indexRank[before.index];
    if (wider || (spec.index !== "none" && before.state === "building")) {
      if (wider) after.index = spec.index;
      after.state = "building";
      build.push(name);
    }
    if (encodeValue(after) !== encodeValue(before)) changed = true;
    fields[name] = after;
  }
  if (changed) return { meta: { ...meta, epoch: meta.epoch + 1, fields }, build, verify };
  // Work that another program began, and may be doing still: both can do it, neither must stop the other.
  return build.length > 0 || verify.length > 0 ? { meta, build, verify } : undefined;
}

/** A declaration can only add: a program that declares less must not remove what another program relies on. */
const indexRank = { none: 0, index: 1, unique: 2 } as const;

function refuseIncompatible(table: string, name: string, before: FieldShape, spec: FieldSpec): void {
  const typed = before.type !== "any" && spec.type !== "any";
  const what = typed && before.type !== spec.type
    ? `is ${before.type}, declared ${spec.type}`
    : before.encrypted !== spec.encrypted
    ? `is ${before.encrypted ? "" : "not "}encrypted, declared ${spec.encrypted ? "" : "not "}encrypted`
    : undefined;
  if (what === undefined) return;
  throw new SchemaChangeError(`Cannot open table "${table}": field "${name}" ${what}`, {
    table,
    field: name,
    hint: `1. add a field with a new name; 2. copy "${name}" into it row by row with update(); ` +
      `3. let programs read the new field; 4. leave "${name}" out of the declaration`,
  });
}

/** The fields whose index or requirement is removed. */
export interface Narrowing {
  dropIndex?: readonly string[];
  makeOptional?: readonly string[];
}

/** The schema without these indexes and requirements. Throws SchemaChangeError for a field that the table does not have. */
export function narrow(table: string, meta: TableMeta, { dropIndex = [], makeOptional = [] }: Narrowing): TableMeta {
  const fields = { ...meta.fields };
  const change = (name: string, part: Partial<FieldShape>) => {
    const before = fields[name];
    if (before === undefined || name === meta.id) {
      throw new SchemaChangeError(`Cannot alter field "${name}" of table "${table}": no such field besides the id`, {
        table,
        field: name,
      });
    }
    fields[name] = { ...before, ...part };
  };
  for (const name of dropIndex) change(name, { index: "none", state: "ready" });
  for (const name of makeOptional) change(name, { required: false, checking: undefined });
  return { ...meta, epoch: meta.epoch + 1, fields };
}
