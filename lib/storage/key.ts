const keyMaxBytes = 1_024;

/**
 * True for a key without special meaning in a file path or in the path of a URL, where "." and ".." are resolved. Keys come
 * from operators, and from listings of stores that others may write to.
 */
export function isPlainKey(key: string): boolean {
  return key !== "" && !key.startsWith("/") && key.isWellFormed() &&
    new TextEncoder().encode(key).length <= keyMaxBytes &&
    // deno-lint-ignore no-control-regex
    !/[\x00-\x1f\x7f]/.test(key) &&
    !key.split("/").some((part) => part === "." || part === "..");
}
