/** Checks a node's certificates and keys before the start, and reads them for etcd and for e2d's own client. */
import { describeError, E2dError } from "../../errors.ts";
import type { Files, Logger } from "../../ports.ts";
import type { EtcdTls } from "../../etcd/client/channel.ts";
import type { EtcdSettings } from "../../etcd/process/args.ts";
import type { PkiPorts } from "../../pki/generate.ts";
import { checkTlsPaths, type PairPaths, type TlsSet } from "../../pki/tls_set.ts";
import type { KeysInUse, KeySources } from "../../pki/rollover/keys_in_use.ts";
import type { RenewalOptions, WatchedPair } from "../../pki/renewal_loop.ts";
import type { TlsConfig } from "../node_config.ts";

export interface Security {
  readonly set: TlsSet;
  readonly scheme: "http" | "https";
  /** The keys that gossip and snapshots are encrypted with at the start; undefined without a CA key. */
  readonly keys: KeysInUse | undefined;
}

export interface SecurityExpectations {
  readonly nowMs: number;
  readonly clientHost: string;
  readonly peerHost: string;
}

/**
 * Throws E2dError `tls_incomplete` or `tls_unusable` with every problem found, or what reading the CA key throws. Loads
 * the X.509 library only when certificates are configured.
 */
export async function prepareSecurity(
  config: TlsConfig,
  expect: SecurityExpectations,
  ports: PkiPorts & { log: Logger },
): Promise<Security> {
  const { files, log } = ports;
  const set = checkTlsPaths(config);
  if (set.kind === "mutual" || set.caKey !== undefined) {
    const { checkTlsFiles, requireUsable } = await import("../../pki/tls_files.ts");
    const check = () =>
      checkTlsFiles(files, set, {
        nowMs: expect.nowMs,
        clientHosts: [expect.clientHost],
        peerHosts: [expect.peerHost],
      });
    let report = await check();
    // Certificates that expired while the node was down are renewed, as they are at run time.
    if (report.problems.length > 0 && config.autoRenew) {
      await renewOnce(set, ports);
      report = await check();
    }
    for (const warning of report.warnings) log.warn(warning);
    requireUsable(report);
  }
  return {
    set,
    scheme: set.kind === "mutual" ? "https" : "http",
    keys: await keysOf(set, files, log),
  };
}

/** Renews expired certificates. The next check reports those that could not be renewed. */
async function renewOnce(set: TlsSet, ports: PkiPorts & { log: Logger }): Promise<void> {
  const options = renewalOptions(set, true);
  if (options?.caKey === undefined) return;
  const { renewRound } = await import("../../pki/renewal_loop.ts");
  const { renewed, failures } = await renewRound(ports, options);
  for (const { role, path, notAfterMs } of renewed) {
    ports.log.warn("renewed a certificate before the start", { role, path, until: new Date(notAfterMs).toISOString() });
  }
  for (const { role, path, error } of failures) {
    ports.log.warn("cannot renew a certificate before the start", { role, path, error: describeError(error) });
  }
}

/** The files that the cluster's keys are read from periodically; undefined without a CA key. */
export function keySources(set: TlsSet): KeySources | undefined {
  if (set.caKey === undefined) return undefined;
  if (set.kind === "plain") return { caKey: set.caKey, pairs: [] };
  return { caKey: set.caKey, caCert: set.caCert, pairs: watchedPairs(set) };
}

async function keysOf(set: TlsSet, files: Files, log: Logger): Promise<KeysInUse | undefined> {
  const sources = keySources(set);
  if (sources === undefined) return undefined;
  const { readKeysInUse } = await import("../../pki/rollover/keys_in_use.ts");
  const keys = await readKeysInUse(files, sources);
  if (keys.legacyPeerProblem !== undefined) log.info(keys.legacyPeerProblem);
  return keys;
}

/** The certificates of e2d's own etcd client. Read again after each renewal. */
export async function clientTls(set: TlsSet, files: Files): Promise<EtcdTls | undefined> {
  if (set.kind === "plain") return undefined;
  const [ca, certificate, key] = await Promise.all(
    [set.caCert, set.client.cert, set.client.key].map((path) => requireText(files, path)),
  );
  return { ca: ca!, certificate: certificate!, key: key! };
}

export async function readPair(files: Files, { cert, key }: PairPaths): Promise<{ certificate: string; key: string }> {
  return { certificate: await requireText(files, cert), key: await requireText(files, key) };
}

async function requireText(files: Files, path: string): Promise<string> {
  const text = await files.readText(path);
  if (text !== undefined) return text;
  throw new E2dError("tls_file_missing", `Cannot read "${path}": the file does not exist`);
}

export function etcdTls(set: TlsSet): EtcdSettings["tls"] {
  if (set.kind === "plain") return undefined;
  const pair = ({ cert, key }: PairPaths) => ({ certificate: cert, key });
  return { caCertificate: set.caCert, peer: pair(set.peer), server: pair(set.server), client: pair(set.client) };
}

/** The certificates to watch, and to renew when `autoRenew` is set; undefined without certificates. */
export function renewalOptions(set: TlsSet, autoRenew: boolean): RenewalOptions | undefined {
  if (set.kind === "plain") return undefined;
  return { caCert: set.caCert, pairs: watchedPairs(set), caKey: autoRenew ? set.caKey : undefined };
}

function watchedPairs(set: Extract<TlsSet, { kind: "mutual" }>): WatchedPair[] {
  const pairs = [{ role: "server", paths: set.server }, { role: "peer", paths: set.peer }];
  if (set.clientFrom === "client") pairs.push({ role: "client", paths: set.client });
  return pairs;
}
