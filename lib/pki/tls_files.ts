/** Checks whether the files of a complete TLS set are usable for their roles. Reports all problems at once. */
import { describeError, E2dError, isE2dError } from "../errors.ts";
import type { Files } from "../ports.ts";
import { allowsUsage, type Certificate, readCertificates } from "./certificate.ts";
import { verifyChain } from "./chain.ts";
import { coversHost, formatHost, parseHost } from "./host.ts";
import { type Profile, profileUsages } from "./issue.ts";
import { readPemFile } from "./key_files.ts";
import { type Pair, readPair } from "./pair.ts";
import { loadAuthority } from "./authority.ts";
import { readPrivateKey } from "./private_key.ts";
import type { PairPaths, TlsSet } from "./tls_set.ts";

export type CertificateRole = "ca" | Profile;

export interface TlsReport {
  /** Each prevents connections between members or with clients. */
  problems: string[];
  /** Each exposes a secret or can cause a later failure. */
  warnings: string[];
  certificates: { role: CertificateRole; path: string; notBeforeMs: number; notAfterMs: number }[];
}

export interface TlsExpectations {
  nowMs: number;
  /** Hosts of the advertised URLs that clients and members dial. */
  clientHosts: readonly string[];
  peerHosts: readonly string[];
}

/** Reads and checks all files of a set. Errors of files are reported, not thrown. */
export async function checkTlsFiles(files: Files, set: TlsSet, expect: TlsExpectations): Promise<TlsReport> {
  const report: TlsReport = { problems: [], warnings: [], certificates: [] };
  const authorities = set.kind === "mutual" ? await checkAuthorities(files, set.caCert, expect.nowMs, report) : [];
  if (set.caKey !== undefined) await checkAuthorityKey(files, set, set.caKey, report);
  if (set.kind === "plain") return report;
  const usedPairs: [Profile, PairPaths, readonly string[]][] = [
    ["server", set.server, expect.clientHosts],
    ["peer", set.peer, expect.peerHosts],
  ];
  if (set.clientFrom === "client") usedPairs.push(["client", set.client, []]);
  for (const [profile, paths, hosts] of usedPairs) {
    await warnIfReadable(files, paths.key, report);
    const pair = await attempt(report, () => readPair(files, paths, profile));
    if (pair) await checkPair({ pair, profile, hosts, authorities, nowMs: expect.nowMs, report });
  }
  return report;
}

/** Throws E2dError `tls_unusable` with all problems of a report, when it has any. */
export function requireUsable(report: TlsReport): void {
  if (report.problems.length === 0) return;
  throw new E2dError("tls_unusable", `Cannot start with these certificates: ${report.problems.join("; ")}`, {
    hint: "run e2d pki inspect as the user of e2d: it lists every certificate with its problems",
  });
}

async function checkAuthorities(
  files: Files,
  path: string,
  nowMs: number,
  report: TlsReport,
): Promise<readonly Certificate[]> {
  const authorities = await attempt(report, async () => {
    const { text } = await readPemFile(files, path, "CA certificate");
    return await readCertificates(text, { role: "CA certificate", path });
  });
  if (authorities === undefined) return [];
  // At the end of a rollover an expired CA and a valid one are in the file: then the pairs decide.
  if (authorities.every((authority) => termProblem(authority, nowMs) !== undefined)) {
    report.problems.push(`the CA certificate "${path}" ${termProblem(authorities[0], nowMs)}`);
  }
  for (const authority of authorities) {
    report.certificates.push({
      role: "ca",
      path,
      notBeforeMs: authority.notBeforeMs,
      notAfterMs: authority.notAfterMs,
    });
  }
  return authorities;
}

async function checkAuthorityKey(files: Files, set: TlsSet, caKey: string, report: TlsReport): Promise<void> {
  await warnIfReadable(files, caKey, report);
  await attempt(report, async () => {
    const key = await readPemFile(files, caKey, "CA key");
    if (set.kind === "plain") return readPrivateKey(key.text, { role: "CA key", path: caKey });
    // Without the CA certificate, which is already reported as missing, the key cannot be checked.
    const text = await files.readText(set.caCert);
    if (text !== undefined) await loadAuthority({ certificate: { path: set.caCert, text }, key });
  });
}

async function checkPair(options: {
  pair: Pair;
  profile: Profile;
  hosts: readonly string[];
  authorities: readonly Certificate[];
  nowMs: number;
  report: TlsReport;
}): Promise<void> {
  const { pair, profile, authorities, nowMs, report } = options;
  const { certificate, intermediates, paths } = pair;
  const what = `the ${profile} certificate "${paths.cert}"`;
  const { notBeforeMs, notAfterMs } = certificate;
  report.certificates.push({ role: profile, path: paths.cert, notBeforeMs, notAfterMs });
  const term = termProblem(certificate, nowMs);
  if (term) report.problems.push(`${what} ${term}`);
  for (const usage of profileUsages[profile]) {
    if (!allowsUsage(certificate, usage)) {
      report.problems.push(
        `${what} is not made for "${usage}", only for ${certificate.usages?.join(", ") || "nothing"}`,
      );
    }
  }
  if (authorities.length > 0) {
    const chain = await verifyChain({ certificate, intermediates, authorities, nowMs });
    if (chain.kind === "unverified") report.problems.push(`${what} is ${chain.reason}`);
  }
  for (const host of options.hosts) {
    if (!coversHost(certificate.names, parseHost(host))) {
      const names = certificate.names.map(formatHost).join(", ") || "none";
      report.problems.push(`${what} does not name the advertised host "${host}" (it names: ${names})`);
    }
  }
}

/** "expired on …" or "is not valid before …"; undefined in between. */
export function termProblem(
  certificate: Pick<Certificate, "notBeforeMs" | "notAfterMs">,
  nowMs: number,
): string | undefined {
  if (nowMs >= certificate.notAfterMs) return `expired on ${isoTime(certificate.notAfterMs)}`;
  if (nowMs < certificate.notBeforeMs) {
    return `is not valid before ${isoTime(certificate.notBeforeMs)} (is this machine's clock right?)`;
  }
  return undefined;
}

/** "2031-11-22T06:42:00Z". */
export const isoTime = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");

async function warnIfReadable(files: Files, path: string, report: TlsReport): Promise<void> {
  const warning = await readableWarning(files, path);
  // Two roles may share one key.
  if (warning && !report.warnings.includes(warning)) report.warnings.push(warning);
}

/** A warning when other users than the owner can read a key file; undefined otherwise or when the file does not exist. */
export async function readableWarning(files: Files, path: string): Promise<string | undefined> {
  // Follows links, whose own mode is always open: Kubernetes mounts secrets as links.
  const info = await files.info(path, { followLinks: true });
  if (info === undefined || (info.mode & 0o077) === 0) return undefined;
  // A certificate passed as a key is reported elsewhere, and every user may read it.
  const text = new TextDecoder().decode(await files.read(path));
  if (text.includes("-----BEGIN CERTIFICATE") && !text.includes("PRIVATE KEY-----")) return undefined;
  const readers = (info.mode & 0o007) === 0 ? "its group" : "every user of this machine";
  return `the key "${path}" can be read by ${readers}: chmod 600 ${path}`;
}

async function attempt<T>(report: TlsReport, action: () => Promise<T>): Promise<T | undefined> {
  try {
    return await action();
  } catch (error) {
    if (!isE2dError(error)) throw error;
    // Go supports keys that WebCrypto does not, so an unsupported key must not prevent the start.
    if (isE2dError(error, "pki_key_unsupported")) report.warnings.push(describeError(error));
    else report.problems.push(describeError(error));
    return undefined;
  }
}
