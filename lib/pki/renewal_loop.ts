/** What a running node does about its own certificates: renew them in time where it can, and say so where it cannot. */
import { type E2dError, isE2dError } from "../errors.ts";
import type { Clock } from "../ports.ts";
import type { Authority } from "./authority.ts";
import { type Certificate, readCertificates } from "./certificate.ts";
import { type PkiPorts, readAuthority } from "./generate.ts";
import { readPemFile } from "./key_files.ts";
import { decideRenewal, type ExpiryWarning, expiryWarning, renewPair } from "./renewal.ts";
import type { PairPaths } from "./tls_set.ts";

export interface WatchedPair {
  /** The word for it in logs and metrics: "server". */
  role: string;
  paths: PairPaths;
}

export interface CertificateState {
  role: string;
  path: string;
  notAfterMs: number;
  /** Set when somebody must be told. */
  warning: ExpiryWarning | undefined;
}

export interface RenewalRound {
  /** Each pair and the authority, as they are after this round: the facts of metrics and readiness. */
  certificates: CertificateState[];
  renewed: { role: string; path: string; notAfterMs: number }[];
  /** What could not be read or renewed. The next round tries again. */
  failures: { role: string; path: string; error: E2dError }[];
}

export interface RenewalOptions {
  caCert: string;
  pairs: readonly WatchedPair[];
  /** undefined: nothing is renewed, only watched (no --auto-renew, or no CA key here). */
  caKey: string | undefined;
  /** Length of new lives; default as each certificate has it. */
  lifetimeMs?: number;
  /** Renew whatever its age. Default false. */
  force?: boolean;
  rekey?: boolean;
  warnMs?: number;
}

/** One round over all pairs. A pair that fails keeps no other from its turn; throws nothing that files can cause. */
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
            ...(options.lifetimeMs === undefined ? {} : { lifetimeMs: options.lifetimeMs }),
            rekey: options.rekey ?? false,
          }));
        if (renewed) {
          certificate = renewed.certificate;
          round.renewed.push({ role: pair.role, path, notAfterMs: certificate.notAfterMs });
        }
      }
      state(pair.role, path, certificate);
      // etcd reads it at every handshake: one that it cannot read any more turns everybody away.
      await attempt(pair.role, pair.paths.key, () => readPemFile(ports.files, pair.paths.key, `${pair.role} key`));
    });
  }
  // In a rollover the longest-lived authority is the one to come: the old one's end is planned, not news.
  const lasting = trusted?.reduce((a, b) => b.notAfterMs > a.notAfterMs ? b : a);
  if (lasting) state("ca", caCert, lasting);
  return round;
}

/** Rounds until the signal: soon enough for lives of minutes, and cheap: a few small files are read. */
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
