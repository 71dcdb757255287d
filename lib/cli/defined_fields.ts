/**
 * Returns the fields of `values` that are neither undefined nor an empty string. Scripts and unit files pass an empty
 * string for a flag that they do not set.
 */
export function definedFields<T extends Record<string, unknown>>(
  values: T,
): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined && value !== "")) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
