/** The checked configuration of `e2d run`, merged from the command line, the environment and the configuration file. */
import type { HostPort } from "../ports.ts";
import type { DefragThreshold, RestoreMode } from "../core/facts/settings.ts";

export interface NodeConfig {
  /** Undefined: the name in the data-dir, or a random one. */
  readonly name?: string;
  /** May be relative; made absolute before use. */
  readonly dataDir: string;
  /** Used where an address below has no host. Undefined: auto-detected. */
  readonly host?: string;
  /** An empty or unspecified host (0.0.0.0) is replaced by `host`. */
  readonly clientAddr: HostPort;
  readonly peerAddr: HostPort;
  readonly gossipAddr: HostPort;
  /** `-n` */
  readonly requiredSize: number;
  /** Gossip addresses of peers; ports filled in. */
  readonly bootstrapAddrs: readonly HostPort[];
  /** `--peer-discovery`, checked and not yet parsed. */
  readonly peerDiscovery?: string;
  readonly healthCheckIntervalMs: number;
  readonly healthCheckTimeoutMs: number;
  readonly quorumLossTimeoutMs: number | "never";
  readonly tls: TlsConfig;
  readonly snapshots: SnapshotConfig;
  readonly credentials: CredentialConfig;
  readonly etcd: EtcdConfig;
  /** `--defrag-ratio` and `--defrag-min-size`; undefined: no automatic defragmentation. */
  readonly defrag?: DefragThreshold;
  /** host:port of the status page; undefined: none. */
  readonly statusAddr?: HostPort;
  readonly verbose: boolean;
}

/** Paths of PEM files. */
export interface TlsConfig {
  readonly caCert?: string;
  readonly caKey?: string;
  readonly peerCert?: string;
  readonly peerKey?: string;
  readonly serverCert?: string;
  readonly serverKey?: string;
  readonly clientCert?: string;
  readonly clientKey?: string;
  readonly autoRenew: boolean;
}

export interface SnapshotConfig {
  /** `--snapshot-backup-url`; undefined: no snapshot is taken or restored. */
  readonly url?: string;
  readonly intervalMs: number;
  readonly compression: "none" | "gzip" | "zstd";
  readonly encryption: boolean;
  /** `--snapshot-allow-unsealed`: restores unsealed or unauthenticated snapshots although `encryption` is on. */
  readonly allowUnsealed: boolean;
  readonly compressBeforeEncryption: boolean;
  readonly format: "auto" | "v2" | "go-v1";
  /** Paths of 32-byte key files, and public keys of age ("age1…"). */
  readonly recipients: readonly string[];
  readonly keepHourly: number;
  readonly keepDaily: number;
  readonly s3Endpoint?: string;
  readonly restore: RestoreMode;
  readonly restoreMaxAgeMs?: number;
  /** `--new-cluster NAME` */
  readonly newCluster?: string;
}

/** Secrets: never logged. */
export interface CredentialConfig {
  readonly awsAccessKey?: string;
  readonly awsSecretKey?: string;
  readonly awsRoleSessionName?: string;
  readonly doAccessToken?: string;
  readonly doSpacesKey?: string;
  readonly doSpacesSecret?: string;
}

export interface EtcdConfig {
  /** `--etcd-dir` */
  readonly dir?: string;
  /** `--etcd-version` */
  readonly version?: string;
  /** `--quota-backend-bytes` */
  readonly quotaBytes?: number;
}
