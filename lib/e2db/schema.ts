/** What a table is: as a program declares it, as etcd holds it, and whether the two fit together. Pure. */
import { decodeValue, encodeValue } from "./codec.ts";
import { fromUtf8, utf8 } from "./bytes.ts";
import { BadSchemaError, CorruptError, SchemaChangeError } from "./errors.ts";
import type { FieldMap, FieldSpec, FieldType } from "./field.ts";
import type { StandardSchema } from "./standard_schema.ts";

/** One field as etcd holds it. */
export interface FieldShape {
  type: FieldType;
  /** Every write is held to it. */
  required: boolean;
  /** The rows from before the field was required are still to be looked through. */
  checking?: true | undefined;
  encrypted: boolean;
  index: "none" | "index" | "unique";
  /** An index is maintained from the first moment, but read only when it is ready. */
  state: "ready" | "building";
  /** What rows older than the field have in it. */
  absent?: unknown;
}

/** The schema of a table under its meta key. Every write compares that key, so no writer works by an old schema. */
export interface TableMeta {
  format: 1;
  state: "live" | "dropping";
  /** Counts the changes of the schema. */
  epoch: number;
  id: string;
  idType: "id" | "increment";
  fields: Record<string, FieldShape>;
}

/** One table as the program declares it. */
export interface Declared {
  table: string;
  id: string;
  idType: "id" | "increment";
  fields: ReadonlyMap<string, FieldSpec>;
  /** Given when a Standard Schema stands in place of the field map; fields without a role are then not listed. */
  schema?: StandardSchema | undefined;
}

/** Which fields of a Standard Schema have a role. */
export interface SchemaRoles {
  /** Default "id". */
  id?: string;
  /** The id counts up instead of being text. */
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
        refuse("an id is unique and ordered by itself, and can be neither encrypted nor have a default");
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

/** The schema of a new table, which has no rows and so no index to build. */
export function firstMeta(declared: Declared): TableMeta {
  const fields: TableMeta["fields"] = {};
  for (const [name, spec] of declared.fields) fields[name] = shapeOf(spec, "ready");
  return { format: 1, state: "live", epoch: 1, id: declared.id, idType: declared.idType, fields };
}

/**
 * What a declaration asks of a stored table: nothing (undefined), or a changed schema, with the indexes to build and the
 * fields whose rows must all prove to have a value. Fields the program does not know, and indexes and requirements it does
 * not declare, stay as they are, for the programs that do; {@link narrow} takes them back. Throws SchemaChangeError for a change that stored rows cannot follow.
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
    refuseUnfollowable(table, name, before, spec);
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

/** A declaration can only widen: a program that asks for less must not undo what another one relies on. */
const indexRank = { none: 0, index: 1, unique: 2 } as const;

function refuseUnfollowable(table: string, name: string, before: FieldShape, spec: FieldSpec): void {
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

/** What to take back from a table's schema, by field name. */
export interface Narrowing {
  dropIndex?: readonly string[];
  makeOptional?: readonly string[];
}

/** The schema without what is taken back; throws SchemaChangeError for a field the table does not have. */
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
