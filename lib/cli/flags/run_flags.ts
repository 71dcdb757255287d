/** The flags of `e2d run`, the checks between them, and their mapping to {@link NodeConfig}. Reads no file and no clock. */
import type { HostPort } from "../../ports.ts";
import type { NodeConfig } from "../../manager/node_config.ts";
import { parseSupportedVersion } from "../../etcd/version.ts";
import { parseDiscovery } from "../../discovery/spec.ts";
import { describeError, isE2dError } from "../../errors.ts";
import { isAgeRecipient } from "../../snapshot/format/age_keys.ts";
import { checkTlsPaths } from "../../pki/tls_set.ts";
import { definedFields } from "../defined_fields.ts";
import { caFlags, configFlag, globalFlags } from "./common_flags.ts";
import {
  address,
  choice,
  duration,
  type FlagValues,
  integer,
  listOf,
  NotAllowed,
  parseAddress,
  parseDuration,
  path,
  text,
  toggle,
} from "./flag.ts";

const gossipPort = 7980;

export const tlsFlags = {
  ...caFlags,
  peerCert: path("certificate for traffic between members"),
  peerKey: path("private key of --peer-cert"),
  serverCert: path("certificate that etcd presents to clients"),
  serverKey: path("private key of --server-cert"),
  clientCert: path("certificate that e2d presents to etcd; default: the peer certificate and key"),
  clientKey: path("private key of --client-cert"),
} as const;

export const credentialFlags = {
  awsAccessKey: text("ID", "AWS access key id", { secret: true }),
  awsSecretKey: text("KEY", "AWS secret access key", { secret: true }),
  awsRoleSessionName: text("NAME", "session name for an assumed AWS role"),
  doAccessToken: text("TOKEN", "DigitalOcean personal access token", { secret: true }),
  doSpacesKey: text("KEY", "DigitalOcean Spaces access key", { secret: true }),
  doSpacesSecret: text("SECRET", "DigitalOcean Spaces secret", { secret: true }),
} as const;

export const runFlags = {
  ...globalFlags,
  ...configFlag,
  name: text("NAME", "name of this node; an existing data-dir keeps its recorded name"),
  dataDir: text("DIR", "etcd data-dir", { default: "data", path: true }),
  host: text("ADDRESS", "address of this machine, used where an address has no host; default: auto-detected"),
  clientAddr: address(2379, "etcd client address", { default: "0.0.0.0:2379" }),
  peerAddr: address(2380, "etcd peer address", { default: "0.0.0.0:2380" }),
  gossipAddr: address(gossipPort, "gossip address, TCP and UDP", { default: `0.0.0.0:${gossipPort}` }),
  ...tlsFlags,
  autoRenew: toggle("renew this node's certificates after two thirds of their lifetime; needs --ca-key"),
  bootstrapAddrs: listOf("ADDRS", "comma-separated gossip addresses of peers", bootstrapAddress, { default: "" }),
  requiredClusterSize: {
    short: "n",
    default: "1",
    placeholder: "N",
    help: "number of voting members: 1, 3, 5 or 7",
    choices: ["1", "3", "5", "7"],
    parse(text: string): number {
      if (/^[1357]$/.test(text)) return Number(text);
      throw new NotAllowed("1, 3, 5 or 7");
    },
  },
  healthCheckInterval: duration("deprecated, ignored: accepted for configurations of the Go e2d", { default: "1m" }),
  healthCheckTimeout: duration("how long a member may be unreachable before it is replaced", { default: "5m" }),
  quorumLossTimeout: {
    default: "10m",
    placeholder: "DURATION",
    help: 'how long quorum may be lost before the survivors start disaster recovery; "never" disables it',
    parse: (text: string): number | "never" => text === "never" ? text : parseDuration(text),
  },
  peerDiscovery: {
    placeholder: "METHOD",
    help: "discovery method for peers, instead of --bootstrap-addrs, such as ec2-tags:k=v or dns:NAME",
    parse(text: string): string {
      if (text !== "") asAllowed(() => parseDiscovery(text));
      return text;
    },
  },
  snapshotInterval: duration("time between snapshots", { default: "1m" }),
  snapshotBackupUrl: text("URL", "snapshot store: file:///dir, s3://bucket/key or a Spaces URL"),
  snapshotCompression: {
    ...choice(["gzip", "zstd", "none"], "compression of snapshots; without a value: gzip", {
      default: "none",
      impliedValue: "true",
    }),
    parse(text: string): "none" | "gzip" | "zstd" {
      if (/^(true|1|t)$/i.test(text)) return "gzip";
      if (/^(false|0|f)$/i.test(text)) return "none";
      if (text === "gzip" || text === "zstd" || text === "none") return text;
      throw new NotAllowed("gzip, zstd, none, true or false");
    },
  },
  snapshotEncryption: toggle("encrypt snapshots with a key derived from --ca-key"),
  snapshotAllowUnsealed: toggle(
    "with --snapshot-encryption: accept snapshots that are not encrypted or have no MAC, for a migration",
  ),
  snapshotCompressBeforeEncryption: toggle(
    "also compress encrypted snapshots: their size may leak information about their content",
  ),
  snapshotFormat: choice(
    ["auto", "v2", "go-v1"],
    "snapshot format; auto selects go-v1 while a Go node is present",
    {
      default: "auto",
    },
  ),
  snapshotRecipient: listOf(
    "KEYS",
    "comma-separated additional keys of snapshots: files of 32 bytes, and public keys of age-keygen (age1…)",
    (file) => file,
    {
      default: "",
      path: true,
    },
  ),
  snapshotKeep: {
    default: "24h,7d",
    placeholder: "Nh,Nd",
    help: "number of hourly and daily snapshots to keep; the newest verified snapshot is always kept",
    parse(text: string): { hourly: number; daily: number } {
      const match = /^(\d{1,5})h,(\d{1,5})d$/.exec(text);
      if (match === null) throw new NotAllowed("two counts such as 24h,7d");
      return { hourly: Number(match[1]), daily: Number(match[2]) };
    },
  },
  s3Endpoint: text("URL", "endpoint of an S3-compatible store other than AWS"),
  restore: choice(["auto", "ask", "never"], "action when all data is lost and a snapshot exists", {
    default: "auto",
  }),
  restoreMaxAge: duration("snapshots older than this require approval before a restore"),
  newCluster: text("NAME", "bootstrap a new, empty cluster even if a snapshot or an earlier cluster exists"),
  ...credentialFlags,
  etcdDir: text("DIR", "folder with the etcd programs to run", { path: true }),
  etcdVersion: {
    placeholder: "VERSION",
    help: "etcd version to run; default: an installed version, otherwise the newest version that e2d pins",
    parse(text: string): string {
      return asAllowed(() => parseSupportedVersion(text));
    },
  },
  quotaBackendBytes: integer("BYTES", "database size at which etcd refuses writes; default: etcd's default, 2 GiB", {
    min: 16 * 1024 * 1024,
    max: 100 * 1024 ** 3,
  }),
  defragRatio: {
    default: "50",
    placeholder: "PERCENT",
    help: 'reclaimable share of the database at which a member is defragmented automatically; "never" disables it',
    parse(text: string): number | "never" {
      if (text === "never") return text;
      const percent = Number(text);
      if (Number.isInteger(percent) && percent >= 10 && percent <= 99) return percent;
      throw new NotAllowed('a whole number from 10 to 99, or "never"');
    },
  },
  defragMinSize: integer("BYTES", "reclaimable space below which no member is defragmented automatically", {
    default: "134217728",
    min: 1024 * 1024,
    max: 100 * 1024 ** 3,
  }),
  statusAddr: {
    default: "127.0.0.1:7981",
    placeholder: "HOST:PORT",
    help: 'listen address of health checks, metrics and status; "off" disables it',
    parse: (text: string): HostPort | "off" => text === "off" ? text : parseAddress(text, 7981),
  },
} as const;

export type RunValues = FlagValues<typeof runFlags>;

function bootstrapAddress(text: string): HostPort {
  const address = parseAddress(text, gossipPort);
  if (address.host === "") throw new NotAllowed(`addresses of peers such as 10.0.0.2 or 10.0.0.2:${gossipPort}`);
  return address;
}

/** Turns an E2dError of `parse` into the problem of the flag, with its hint as the text. */
function asAllowed<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (isE2dError(error)) throw new NotAllowed(error.hint ?? error.message);
    throw error;
  }
}

/** One sentence per contradiction between flags that are valid on their own. */
export function contradictions(values: RunValues): string[] {
  const problems: string[] = [];
  try {
    checkTlsPaths(values);
  } catch (error) {
    if (!isE2dError(error)) throw error;
    problems.push(describeError(error));
  }
  const discovery = values.peerDiscovery ?? "";
  if (values.bootstrapAddrs.length > 0 && discovery !== "") {
    problems.push("--bootstrap-addrs and --peer-discovery exclude each other: pass one of them");
  }
  if (values.requiredClusterSize > 1 && values.bootstrapAddrs.length === 0 && discovery === "") {
    problems.push(
      `--required-cluster-size ${values.requiredClusterSize} needs --bootstrap-addrs or --peer-discovery to find peers`,
    );
  }
  if (values.snapshotEncryption && !values.caKey && values.snapshotRecipient.every(isAgeRecipient)) {
    // A node verifies its own manifests, which a public key cannot authenticate.
    problems.push(
      "--snapshot-encryption needs --ca-key, from which the encryption key is derived, or --snapshot-recipient with a " +
        "key file",
    );
  }
  if (values.autoRenew && !values.caKey) problems.push("--auto-renew needs --ca-key to sign certificates");
  if (!values.awsAccessKey !== !values.awsSecretKey) {
    problems.push("--aws-access-key and --aws-secret-key must be set together: one of them is missing");
  }
  if (!values.doSpacesKey !== !values.doSpacesSecret) {
    problems.push("--do-spaces-key and --do-spaces-secret must be set together: one of them is missing");
  }
  if (values.healthCheckTimeout < 1_000) {
    problems.push("--health-check-timeout must be 1s or more: a shorter network interruption must not remove a member");
  }
  if (values.snapshotInterval < 1_000) problems.push("--snapshot-interval must be 1s or more");
  return problems;
}

/** Maps flag values to the node's configuration. Requires values for which {@link contradictions} is empty. */
export function toNodeConfig(values: RunValues): NodeConfig {
  return {
    ...definedFields({ name: values.name, host: values.host, peerDiscovery: values.peerDiscovery }),
    dataDir: values.dataDir,
    clientAddr: values.clientAddr,
    peerAddr: values.peerAddr,
    gossipAddr: values.gossipAddr,
    requiredSize: values.requiredClusterSize,
    bootstrapAddrs: values.bootstrapAddrs,
    healthCheckIntervalMs: values.healthCheckInterval,
    healthCheckTimeoutMs: values.healthCheckTimeout,
    quorumLossTimeoutMs: values.quorumLossTimeout,
    tls: { ...tlsPaths(values), autoRenew: values.autoRenew },
    snapshots: {
      ...definedFields({
        url: values.snapshotBackupUrl,
        s3Endpoint: values.s3Endpoint,
        newCluster: values.newCluster,
        restoreMaxAgeMs: values.restoreMaxAge,
      }),
      intervalMs: values.snapshotInterval,
      compression: values.snapshotCompression,
      encryption: values.snapshotEncryption,
      allowUnsealed: values.snapshotAllowUnsealed,
      compressBeforeEncryption: values.snapshotCompressBeforeEncryption,
      format: values.snapshotFormat,
      recipients: values.snapshotRecipient,
      keepHourly: values.snapshotKeep.hourly,
      keepDaily: values.snapshotKeep.daily,
      restore: values.restore,
    },
    credentials: credentials(values),
    etcd: definedFields({ dir: values.etcdDir, version: values.etcdVersion, quotaBytes: values.quotaBackendBytes }),
    ...definedFields({
      defrag: values.defragRatio === "never"
        ? undefined
        : { ratio: values.defragRatio / 100, minBytes: values.defragMinSize },
      statusAddr: values.statusAddr === "off" ? undefined : values.statusAddr,
    }),
    verbose: values.verbose,
  };
}

export function tlsPaths(values: FlagValues<typeof tlsFlags>) {
  const { caCert, caKey, peerCert, peerKey, serverCert, serverKey, clientCert, clientKey } = values;
  return definedFields({ caCert, caKey, peerCert, peerKey, serverCert, serverKey, clientCert, clientKey });
}

export function credentials(values: FlagValues<typeof credentialFlags>) {
  const { awsAccessKey, awsSecretKey, awsRoleSessionName, doAccessToken, doSpacesKey, doSpacesSecret } = values;
  return definedFields({ awsAccessKey, awsSecretKey, awsRoleSessionName, doAccessToken, doSpacesKey, doSpacesSecret });
}
