/**
 * The pure rules for renewing a certificate and for warning about its expiry, and the renewal of one pair on disk. etcd
 * reads its pairs at every handshake, so a replaced file is used from the next connection on. With the same key only the
 * certificate's file changes, in one rename, so no handshake sees halves of two pairs. Therefore a running node renews
 * with the same key, and `--rekey` is for operators.
 */
import { E2dError } from "../errors.ts";
import type { Files } from "../ports.ts";
import type { Authority } from "./authority.ts";
import { type Certificate, readCertificates } from "./certificate.ts";
import { verifyChain } from "./chain.ts";
import type { PkiPorts } from "./generate.ts";
import { defaultLifetimeMs, reissueCertificate } from "./issue.ts";
import { readPemFile, writeBackup } from "./key_files.ts";
import { readPair } from "./pair.ts";
import { makePrivateKey, writePrivateKey } from "./private_key.ts";
import type { PairPaths } from "./tls_set.ts";

export type RenewalDecision =
  /** No renewal before this wall time. */
  | { kind: "keep"; dueMs: number }
  | { kind: "renew"; reason: "two thirds of its life are over" | "it has expired" }
  /** A new certificate could not live longer than the present one: the CA expires first. */
  | { kind: "authority ends"; authorityNotAfterMs: number };

/** Renewal is due after two thirds of a certificate's life of any length. */
export function decideRenewal(facts: {
  nowMs: number;
  notBeforeMs: number;
  notAfterMs: number;
  authorityNotAfterMs: number;
}): RenewalDecision {
  const { nowMs, notAfterMs, authorityNotAfterMs } = facts;
  const dueMs = renewalDueMs(facts);
  if (nowMs < dueMs) return { kind: "keep", dueMs };
  if (notAfterMs >= authorityNotAfterMs) return { kind: "authority ends", authorityNotAfterMs };
  const reason = nowMs >= notAfterMs ? "it has expired" : "two thirds of its life are over";
  return { kind: "renew", reason };
}

/** The wall time at which two thirds of a certificate's life are over. */
function renewalDueMs(term: { notBeforeMs: number; notAfterMs: number }): number {
  return term.notBeforeMs + Math.floor((term.notAfterMs - term.notBeforeMs) * 2 / 3);
}

export type ExpiryWarning = { kind: "expiring"; daysLeft: number } | { kind: "expired" };

const dayMs = 24 * 60 * 60 * 1000;
const defaultWarnMs = 30 * dayMs;

/**
 * The warning for operators: within `warnMs` of the expiry, or in the last third of a life that is shorter than three
 * times `warnMs` (its renewal is overdue then). Undefined: no warning.
 */
export function expiryWarning(facts: {
  nowMs: number;
  notBeforeMs: number;
  notAfterMs: number;
  warnMs?: number;
}): ExpiryWarning | undefined {
  const { nowMs, notBeforeMs, notAfterMs, warnMs = defaultWarnMs } = facts;
  if (nowMs >= notAfterMs) return { kind: "expired" };
  const leftMs = notAfterMs - nowMs;
  if (leftMs > Math.min(warnMs, (notAfterMs - notBeforeMs) / 3)) return undefined;
  return { kind: "expiring", daysLeft: daysLeft(notAfterMs, nowMs) };
}

/** Whole days until the expiry, rounded down; negative after it. */
export function daysLeft(notAfterMs: number, nowMs: number): number {
  return Math.floor((notAfterMs - nowMs) / dayMs);
}

export interface Renewal {
  certificate: Certificate;
  /** The path of the backup of the replaced key; undefined when the key was not replaced. */
  keyBackup: string | undefined;
}

/**
 * Reissues one pair with `authority` at any age, with the same subject, names and usages. The new certificate is parsed
 * and verified before the old one is replaced, so a failure at any point leaves a working pair. Only `rekey` replaces two
 * files: after a power failure between them the same call repairs the pair.
 *
 * `lifetimeMs` defaults to the length of the present certificate's life, or to five years when the CA's expiry had
 * limited that length.
 *
 * Throws E2dError: the errors of readPair, `pki_foreign` when another CA signed the present certificate (unless
 * `anyIssuer` is set, as in a rollover), `pki_renewal` when the new certificate does not verify.
 */
export async function renewPair(
  ports: PkiPorts,
  options: {
    authority: Authority;
    paths: PairPaths;
    role: string;
    lifetimeMs?: number | undefined;
    rekey?: boolean;
    anyIssuer?: boolean;
  },
): Promise<Renewal> {
  const { authority, paths, role, rekey = false } = options;
  const { files, clock } = ports;
  const nowMs = clock.wallMs();
  const present = await readCertificate(files, paths.cert, role);
  if (!options.anyIssuer) await requireSameAuthority({ authority, present, paths, role, nowMs });
  // The present key must belong to its certificate, except with `rekey`, which repairs a mismatched pair.
  const key = rekey
    ? await makePrivateKey(present.keyKind === "ecdsa" ? "ecdsa-p256" : "rsa-2048")
    : (await readPair(files, paths, role)).key;
  const text = await reissueCertificate({
    ...ports,
    signer: authority,
    certificate: present,
    key,
    lifetimeMs: options.lifetimeMs ?? renewedLifetimeMs(present, authority),
  });
  const [certificate] = await readCertificates(text, { role: `new ${role} certificate`, path: paths.cert });
  const chain = await verifyChain({ certificate, authorities: [authority.certificate], nowMs });
  if (chain.kind === "unverified") {
    throw new E2dError(
      "pki_renewal",
      `Cannot renew ${role} certificate "${paths.cert}": the new one is ${chain.reason}`,
    );
  }
  let keyBackup: string | undefined;
  if (rekey) {
    keyBackup = await writeBackup(files, paths.key, nowMs);
    await files.writeAtomic(paths.key, writePrivateKey(key), { mode: 0o600 });
  }
  const mode = (await files.info(paths.cert))?.mode ?? 0o644;
  await files.writeAtomic(paths.cert, text, { mode });
  return { certificate, keyBackup: keyBackup };
}

async function readCertificate(files: Files, path: string, role: string): Promise<Certificate> {
  const source = { role: `${role} certificate`, path };
  const [certificate] = await readCertificates((await readPemFile(files, path, source.role)).text, source);
  return certificate;
}

/** A wrong --ca-key must not replace a working pair with one that the cluster refuses. */
async function requireSameAuthority(options: {
  authority: Authority;
  present: Certificate;
  paths: PairPaths;
  role: string;
  nowMs: number;
}): Promise<void> {
  const { authority, present, paths, role, nowMs } = options;
  const chain = await verifyChain({ certificate: present, authorities: authority.trusted, nowMs });
  if (chain.kind === "verified") return;
  throw new E2dError("pki_foreign", `Cannot renew ${role} certificate "${paths.cert}": it is ${chain.reason}`, {
    hint: "pass the CA that signed it: --ca-cert and --ca-key",
  });
}

function renewedLifetimeMs(present: Certificate, authority: Authority): number {
  const wasCutShort = authority.trusted.some((trusted) => trusted.notAfterMs <= present.notAfterMs);
  return wasCutShort ? defaultLifetimeMs : present.notAfterMs - present.notBeforeMs;
}
