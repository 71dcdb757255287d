/**
 * The keys of a table in etcd. All names follow the namespace and "!":
 *
 *   m/<table>                          the table's schema and epoch
 *   t/<table>/r/<id>                   the row
 *   t/<table>/i/<field>/<value><id>    an index entry, with a copy of the row
 *   t/<table>/u/<field>/<value>        a unique entry, likewise
 *   t/<table>/rs/… is/… us/…           samples of the entries, about one in 32, and
 *   t/<table>/rb/… ib/… ub/…           the same in reverse order: the complement of the entry
 *   t/<table>/g/<field>                guard: written whenever an entry of that field's space is removed
 *   t/<table>/c                        the last number that an increment id was given
 *   l/<name>/<holder>                  a place in the queue of a lock
 *
 * Samples exist because of two properties of etcd: it counts the whole range of every limited read, and it sorts the
 * whole range for a limited read in descending order. Both take time in proportion to the table. A read of the samples,
 * 32 times smaller, gives the end or the beginning of about n entries. Samples only set the size of pages: the result of
 * a read never depends on them.
 *
 * A null in a unique field does not count as a value, so its entry contains the row's id, as in a plain index.
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
  samples: Uint8Array;
  samplesBack: Uint8Array;
  guard: Uint8Array;
}

/** One entry of a space, without the space's prefix. */
export interface Entry {
  space: Space;
  suffix: Uint8Array;
  /** True when no other row may have the same entry: the row itself, or a value of a unique field. */
  exclusive: boolean;
}

export class Layout {
  readonly table: string;
  readonly meta: Uint8Array;
  readonly counter: Uint8Array;
  /** The prefix of all keys but the meta key. */
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
      const letter = { row: "r", index: "i", unique: "u" }[kind];
      const path = kind === "row" ? "" : `${field}/`;
      space = {
        field,
        kind,
        forward: utf8(`${this.#base}${letter}/${path}`),
        samples: utf8(`${this.#base}${letter}s/${path}`),
        samplesBack: utf8(`${this.#base}${letter}b/${path}`),
        guard: utf8(`${this.#base}g/${field}`),
      };
      this.#spaces.set(name, space);
    }
    return space;
  }

  /** Every entry of a row under this schema, the row itself first. Includes indexes that are still being built. */
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

/** The value of a field. In rows older than the field, it is the default that was declared with the field. */
export function storedValue(meta: TableMeta, name: string, values: Values): unknown {
  return values[name] === undefined ? meta.fields[name]?.absent ?? null : values[name];
}

export const forwardKey = ({ space, suffix }: Pick<Entry, "space" | "suffix">): Uint8Array =>
  concat(space.forward, suffix);

/** The average number of entries per sample. */
export const sampleSpacing = 32;

/** The sample keys of an entry; none for most entries. */
export function sampleKeys({ space, suffix }: Pick<Entry, "space" | "suffix">): Uint8Array[] {
  return isSample(suffix) ? [concat(space.samples, suffix), concat(space.samplesBack, complement(suffix))] : [];
}

/** FNV-1a with its upper bits folded in: every program selects the same entries. */
function isSample(suffix: Uint8Array): boolean {
  let hash = 0x811c9dc5;
  for (const byte of suffix) hash = Math.imul(hash ^ byte, 0x01000193);
  return ((hash ^ (hash >>> 15)) & (sampleSpacing - 1)) === 0;
}

/** The end of all keys with one of e2db's prefixes, which are never all 0xFF. */
export const endOf = (prefix: Uint8Array): Uint8Array => prefixEnd(prefix)!;
