/**
 * When a certificate is renewed and when somebody is warned, as a pure rule; and one renewal on disk. etcd reads its
 * pairs at every handshake, so a file that is replaced is in use from the next connection on. With the same key only the
 * certificate's file changes, in one rename: no handshake ever sees halves of two pairs. That is why a running node
 * renews with the same key, and `--rekey` is for operators.
 */
import { E2dError } from "../errors.ts";
import type { Files } from "../ports.ts";
import type { Authority } from "./authority.ts";
import { type Certificate, readCertificates } from "./certificate.ts";
import { verifyChain } from "./chain.ts";
import type { PkiPorts } from "./generate.ts";
import { defaultLifetimeMs, reissueCertificate } from "./issue.ts";
import { keepCopy, readPemFile } from "./key_files.ts";
import { readPair } from "./pair.ts";
import { makePrivateKey, writePrivateKey } from "./private_key.ts";
import type { PairPaths } from "./tls_set.ts";

export type RenewalDecision =
  /** Nothing to do before this wall time. */
  | { kind: "keep"; dueMs: number }
  | { kind: "renew"; reason: "two thirds of its life are over" | "it has expired" }
  /** A new certificate could not live longer than this one: the authority itself ends first. */
  | { kind: "authority ends"; authorityNotAfterMs: number };

/** Renewal is due at two thirds of a certificate's life, at whatever length. */
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
export function renewalDueMs(term: { notBeforeMs: number; notAfterMs: number }): number {
  return term.notBeforeMs + Math.floor((term.notAfterMs - term.notBeforeMs) * 2 / 3);
}

export type ExpiryWarning = { kind: "expiring"; daysLeft: number } | { kind: "expired" };

const dayMs = 24 * 60 * 60 * 1000;
export const defaultWarnMs = 30 * dayMs;

/**
 * Whether somebody must be told: within `warnMs` of the end, or in the last third of a life too short for that (its
 * renewal is overdue then). undefined: all is well.
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

/** Whole days until the end, rounded down; negative after it. */
export function daysLeft(notAfterMs: number, nowMs: number): number {
  return Math.floor((notAfterMs - nowMs) / dayMs);
}

export interface Renewal {
  certificate: Certificate;
  /** Where the replaced key is now; undefined when the key stayed. */
  keptKey: string | undefined;
}

/**
 * Reissues one pair under `authority`, whatever its age: same subject, names and usages. The new certificate is read
 * back and verified before the old one is replaced, so a failure at any point leaves a pair that works. Only `rekey` has
 * two files to replace: after a power cut between them the same call makes the pair whole again.
 *
 * `lifetimeMs` defaults to the length of the present certificate's life, or to five years where only the authority's
 * end had cut that short.
 *
 * Throws E2dError: all that readPair throws, `pki_foreign` when the present certificate is of another authority (unless
 * `anyIssuer`, which a rollover sets), `pki_renewal` when the new certificate does not verify.
 */
export async function renewPair(
  ports: PkiPorts,
  options: {
    authority: Authority;
    paths: PairPaths;
    role: string;
    lifetimeMs?: number;
    rekey?: boolean;
    anyIssuer?: boolean;
  },
): Promise<Renewal> {
  const { authority, paths, role, rekey = false } = options;
  const { files, clock } = ports;
  const nowMs = clock.wallMs();
  const present = await readCertificate(files, paths.cert, role);
  if (!options.anyIssuer) await requireOwn({ authority, present, paths, role, nowMs });
  // A present key is held against its certificate, except where both are made anew: that mends a pair torn apart.
  const key = rekey
    ? await makePrivateKey(present.keyKind === "ecdsa" ? "ecdsa-p256" : "rsa-2048")
    : (await readPair(files, paths, role)).key;
  const text = await reissueCertificate({
    ...ports,
    signer: authority,
    certificate: present,
    key,
    lifetimeMs: options.lifetimeMs ?? lifetimeLike(present, authority),
  });
  const [certificate] = await readCertificates(text, { role: `new ${role} certificate`, path: paths.cert });
  const chain = await verifyChain({ certificate, authorities: [authority.certificate], nowMs });
  if (chain.kind === "unverified") {
    throw new E2dError(
      "pki_renewal",
      `Cannot renew ${role} certificate "${paths.cert}": the new one is ${chain.reason}`,
    );
  }
  let keptKey: string | undefined;
  if (rekey) {
    keptKey = await keepCopy(files, paths.key, nowMs);
    await files.writeAtomic(paths.key, writePrivateKey(key), { mode: 0o600 });
  }
  const mode = (await files.info(paths.cert))?.mode ?? 0o644;
  await files.writeAtomic(paths.cert, text, { mode });
  return { certificate, keptKey };
}

async function readCertificate(files: Files, path: string, role: string): Promise<Certificate> {
  const source = { role: `${role} certificate`, path };
  const [certificate] = await readCertificates((await readPemFile(files, path, source.role)).text, source);
  return certificate;
}

/** A wrong --ca-key must not turn a working pair into one that the cluster refuses. */
async function requireOwn(options: {
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
    hint: "renew it where it was made, or pass the CA that signed it",
  });
}

function lifetimeLike(present: Certificate, authority: Authority): number {
  const wasCutShort = authority.trusted.some((trusted) => trusted.notAfterMs <= present.notAfterMs);
  return wasCutShort ? defaultLifetimeMs : present.notAfterMs - present.notBeforeMs;
}
