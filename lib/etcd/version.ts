/** The versions of etcd that e2d manages, and how an operator may write one. */
import { E2dError } from "../errors.ts";
import { type EtcdVersion, formatVersion, parseVersion } from "../facts/etcd_version.ts";

/** Runs without `--etcd-version`. Its checksum is pinned. */
export const defaultVersion = "3.6.14";

/** The minor releases that e2d manages, oldest and newest. */
const oldestManagedMinor = { major: 3, minor: 4 } as const;
const newestManagedMinor = { major: 3, minor: 7 } as const;

/** "3.7" for "3.6.14"; undefined when e2d manages no newer one. */
export function minorAfter(version: string): string | undefined {
  const parsed = parseVersion(version);
  if (parsed === undefined || !isSupported({ ...parsed, minor: parsed.minor + 1 })) return undefined;
  return `${parsed.major}.${parsed.minor + 1}`;
}

/** "3.4" to "3.7", oldest first. */
export const managedMinors: readonly string[] = Array.from(
  { length: newestManagedMinor.minor - oldestManagedMinor.minor + 1 },
  (_, at) => `${oldestManagedMinor.major}.${oldestManagedMinor.minor + at}`,
);

/** True for every release of 3.4 to 3.7. */
export function isSupported({ major, minor }: EtcdVersion): boolean {
  return major === oldestManagedMinor.major && minor >= oldestManagedMinor.minor && minor <= newestManagedMinor.minor;
}

/** The range of managed versions, for messages. */
export const supportedRange =
  `${oldestManagedMinor.major}.${oldestManagedMinor.minor} to ${newestManagedMinor.major}.${newestManagedMinor.minor}`;

/**
 * The plain form of a version that an operator typed. Throws E2dError `etcd_version_invalid` or
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

/** The version in the output of `etcd --version` ("etcd Version: 3.6.14"); undefined when there is none. */
export function versionInOutput(output: string): string | undefined {
  const match = /^etcd Version:\s*(\S{1,64})\s*$/m.exec(output);
  const version = match === null ? undefined : parseVersion(match[1]!);
  return version && formatVersion(version);
}
