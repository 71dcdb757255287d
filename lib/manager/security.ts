/** A node's certificates and the cluster's secret: checked before anything starts, read for e2d's own client. */
import { E2dError } from "../errors.ts";
import type { Files, Logger } from "../ports.ts";
import type { EtcdTls } from "../etcd/client_channel.ts";
import type { EtcdSettings } from "../etcd/args.ts";
import { checkTlsPaths, type PairPaths, type TlsSet } from "../pki/tls_set.ts";
import type { KeysInUse, KeySources } from "../pki/keys_in_use.ts";
import type { RenewalOptions, WatchedPair } from "../pki/renewal_loop.ts";
import type { TlsConfig } from "./node_config.ts";

export interface Security {
  readonly set: TlsSet;
  readonly scheme: "http" | "https";
  /** What gossip and snapshots are sealed with at the start; undefined without a CA key. */
  readonly keys: KeysInUse | undefined;
}

export interface SecurityExpectations {
  readonly nowMs: number;
  readonly clientHost: string;
  readonly peerHost: string;
}

/**
 * Throws E2dError `tls_incomplete` or `tls_unusable` with all that is wrong, or what reading the CA key throws. Loads the
 * X.509 library only when there are certificates.
 */
export async function prepareSecurity(
  config: TlsConfig,
  expect: SecurityExpectations,
  { files, log }: { files: Files; log: Logger },
): Promise<Security> {
  const set = checkTlsPaths(config);
  if (set.kind === "mutual" || set.caKey !== undefined) {
    const { checkTlsFiles, requireUsable } = await import("../pki/tls_files.ts");
    const report = await checkTlsFiles(files, set, {
      nowMs: expect.nowMs,
      clientHosts: [expect.clientHost],
      peerHosts: [expect.peerHost],
    });
    for (const warning of report.warnings) log.warn(warning);
    requireUsable(report);
  }
  return {
    set,
    scheme: set.kind === "mutual" ? "https" : "http",
    keys: await keysOf(set, files, log),
  };
}

/** Where the cluster's keys are read from, again and again; undefined without a CA key. */
export function keySources(set: TlsSet): KeySources | undefined {
  if (set.caKey === undefined) return undefined;
  if (set.kind === "plain") return { caKey: set.caKey, pairs: [] };
  return { caKey: set.caKey, caCert: set.caCert, pairs: watchedPairs(set) };
}

async function keysOf(set: TlsSet, files: Files, log: Logger): Promise<KeysInUse | undefined> {
  const sources = keySources(set);
  if (sources === undefined) return undefined;
  const { readKeysInUse } = await import("../pki/keys_in_use.ts");
  const keys = await readKeysInUse(files, sources);
  if (keys.goNodesCannot !== undefined) log.info(keys.goNodesCannot);
  return keys;
}

/** What e2d's own etcd client shows and trusts now. Read anew after each renewal. */
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
  throw new E2dError("tls_file_missing", `Cannot read "${path}": there is no such file`);
}

export function etcdTls(set: TlsSet): EtcdSettings["tls"] {
  if (set.kind === "plain") return undefined;
  const pair = ({ cert, key }: PairPaths) => ({ certificate: cert, key });
  return { caCertificate: set.caCert, peer: pair(set.peer), server: pair(set.server), client: pair(set.client) };
}

/** What is watched, and renewed with `autoRenew`; undefined without certificates. */
export function renewalOptions(set: TlsSet, autoRenew: boolean): RenewalOptions | undefined {
  if (set.kind === "plain") return undefined;
  return { caCert: set.caCert, pairs: watchedPairs(set), caKey: autoRenew ? set.caKey : undefined };
}

function watchedPairs(set: Extract<TlsSet, { kind: "mutual" }>): WatchedPair[] {
  const pairs = [{ role: "server", paths: set.server }, { role: "peer", paths: set.peer }];
  if (set.clientFrom === "client") pairs.push({ role: "client", paths: set.client });
  return pairs;
}
