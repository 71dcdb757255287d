/** Readers of untrusted JSON from disk and from peers. Each returns a checked value, or throws a TypeError. */

export type Json = Readonly<Record<string, unknown>>;

const listMax = 256;
const textMax = 4_096;

export function object(value: unknown): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new TypeError("an object is missing");
  return value as Json;
}

/** At most 4,096 characters. */
export function text(value: unknown): string {
  if (typeof value !== "string" || value.length > textMax) throw new TypeError("a string is missing or too long");
  return value;
}

export function finite(value: unknown): number {
  if (typeof value !== "number" || !Number.isFinite(value)) throw new TypeError("a number is missing");
  return value;
}

/** An integer >= 0. */
export function count(value: unknown): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new TypeError("a count is missing");
  return value as number;
}

/** At most 256 entries. */
export function list(value: unknown): readonly unknown[] {
  if (!Array.isArray(value) || value.length > listMax) throw new TypeError("a list is missing or too long");
  return value;
}

export const texts = (value: unknown): string[] => list(value).map(text);

/** The field `name` of `from` as an object to spread; an empty object when the field is absent. */
export function optional<K extends string, T>(
  from: Json,
  name: K,
  read: (value: unknown) => T,
): { readonly [P in K]?: T } {
  if (from[name] === undefined) return {};
  return { [name]: read(from[name]) } as { readonly [P in K]?: T };
}
