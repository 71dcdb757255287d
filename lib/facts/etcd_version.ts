/** Versions of etcd as text: reading, comparing and shortening them. Which versions e2d manages is in lib/etcd/version.ts. */

export interface EtcdVersion {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
  /** "rc.1" of "3.7.0-rc.1"; empty for a release. */
  readonly preRelease: string;
}

const pattern = /^v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?:-([0-9A-Za-z.-]{1,40}))?(?:\+[0-9A-Za-z.-]{1,40})?$/;

/** Reads "3.6.14" or "v3.6.14"; undefined for anything that is not a version. */
export function parseVersion(text: string): EtcdVersion | undefined {
  const match = pattern.exec(text.trim());
  if (match === null) return undefined;
  return { major: Number(match[1]), minor: Number(match[2]), patch: Number(match[3]), preRelease: match[4] ?? "" };
}

/** "3.6.14", without the leading v that release tags carry. */
export function formatVersion({ major, minor, patch, preRelease }: EtcdVersion): string {
  return `${major}.${minor}.${patch}${preRelease === "" ? "" : `-${preRelease}`}`;
}

/** Negative when `a` is older than `b`. A pre-release is older than its release; two of them compare as text. */
export function compareVersions(a: EtcdVersion, b: EtcdVersion): number {
  const numbers = a.major - b.major || a.minor - b.minor || a.patch - b.patch;
  if (numbers !== 0 || a.preRelease === b.preRelease) return numbers;
  if (a.preRelease === "") return 1;
  if (b.preRelease === "") return -1;
  return a.preRelease < b.preRelease ? -1 : 1;
}

/** True when this version, "3.6.14", is older than any of that minor version, "3.7". */
export function isBefore(version: string, minor: string): boolean {
  const [one, other] = [parseVersion(version), parseVersion(`${minor}.0`)];
  return one !== undefined && other !== undefined && compareVersions({ ...one, preRelease: "" }, other) < 0;
}

export type ReportedVersion = Omit<EtcdVersion, "preRelease">;

/** The numbers at the start of a version or minor version that a member reports, "3.6.14" or "3.6"; undefined: none. */
export function parseReportedVersion(text: string): ReportedVersion | undefined {
  const match = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(text);
  if (match === null) return undefined;
  return { major: Number(match[1]), minor: Number(match[2]), patch: Number(match[3] ?? 0) };
}

/** "3.6", the oldest minor version among these; undefined among none. */
export function oldestMinorOf(versions: readonly string[]): string | undefined {
  const [oldest] = versions.flatMap((text) => parseReportedVersion(text) ?? [])
    .sort((a, b) => a.major - b.major || a.minor - b.minor);
  return oldest === undefined ? undefined : `${oldest.major}.${oldest.minor}`;
}

/** "3.6" of "3.6.14". */
export function minorOf(version: string): string {
  return version.split(".").slice(0, 2).join(".");
}

/** Negative when the minor version `a`, "3.5", is older than `b`. */
export function compareMinors(a: string, b: string): number {
  const [one, other] = [parseReportedVersion(a), parseReportedVersion(b)];
  if (one === undefined || other === undefined) return 0;
  return one.major - other.major || one.minor - other.minor;
}
