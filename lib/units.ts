/**
 * Amounts as people read them, in the terminal and on the page. The page's script takes these functions from the program
 * as they are: each needs nothing but its arguments.
 */

/** `0 s` to `119 s`, then whole minutes, hours, days, rounded down. Less than nothing, by a clock behind, is `0 s`. */
export function durationText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}

/** `1023 B`, `1 KiB`, `1.5 MiB`: units of 1024, one decimal where it is not whole. */
export function bytesText(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let at = 0;
  for (; value >= 1_024 && at < units.length - 1; at++) value /= 1_024;
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[at]}`;
}
