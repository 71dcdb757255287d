/** The field builders: `field.string().unique().required()`. What they say at run time, their types say to the compiler. */
import type { Orderable } from "./order.ts";

export type FieldType = "id" | "increment" | "string" | "number" | "boolean" | "date" | "bytes" | "json" | "any";

/** What a builder has collected; plain data. */
export interface FieldSpec {
  type: FieldType;
  required: boolean;
  index: "none" | "index" | "unique";
  encrypted: boolean;
  /** Present when the field has a default. */
  default?: { value: unknown } | undefined;
}

/**
 * How a field takes part in inserts: it must be given; it may be left out and is null then; it is filled in when left
 * out; or it is the row's id, which is filled in, too.
 */
export type Presence = "optional" | "required" | "filled" | "id";

declare const valueType: unique symbol;

/** One field of a table; every method gives a new one. */
export class Field<T, P extends Presence = "optional"> {
  /** Carries the type alone; never set. */
  declare readonly [valueType]: [T, P];
  readonly spec: Readonly<FieldSpec>;

  constructor(spec: Readonly<FieldSpec>) {
    this.spec = spec;
  }

  /** The value must be given at insert and can never be null. */
  required(): Field<T, P extends "optional" ? "required" : P> {
    return new Field({ ...this.spec, required: true });
  }

  /** No two rows have the same value; null does not count. Implies an index. */
  unique(): Field<T, P> {
    return new Field({ ...this.spec, index: "unique" });
  }

  /** Kept in order in etcd: conditions, orderBy and limit on this field read only what they need. */
  index(): Field<T, P> {
    return new Field({ ...this.spec, index: this.spec.index === "unique" ? "unique" : "index" });
  }

  /** Stored under AES-256-GCM with a key given to open(); cannot be indexed or searched. */
  encrypted(): Field<T, P> {
    return new Field({ ...this.spec, encrypted: true });
  }

  /** Used when the field is left out; rows stored before the field was added read as this value, too. */
  default(value: T): Field<T, P extends "id" ? "id" : "filled"> {
    return new Field({ ...this.spec, default: { value } });
  }
}

// deno-lint-ignore no-explicit-any -- the constraint of a record of any fields
export type AnyField = Field<any, Presence>;
export type FieldMap = Readonly<Record<string, AnyField>>;

const make = <T, P extends Presence = "optional">(type: FieldType): Field<T, P> =>
  new Field({ type, required: false, index: "none", encrypted: false });

export const field = {
  /** The row's id as text; a random UUID unless the insert gives one. */
  id: (): Field<string, "id"> => make("id"),
  /** The row's id as a whole number counting up from 1. Unique and growing; a failed insert may leave a gap. */
  increment: (): Field<number, "id"> => make("increment"),
  string: <T extends string = string>(): Field<T> => make("string"),
  /** A double; -0 is stored as 0, NaN is refused. */
  number: (): Field<number> => make("number"),
  boolean: (): Field<boolean> => make("boolean"),
  /** Milliseconds precision. */
  date: (): Field<Date> => make("date"),
  bytes: (): Field<Uint8Array> => make("bytes"),
  /** Anything JSON can hold, and dates and bytes within it; not searchable. */
  json: <T>(): Field<T> => make("json"),
};

type ValueOf<F> = F extends Field<infer T, Presence> ? T : never;
type PresenceOf<F> = F extends Field<infer _T, infer P> ? P : never;
type Flat<T> = { [K in keyof T]: T[K] } & unknown;

/** What find gives: every field is there; one that is neither required nor filled may be null. */
export type RowOf<F extends FieldMap> = Flat<
  { -readonly [K in keyof F]: PresenceOf<F[K]> extends "optional" ? ValueOf<F[K]> | null : ValueOf<F[K]> }
>;

/** What insert takes. */
export type InsertOf<F extends FieldMap> = Flat<
  & { -readonly [K in keyof F as PresenceOf<F[K]> extends "required" ? K : never]: ValueOf<F[K]> }
  & { -readonly [K in keyof F as PresenceOf<F[K]> extends "filled" | "id" ? K : never]?: ValueOf<F[K]> | undefined }
  & { -readonly [K in keyof F as PresenceOf<F[K]> extends "optional" ? K : never]?: ValueOf<F[K]> | null | undefined }
>;

/** The type of a row's id; never for a map without an id field, which open tables refuse. */
export type IdOf<F extends FieldMap> = {
  [K in keyof F]: PresenceOf<F[K]> extends "id" ? ValueOf<F[K]> : never;
}[keyof F];

/** The values of a row that conditions can compare. */
export type Comparable<V> = Extract<V, Orderable>;
