import { E2dError } from "../errors.ts";

/** What a node runs when nobody says otherwise: the newest release whose sum is pinned. */
export const defaultVersion = "3.6.14";

/** The minor releases that e2d manages, oldest and newest. */
export const oldestMinor = { major: 3, minor: 4 } as const;
export const newestMinor = { major: 3, minor: 7 } as const;

export interface EtcdVersion {
  major: number;
  minor: number;
  patch: number;
  /** "rc.1" of "3.7.0-rc.1"; empty for a release. */
  preRelease: string;
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

/** "3.7" of "3.6.14"; undefined where e2d manages none that is newer. */
export function minorAfter(version: string): string | undefined {
  const one = parseVersion(version);
  if (one === undefined || !isSupported({ ...one, minor: one.minor + 1 })) return undefined;
  return `${one.major}.${one.minor + 1}`;
}

/** True from 3.4.0 to the last 3.7. */
export function isSupported({ major, minor }: EtcdVersion): boolean {
  return major === oldestMinor.major && minor >= oldestMinor.minor && minor <= newestMinor.minor;
}

/** The same as people write it. */
export const supportedRange = `${oldestMinor.major}.${oldestMinor.minor} to ${newestMinor.major}.${newestMinor.minor}`;

/**
 * A version that e2d can run, from what an operator typed. Throws E2dError `etcd_version_invalid` or
 * `etcd_version_unsupported`.
 */
export function parseSupportedVersion(text: string): string {
  const version = parseVersion(text);
  if (version === undefined) {
    throw new E2dError("etcd_version_invalid", `Cannot use etcd version "${text}": it is not a version`, {
      hint: `write it as ${defaultVersion}`,
    });
  }
  if (!isSupported(version)) {
    throw new E2dError(
      "etcd_version_unsupported",
      `Cannot use etcd version "${text}": e2d manages ${supportedRange}`,
      { hint: `the default is ${defaultVersion}` },
    );
  }
  return formatVersion(version);
}

/** The version in what `etcd --version` prints ("etcd Version: 3.6.14" on its first line); undefined when absent. */
export function versionInOutput(output: string): string | undefined {
  const match = /^etcd Version:\s*(\S{1,64})\s*$/m.exec(output);
  const version = match === null ? undefined : parseVersion(match[1]!);
  return version && formatVersion(version);
}
