/**
 * Formats amounts for the terminal and the page. The script of the page contains the source of these functions, so each
 * must depend only on its arguments.
 */

/** `0 s` to `119 s`, then whole minutes, hours and days, rounded down. Negative durations are `0 s`. */
export function durationText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}

/** `1023 B`, `1 KiB`, `1.5 MiB`: units of 1024, one decimal if it is not an integer. */
export function bytesText(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let at = 0;
  for (; value >= 1_024 && at < units.length - 1; at++) value /= 1_024;
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[at]}`;
}
