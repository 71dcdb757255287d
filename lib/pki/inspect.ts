/** Implements `e2d pki inspect`: describes certificates and their keys, and lists their problems. */
import { describeError, isE2dError } from "../errors.ts";
import type { Files } from "../ports.ts";
import { type Certificate, readCertificates } from "./certificate.ts";
import { verifyChain } from "./chain.ts";
import { formatHost } from "./host.ts";
import { gossipKeyFingerprint } from "./key_fingerprint.ts";
import { likelyKeyPath } from "./private_key.ts";
import { secretKeyFromCaKey } from "./secret_key.ts";
import { readPemFile } from "./key_files.ts";
import { readPair } from "./pair.ts";
import { daysLeft } from "./renewal.ts";
import { isoTime, readableWarning, termProblem } from "./tls_files.ts";

export interface Inspected {
  path: string;
  /** Position in the file, from 1: a CA file may hold several. */
  position: number;
  subject: string;
  issuer: string;
  serial: string;
  names: string[];
  /** "CA", "server auth", "client auth"; empty when unrestricted. */
  usage: string[];
  notBefore: string;
  notAfter: string;
  /** Whole days, rounded down; negative when it has expired. */
  daysLeft: number;
  /** "verified", or the reason why it is not. */
  chain: string;
  /** Lower-case hexadecimal of the SHA-256. */
  fingerprint: string;
}

export interface Inspection {
  certificates: Inspected[];
  /** The fingerprint of the gossip key, as a running node logs it; absent without the CA key. */
  gossipKey?: { path: string; fingerprint: string };
  /** One sentence each; empty when no action is needed. */
  problems: string[];
}

/**
 * Reads and describes certificates. Checks each against the key in the same folder ("server.key" for "server.crt"). A
 * missing key is not a problem: keys may be stored elsewhere.
 */
export async function inspectCertificates(
  files: Files,
  options: { caCert: string; caKey?: string; certificates: readonly string[]; nowMs: number; warnDays: number },
): Promise<Inspection> {
  const { caCert, nowMs, warnDays } = options;
  const inspection: Inspection = { certificates: [], problems: [] };
  const attempt = async <T>(action: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await action();
    } catch (error) {
      if (!isE2dError(error)) throw error;
      inspection.problems.push(describeError(error));
      return undefined;
    }
  };
  const authorities = await attempt(() => readAll(files, caCert, "CA certificate")) ?? [];
  const others = options.certificates.filter((path) => path !== caCert);
  const all: { path: string; found: readonly Certificate[] }[] = [{ path: caCert, found: authorities }];
  for (const path of others) {
    const found = await attempt(() => readAll(files, path, "certificate"));
    if (found) all.push({ path, found });
  }
  for (const { path, found } of all) {
    for (const [index, certificate] of found.entries()) {
      const chain = await verifyChain({ certificate, intermediates: found.slice(1), authorities, nowMs });
      const row = describe({ path, position: index + 1, certificate, nowMs, chain });
      inspection.certificates.push(row);
      inspection.problems.push(...problemsOf(row, certificate, nowMs, warnDays));
    }
    const key = likelyKeyPath(path);
    if (found.length === 0 || await files.info(key) === undefined) continue;
    // During a rollover the key belongs to a changing certificate of the CA bundle, so only pairs are checked.
    if (path !== caCert) await attempt(() => readPair(files, { cert: path, key }, "the"));
    const readable = await readableWarning(files, key);
    if (readable) inspection.problems.push(readable);
  }
  const { caKey } = options;
  const secret = caKey && await attempt(async () => await files.readText(caKey));
  if (caKey && secret) {
    const key = await attempt(() =>
      Promise.resolve().then(() => secretKeyFromCaKey(secret, { role: "CA key", path: caKey }))
    );
    if (key) inspection.gossipKey = { path: caKey, fingerprint: gossipKeyFingerprint(key.bytes) };
  }
  return inspection;
}

/** The certificates as a text table, one line each. */
export function inspectionTable(certificates: readonly Inspected[]): string {
  const head = ["FILE", "SUBJECT", "NAMES", "USAGE", "EXPIRES", "DAYS LEFT", "CHAIN"];
  const rows = certificates.map((row) => [
    row.position === 1 ? row.path : `${row.path} #${row.position}`,
    row.subject,
    row.names.join(",") || "-",
    row.usage.join(",") || "any",
    row.notAfter.slice(0, 10),
    String(row.daysLeft),
    row.chain,
  ]);
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)));
  const line = (cells: string[]) => cells.map((cell, column) => cell.padEnd(widths[column]!)).join("  ").trimEnd();
  return [head, ...rows].map((row) => `${line(row)}\n`).join("");
}

async function readAll(files: Files, path: string, role: string): Promise<readonly Certificate[]> {
  const { text } = await readPemFile(files, path, role);
  return await readCertificates(text, { role, path });
}

function describe(options: {
  path: string;
  position: number;
  certificate: Certificate;
  nowMs: number;
  chain: Awaited<ReturnType<typeof verifyChain>>;
}): Inspected {
  const { certificate, chain, nowMs } = options;
  return {
    path: options.path,
    position: options.position,
    subject: certificate.subject,
    issuer: certificate.issuer,
    serial: certificate.serial,
    names: certificate.names.map(formatHost),
    usage: [...(certificate.isAuthority ? ["CA"] : []), ...(certificate.usages ?? [])],
    notBefore: isoTime(certificate.notBeforeMs),
    notAfter: isoTime(certificate.notAfterMs),
    daysLeft: daysLeft(certificate.notAfterMs, nowMs),
    chain: chain.kind === "verified" ? "verified" : chain.reason,
    fingerprint: certificate.fingerprint,
  };
}

function problemsOf(row: Inspected, certificate: Certificate, nowMs: number, warnDays: number): string[] {
  const what = `"${row.path}" (${row.subject})`;
  const problems: string[] = [];
  const term = termProblem(certificate, nowMs);
  if (term) problems.push(`${what} ${term}`);
  else if (row.daysLeft < warnDays) problems.push(`${what} expires in ${row.daysLeft} days, on ${row.notAfter}`);
  if (row.chain !== "verified") problems.push(`${what} is ${row.chain}`);
  return problems;
}
