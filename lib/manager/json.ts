/** Readers of JSON from disk and from peers: each says what a value must be, or throws a TypeError that says what is not. */

export type Json = Readonly<Record<string, unknown>>;

const listMax = 256;
const textMax = 4_096;

export function object(value: unknown): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new TypeError("an object is missing");
  return value as Json;
}

/** At most 4,096 characters. */
export function text(value: unknown): string {
  if (typeof value !== "string" || value.length > textMax) throw new TypeError("a text is missing or too long");
  return value;
}

export function finite(value: unknown): number {
  if (typeof value !== "number" || !Number.isFinite(value)) throw new TypeError("a number is missing");
  return value;
}

/** A whole number from 0 on. */
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
