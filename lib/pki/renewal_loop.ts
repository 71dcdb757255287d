/** Watches the certificates of a running node: renews them in time if it has the CA key, and reports expiry and failures. */
import { type E2dError, isE2dError } from "../errors.ts";
import type { Clock } from "../ports.ts";
import type { Authority } from "./authority.ts";
import { type Certificate, readCertificates } from "./certificate.ts";
import { type PkiPorts, readAuthority } from "./generate.ts";
import { readPemFile } from "./key_files.ts";
import { decideRenewal, type ExpiryWarning, expiryWarning, renewPair } from "./renewal.ts";
import type { PairPaths } from "./tls_set.ts";

export interface WatchedPair {
  /** The name of the pair in logs and metrics: "server". */
  role: string;
  paths: PairPaths;
}

export interface CertificateState {
  role: string;
  path: string;
  notAfterMs: number;
  /** Set when an operator must be warned. */
  warning: ExpiryWarning | undefined;
}

export interface RenewalRound {
  /** Each pair and the CA after this round, for metrics and readiness. */
  certificates: CertificateState[];
  renewed: { role: string; path: string; notAfterMs: number }[];
  /** Pairs that could not be read or renewed. The next round tries again. */
  failures: { role: string; path: string; error: E2dError }[];
}

export interface RenewalOptions {
  caCert: string;
  pairs: readonly WatchedPair[];
  /** Undefined: certificates are watched and not renewed (without --auto-renew or without the CA key). */
  caKey: string | undefined;
  /** Lifetime of new certificates. Default: the lifetime of each present certificate. */
  lifetimeMs?: number;
  /** Renews certificates of any age. Default false. */
  force?: boolean;
  rekey?: boolean;
  warnMs?: number;
}

/** One round over all pairs. A failing pair does not stop the others; errors of files are returned, not thrown. */
export async function renewRound(ports: PkiPorts, options: RenewalOptions): Promise<RenewalRound> {
  const round: RenewalRound = { certificates: [], renewed: [], failures: [] };
  const attempt = async <T>(role: string, path: string, action: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await action();
    } catch (error) {
      if (!isE2dError(error)) throw error;
      round.failures.push({ role, path, error });
      return undefined;
    }
  };
  const { caCert, caKey } = options;
  const trusted = await attempt("ca", caCert, () => readBundle(ports, caCert, "CA certificate"));
  const authority = caKey === undefined || trusted === undefined
    ? undefined
    : await attempt("ca", caKey, () => readAuthority(ports.files, { caCert, caKey }));
  const nowMs = ports.clock.wallMs();
  const state = (role: string, path: string, certificate: Certificate) => {
    const warning = expiryWarning({ ...certificate, nowMs, ...(options.warnMs ? { warnMs: options.warnMs } : {}) });
    round.certificates.push({ role, path, notAfterMs: certificate.notAfterMs, warning });
  };
  for (const pair of options.pairs) {
    const path = pair.paths.cert;
    await attempt(pair.role, path, async () => {
      let [certificate] = await readBundle(ports, path, `${pair.role} certificate`);
      if (authority && isDue(certificate, authority, nowMs, options)) {
        const renewed = await attempt(pair.role, path, () =>
          renewPair(ports, {
            authority,
            ...pair,
            lifetimeMs: options.lifetimeMs,
            rekey: options.rekey ?? false,
          }));
        if (renewed) {
          certificate = renewed.certificate;
          round.renewed.push({ role: pair.role, path, notAfterMs: certificate.notAfterMs });
        }
      }
      state(pair.role, path, certificate);
      // etcd reads the key at every handshake: with an unreadable key every handshake fails.
      await attempt(pair.role, pair.paths.key, () => readPemFile(ports.files, pair.paths.key, `${pair.role} key`));
    });
  }
  // In a rollover the longest-lived CA is the next one: the expiry of the old CA is planned.
  const longestLived = trusted?.reduce((a, b) => b.notAfterMs > a.notAfterMs ? b : a);
  if (longestLived) state("ca", caCert, longestLived);
  return round;
}

/** Runs rounds until the signal aborts. The default interval suits lifetimes of minutes and only reads a few small files. */
export async function watchCertificates(
  ports: PkiPorts & { clock: Clock },
  options: RenewalOptions,
  loop: { signal: AbortSignal; everyMs?: number; onRound: (round: RenewalRound) => void },
): Promise<void> {
  const { signal, everyMs = 60_000, onRound } = loop;
  while (!signal.aborted) {
    onRound(await renewRound(ports, options));
    try {
      await ports.clock.sleep(everyMs, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}

function isDue(certificate: Certificate, authority: Authority, nowMs: number, options: RenewalOptions): boolean {
  if (options.force || options.rekey) return true;
  return decideRenewal({ ...certificate, nowMs, authorityNotAfterMs: authority.certificate.notAfterMs }).kind ===
    "renew";
}

async function readBundle(ports: PkiPorts, path: string, role: string) {
  const { text } = await readPemFile(ports.files, path, role);
  return await readCertificates(text, { role, path });
}
