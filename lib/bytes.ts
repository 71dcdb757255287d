/** Functions on byte strings. Comparison is byte by byte, as in etcd. Must import nothing. */

/** All parts in sequence, in a new array. */
export function concat(...parts: readonly ArrayLike<number>[]): Uint8Array<ArrayBuffer> {
  let length = 0;
  for (const part of parts) length += part.length;
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** Negative, zero or positive, as for Array.sort. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index++) {
    const difference = a[index]! - b[index]!;
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** Not for secrets: the time depends on the position of the first difference. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a === b || (a.length === b.length && compareBytes(a, b) === 0);
}

/** The smallest byte string above all that start with `prefix`; undefined: none exists (all 0xFF). */
export function prefixEnd(prefix: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
  for (let index = prefix.length - 1; index >= 0; index--) {
    if (prefix[index] === 0xff) continue;
    const end = new Uint8Array(prefix.subarray(0, index + 1));
    end[index]!++;
    return end;
  }
  return undefined;
}
