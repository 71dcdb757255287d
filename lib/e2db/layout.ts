/**
 * Which keys a table has in etcd. All names are under the namespace and "!":
 *
 *   m/<table>                  the table's schema and epoch
 *   t/<table>/r/<id>           the row                          t/<table>/R/<~id>          its mirror
 *   t/<table>/i/<field>/<value><id>   an index entry            t/<table>/I/<field>/<~…>   its mirror
 *   t/<table>/u/<field>/<value>       a unique entry            t/<table>/U/<field>/<~…>   its mirror
 *   t/<table>/g/<field>        guard: written whenever an entry of that field's space goes away
 *   t/<table>/c                the last number given out by an increment id
 *   l/<name>/<holder>          a place in the queue of a lock
 *
 * A mirror has an empty value and the complement of the entry's order, because etcd answers a limited read in descending
 * order by sorting the whole range: the mirror finds where the last n entries begin. A null in a unique field does not
 * count as a value, so its entry carries the row's id like that of a plain index.
 */
import { complement, concat, prefixEnd, utf8 } from "./bytes.ts";
import { encodeOrdered, type Orderable } from "./order.ts";
import type { TableMeta } from "./schema.ts";
import type { Values } from "./codec.ts";

/** One ordered set of keys: the rows by id, or one index. */
export interface Space {
  field: string;
  kind: "row" | "index" | "unique";
  forward: Uint8Array;
  mirror: Uint8Array;
  guard: Uint8Array;
}

/** One entry of a space, without the space's prefix. */
export interface Entry {
  space: Space;
  suffix: Uint8Array;
  /** True when no other row may have this very entry: the row itself, or a value of a unique field. */
  exclusive: boolean;
}

export class Layout {
  readonly table: string;
  readonly meta: Uint8Array;
  readonly counter: Uint8Array;
  /** Everything but the meta key is under this prefix. */
  readonly data: Uint8Array;
  readonly #base: string;
  readonly #spaces = new Map<string, Space>();

  constructor(namespace: string, table: string) {
    this.table = table;
    this.meta = utf8(`${namespace}!m/${table}`);
    this.#base = `${namespace}!t/${table}/`;
    this.data = utf8(this.#base);
    this.counter = utf8(`${this.#base}c`);
  }

  rows(idField: string): Space {
    return this.#space("row", idField);
  }

  index(field: string, kind: "index" | "unique"): Space {
    return this.#space(kind, field);
  }

  #space(kind: Space["kind"], field: string): Space {
    const name = `${kind}/${field}`;
    let space = this.#spaces.get(name);
    if (space === undefined) {
      const [forward, mirror] = { row: ["r/", "R/"], index: ["i/", "I/"], unique: ["u/", "U/"] }[kind];
      const path = kind === "row" ? "" : `${field}/`;
      space = {
        field,
        kind,
        forward: utf8(`${this.#base}${forward}${path}`),
        mirror: utf8(`${this.#base}${mirror}${path}`),
        guard: utf8(`${this.#base}g/${field}`),
      };
      this.#spaces.set(name, space);
    }
    return space;
  }

  /** Every entry a row has under this schema, the row itself first; indexes still being built are kept up, too. */
  entries(meta: TableMeta, id: Orderable, values: Values): Entry[] {
    const idBytes = encodeOrdered(id);
    const entries: Entry[] = [{ space: this.rows(meta.id), suffix: idBytes, exclusive: true }];
    for (const [name, shape] of Object.entries(meta.fields)) {
      if (shape.index === "none") continue;
      const value = storedValue(meta, name, values) as Orderable;
      const encoded = encodeOrdered(value);
      const exclusive = shape.index === "unique" && value !== null;
      const suffix = exclusive ? encoded : concat(encoded, idBytes);
      entries.push({ space: this.#space(shape.index, name), suffix, exclusive });
    }
    return entries;
  }
}

/** The value a row has in a field; rows older than the field have what was declared for them then. */
export function storedValue(meta: TableMeta, name: string, values: Values): unknown {
  return values[name] === undefined ? meta.fields[name]?.absent ?? null : values[name];
}

export const forwardKey = ({ space, suffix }: Pick<Entry, "space" | "suffix">): Uint8Array =>
  concat(space.forward, suffix);
export const mirrorKey = ({ space, suffix }: Entry): Uint8Array => concat(space.mirror, complement(suffix));
/** The end of everything under a prefix of ours; never all 0xFF, as it ends in "/" or text. */
export const endOf = (prefix: Uint8Array): Uint8Array => prefixEnd(prefix)!;
