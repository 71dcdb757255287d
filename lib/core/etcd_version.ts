/** Versions of etcd as its members say them. */

export interface EtcdVersion {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
}

/** Of "3.6.14" or "3.6"; undefined for anything else. */
export function parseVersion(text: string): EtcdVersion | undefined {
  const match = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(text);
  if (match === null) return undefined;
  return { major: Number(match[1]), minor: Number(match[2]), patch: Number(match[3] ?? 0) };
}

/** "3.6", the oldest minor version among these; undefined among none. */
export function oldestMinor(versions: readonly string[]): string | undefined {
  const [oldest] = versions.flatMap((text) => parseVersion(text) ?? [])
    .sort((a, b) => a.major - b.major || a.minor - b.minor);
  return oldest === undefined ? undefined : `${oldest.major}.${oldest.minor}`;
}
