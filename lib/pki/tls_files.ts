/** Whether the files of a complete set can do what they are configured for: everything found is reported at once. */
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
  /** Each would keep members or clients from talking to each other. */
  problems: string[];
  /** Each leaves a secret or a surprise lying about. */
  warnings: string[];
  certificates: { role: CertificateRole; path: string; notBeforeMs: number; notAfterMs: number }[];
}

export interface TlsExpectations {
  nowMs: number;
  /** Hosts of the URLs under which clients and members are told to dial this node. */
  clientHosts: readonly string[];
  peerHosts: readonly string[];
}

/** Reads and checks all files of a set; throws nothing that a file can cause. */
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
    hint: "e2d pki inspect, as the user that e2d runs as, shows every certificate with what is wrong with it",
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
  // An expired authority beside a valid one is what the end of a rollover looks like: the pairs decide.
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
    // Without its certificate the key cannot be held against anything; that absence is reported already.
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

/** Says that others than the owner can read a key file; undefined when they cannot or there is none. */
export async function readableWarning(files: Files, path: string): Promise<string | undefined> {
  // A link lets everybody through, to where the file may not: Kubernetes mounts secrets so.
  const info = await files.info(path, { followLinks: true });
  if (info === undefined || (info.mode & 0o077) === 0) return undefined;
  // A certificate by mistake: that is told elsewhere, and everybody may read it.
  const text = new TextDecoder().decode(await files.read(path));
  if (text.includes("-----BEGIN CERTIFICATE") && !text.includes("PRIVATE KEY-----")) return undefined;
  const who = (info.mode & 0o007) === 0 ? "its group" : "everybody on this machine";
  return `the key "${path}" can be read by ${who}: chmod 600 ${path}`;
}

async function attempt<T>(report: TlsReport, action: () => Promise<T>): Promise<T | undefined> {
  try {
    return await action();
  } catch (error) {
    if (!isE2dError(error)) throw error;
    // Go serves keys that WebCrypto does not know, so one that cannot be checked here is no reason not to start.
    if (isE2dError(error, "pki_key_unsupported")) report.warnings.push(describeError(error));
    else report.problems.push(describeError(error));
    return undefined;
  }
}
