/** Makes etcd's command line from a node's settings. Pure, so that the command line can be logged and tested. */
import type { EtcdStartState, InitialMember } from "../../facts/etcd.ts";
import { compareVersions, parseVersion } from "../../facts/etcd_version.ts";

/** Paths of PEM files. */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

/** Settings that stay the same for all starts of one node's etcd. */
export interface EtcdSettings {
  /** "3.6.14" */
  readonly version: string;
  readonly name: string;
  readonly dataDir: string;
  /** Advertised and listened on: scheme, host, port. */
  readonly peerUrl: string;
  readonly clientUrl: string;
  /** Further addresses to listen on, for clients on this machine. */
  readonly clientListenUrls: readonly string[];
  readonly tls?: {
    readonly caCertificate: string;
    readonly peer: KeyPair;
    /** Undefined: clients connect without TLS. */
    readonly server?: KeyPair;
    /** For etcd's own gateway, which is a client of etcd; the server pair may lack the client usage. */
    readonly client?: KeyPair;
  };
  readonly quotaBytes?: number;
  /**
   * The node never has peers: a short election timeout disturbs no other member, and etcd is ready about 0.3 s sooner.
   * With peers, etcd's defaults apply.
   */
  readonly alone: boolean;
  readonly verbose: boolean;
}

/** Old revisions are kept this long, which is how far a watcher may lag behind. */
const compactionRetention = "1h";

export function etcdArgs(settings: EtcdSettings, start: EtcdStartState): string[] {
  const { version, tls } = settings;
  const flags: [string, string][] = [
    ["name", settings.name],
    ["data-dir", settings.dataDir],
    ["listen-peer-urls", settings.peerUrl],
    ["initial-advertise-peer-urls", settings.peerUrl],
    ["listen-client-urls", [settings.clientUrl, ...settings.clientListenUrls].join(",")],
    ["advertise-client-urls", settings.clientUrl],
    ["strict-reconfig-check", "true"],
    // The default since 3.5: without it, a member that returns from a partition forces an election.
    ["pre-vote", "true"],
    ["auto-compaction-mode", "periodic"],
    ["auto-compaction-retention", compactionRetention],
    ["logger", "zap"],
    ["log-outputs", "stderr"],
    ["log-level", settings.verbose ? "debug" : "info"],
    ...corruptionChecks(version, start.state === "restart" && start.othersServe),
  ];
  if (settings.quotaBytes !== undefined) flags.push(["quota-backend-bytes", String(settings.quotaBytes)]);
  if (settings.alone) flags.push(["heartbeat-interval", "10"], ["election-timeout", "100"]);
  if (tls !== undefined) flags.push(...tlsFlags(version, tls));
  if (start.state !== "restart") {
    flags.push(
      ["initial-cluster-state", start.state],
      ["initial-cluster", initialCluster(start.initialCluster)],
    );
    if (start.state === "new") flags.push(["initial-cluster-token", start.token]);
  }
  return flags.map(([flag, value]) => `--${flag}=${value}`);
}

/** Sorted, so that all initial members start with the same text. */
export function initialCluster(members: readonly InitialMember[]): string {
  return members.map(({ name, peerUrl }) => `${name}=${peerUrl}`).sort().join(",");
}

/**
 * A member whose data differs from that of the others must not serve. etcd compares at each compaction, and at its start
 * when `initial` is true. When all members start at once, the check at the start must stay off: each etcd asks every
 * other one before it serves, gets no answer, and waits seven seconds for each (etcd 3.6, server/etcdserver/corrupt.go),
 * which delays the quorum and verifies nothing.
 */
function corruptionChecks(version: string, initial: boolean): [string, string][] {
  if (atLeast(version, "3.6.0")) return [["feature-gates", `InitialCorruptCheck=${initial},CompactHashCheck=true`]];
  const flags: [string, string][] = initial ? [["experimental-initial-corrupt-check", "true"]] : [];
  if (atLeast(version, "3.5.5")) flags.push(["experimental-compact-hash-check-enabled", "true"]);
  return flags;
}

function tlsFlags(version: string, tls: NonNullable<EtcdSettings["tls"]>): [string, string][] {
  const flags: [string, string][] = [
    ["peer-cert-file", tls.peer.certificate],
    ["peer-key-file", tls.peer.key],
    ["peer-trusted-ca-file", tls.caCertificate],
    ["peer-client-cert-auth", "true"],
  ];
  if (tls.server === undefined) return flags;
  flags.push(
    ["cert-file", tls.server.certificate],
    ["key-file", tls.server.key],
    ["trusted-ca-file", tls.caCertificate],
    ["client-cert-auth", "true"],
  );
  const { client } = tls;
  if (client !== undefined && atLeast(version, "3.5.0")) {
    flags.push(["client-cert-file", client.certificate], ["client-key-file", client.key]);
  }
  return flags;
}

function atLeast(version: string, least: string): boolean {
  return compareVersions(parseVersion(version)!, parseVersion(least)!) >= 0;
}
