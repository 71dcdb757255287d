/**
 * Which keys a table has in etcd. All names are under the namespace and "!":
 *
 *   m/<table>                          the table's schema and epoch
 *   t/<table>/r/<id>                   the row
 *   t/<table>/i/<field>/<value><id>    an index entry, with a copy of the row
 *   t/<table>/u/<field>/<value>        a unique entry, likewise
 *   t/<table>/rs/… is/… us/…           samples of the entries, about one in 32, and
 *   t/<table>/rb/… ib/… ub/…           the same backwards: the complement of the entry
 *   t/<table>/g/<field>                guard: written whenever an entry of that field's space goes away
 *   t/<table>/c                        the last number given out by an increment id
 *   l/<name>/<holder>                  a place in the queue of a lock
 *
 * Samples exist because of two properties of etcd: it counts the whole range of every limited read, and it answers a
 * limited read in descending order by sorting the whole range. Both cost time in proportion to the table. The samples
 * tell, in a read 32 times smaller, where a range of about n entries ends or begins. They only steer: a reading is
 * complete whatever they say.
 *
 * A null in a unique field does not count as a value, so its entry carries the row's id like that of a plain index.
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

/** One entry in so many is a sample, on average. */
export const sampleSpacing = 32;

/** The keys that make an entry a sample; none for most. */
export function sampleKeys({ space, suffix }: Pick<Entry, "space" | "suffix">): Uint8Array[] {
  return isSample(suffix) ? [concat(space.samples, suffix), concat(space.samplesBack, complement(suffix))] : [];
}

/** FNV-1a, with its upper bits folded in: the same entries for every program. */
function isSample(suffix: Uint8Array): boolean {
  let hash = 0x811c9dc5;
  for (const byte of suffix) hash = Math.imul(hash ^ byte, 0x01000193);
  return ((hash ^ (hash >>> 15)) & (sampleSpacing - 1)) === 0;
}

/** The end of everything under a prefix of ours; never all 0xFF, as it ends in "/" or text. */
export const endOf = (prefix: Uint8Array): Uint8Array => prefixEnd(prefix)!;
