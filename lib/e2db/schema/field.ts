/** The field builders: `field.string().unique().required()`. Their types carry the same facts to the compiler. */
export type FieldType = "id" | "increment" | "string" | "number" | "boolean" | "date" | "bytes" | "json" | "any";

/** The result of a builder, as plain data. */
export interface FieldSpec {
  type: FieldType;
  required: boolean;
  index: "none" | "index" | "unique";
  encrypted: boolean;
  /** Present when the field has a default. */
  default?: { value: unknown } | undefined;
}

/**
 * Whether an insert must give the field: `required` must be given; an omitted `optional` field is null; an omitted
 * `filled` field gets its default; an omitted `id` is generated.
 */
export type Presence = "optional" | "required" | "filled" | "id";

declare const valueType: unique symbol;

/** One field of a table. Every method returns a new one. */
export class Field<T, P extends Presence = "optional"> {
  /** For the type only; never set. */
  declare readonly [valueType]: [T, P];
  readonly spec: Readonly<FieldSpec>;

  constructor(spec: Readonly<FieldSpec>) {
    this.spec = spec;
  }

  /** Must be given at insert and can never be null. */
  required(): Field<T, P extends "optional" ? "required" : P> {
    return new Field({ ...this.spec, required: true });
  }

  /** No two rows may have the same value, except null. Implies an index. */
  unique(): Field<T, P> {
    return new Field({ ...this.spec, index: "unique" });
  }

  /** Keeps an index in etcd: conditions, orderBy and limit on this field read only the rows that they need. */
  index(): Field<T, P> {
    return new Field({ ...this.spec, index: this.spec.index === "unique" ? "unique" : "index" });
  }

  /** Encrypted by AES-256-GCM with the key given to open(). Cannot be indexed or searched. */
  encrypted(): Field<T, P> {
    return new Field({ ...this.spec, encrypted: true });
  }

  /** The value of an omitted field, and of rows that were stored before the field was added. */
  default(value: T): Field<T, P extends "id" ? "id" : "filled"> {
    return new Field({ ...this.spec, default: { value } });
  }
}

// deno-lint-ignore no-explicit-any -- stands for a field of every type
export type AnyField = Field<any, Presence>;
export type FieldMap = Readonly<Record<string, AnyField>>;

const make = <T, P extends Presence = "optional">(type: FieldType): Field<T, P> =>
  new Field({ type, required: false, index: "none", encrypted: false });

export const field = {
  /** The row's id as text. Default: a random UUID. */
  id: (): Field<string, "id"> => make("id"),
  /** The row's id as a whole number, counted up from 1. A failed insert may leave a gap. */
  increment: (): Field<number, "id"> => make("increment"),
  string: <T extends string = string>(): Field<T> => make("string"),
  /** A double. -0 is stored as 0; NaN is rejected. */
  number: (): Field<number> => make("number"),
  boolean: (): Field<boolean> => make("boolean"),
  /** Precision: milliseconds. */
  date: (): Field<Date> => make("date"),
  bytes: (): Field<Uint8Array> => make("bytes"),
  /** A JSON value, which may contain dates and bytes. Not searchable. */
  json: <T>(): Field<T> => make("json"),
};

type ValueOf<F> = F extends Field<infer T, Presence> ? T : never;
type PresenceOf<F> = F extends Field<infer _T, infer P> ? P : never;
type Flat<T> = { [K in keyof T]: T[K] } & unknown;

/** A row as it is read: an `optional` field may be null. */
export type RowOf<F extends FieldMap> = Flat<
  { -readonly [K in keyof F]: PresenceOf<F[K]> extends "optional" ? ValueOf<F[K]> | null : ValueOf<F[K]> }
>;

/** A row for insert. */
export type InsertOf<F extends FieldMap> = Flat<
  & { -readonly [K in keyof F as PresenceOf<F[K]> extends "required" ? K : never]: ValueOf<F[K]> }
  & { -readonly [K in keyof F as PresenceOf<F[K]> extends "filled" | "id" ? K : never]?: ValueOf<F[K]> | undefined }
  & { -readonly [K in keyof F as PresenceOf<F[K]> extends "optional" ? K : never]?: ValueOf<F[K]> | null | undefined }
>;

/** The type of a row's id; `never` for a map without an id field, which table() rejects. */
export type IdOf<F extends FieldMap> = {
  [K in keyof F]: PresenceOf<F[K]> extends "id" ? ValueOf<F[K]> : never;
}[keyof F];
