/** The command line of etcd, from what a node is: a pure function, so that what will run can be shown and tested. */
import { compareVersions, parseVersion } from "./version.ts";

/** Paths of PEM files. */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

/** What stays the same for all starts of one node's etcd. */
export interface EtcdSettings {
  /** "3.6.14" */
  readonly version: string;
  readonly name: string;
  readonly dataDir: string;
  /** Advertised and listened on: scheme, host, port. */
  readonly peerUrl: string;
  readonly clientUrl: string;
  /** Further addresses for clients of this machine. */
  readonly clientListenUrls: readonly string[];
  readonly tls?: {
    readonly caCertificate: string;
    readonly peer: KeyPair;
    /** Undefined: clients talk to etcd in the clear. */
    readonly server?: KeyPair;
    /** What etcd's own gateway shows to etcd; the server pair may not be fit for clients. */
    readonly client?: KeyPair;
  };
  readonly quotaBytes?: number;
  /**
   * A node that will never have peers: a short election has nobody to disturb, and it is up about 0.3 s sooner. With
   * peers etcd's defaults stand.
   */
  readonly alone: boolean;
  readonly verbose: boolean;
}

/** How the cluster is met this time; lib/core decides it. */
export type EtcdState =
  | { readonly state: "restart"; readonly othersServe: boolean }
  | { readonly state: "new"; readonly initialCluster: readonly InitialPeer[]; readonly token: string }
  | { readonly state: "existing"; readonly initialCluster: readonly InitialPeer[] };

export interface InitialPeer {
  readonly name: string;
  readonly peerUrl: string;
}

/** Old revisions are kept this long: what watchers may lag behind. */
const compactionRetention = "1h";

export function etcdArgs(settings: EtcdSettings, start: EtcdState): string[] {
  const { version, tls } = settings;
  const flags: [string, string][] = [
    ["name", settings.name],
    ["data-dir", settings.dataDir],
    ["listen-peer-urls", settings.peerUrl],
    ["initial-advertise-peer-urls", settings.peerUrl],
    ["listen-client-urls", [settings.clientUrl, ...settings.clientListenUrls].join(",")],
    ["advertise-client-urls", settings.clientUrl],
    ["strict-reconfig-check", "true"],
    // The default of 3.5 and later; without it a member that returns from a partition ends the leader's term.
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

/** Sorted, so that all founders start with the same text. */
export function initialCluster(members: readonly InitialPeer[]): string {
  return members.map(({ name, peerUrl }) => `${name}=${peerUrl}`).sort().join(",");
}

/**
 * A member whose data differs from the others' must not serve: checked at each compaction, and at its start where others
 * serve. Where all start at once nobody would answer: each etcd asks every other one before it serves itself, and waits
 * seven seconds for each (etcd 3.6, server/etcdserver/corrupt.go), which is time without a quorum and proves nothing.
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
