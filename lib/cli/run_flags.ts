/** The flags of `e2d run`, and the configuration they come to. */
import type { HostPort } from "../ports.ts";
import type { NodeConfig } from "../manager/node_config.ts";
import { parseSupportedVersion } from "../etcd/version.ts";
import { parseDiscovery } from "../discovery/spec.ts";
import { describeError, isE2dError } from "../errors.ts";
import { checkTlsPaths } from "../pki/tls_set.ts";
import { caFlags, configFlag, globalFlags } from "./common_flags.ts";
import {
  address,
  choice,
  duration,
  type FlagValues,
  listOf,
  NotAllowed,
  parseAddress,
  parseDuration,
  path,
  text,
  toggle,
  whole,
} from "./flag.ts";

const gossipPort = 7980;

export const tlsFlags = {
  ...caFlags,
  peerCert: path("certificate for traffic between members"),
  peerKey: path("private key of --peer-cert"),
  serverCert: path("certificate shown to clients"),
  serverKey: path("private key of --server-cert"),
  clientCert: path("certificate that e2d shows to etcd; default: the peer pair"),
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
  name: text("NAME", "name of this node; a data-dir keeps the one it has"),
  dataDir: text("DIR", "etcd data-dir", { default: "data", path: true }),
  host: text("ADDRESS", "address of this machine, for the addresses below that name none; default: found out"),
  clientAddr: address(2379, "etcd client address", { default: "0.0.0.0:2379" }),
  peerAddr: address(2380, "etcd peer address", { default: "0.0.0.0:2380" }),
  gossipAddr: address(gossipPort, "gossip address, TCP and UDP", { default: `0.0.0.0:${gossipPort}` }),
  ...tlsFlags,
  autoRenew: toggle("reissue this node's certificates at two thirds of their life; needs --ca-key"),
  bootstrapAddrs: listOf("ADDRS", "gossip addresses of peers, separated by commas", bootstrapAddress, { default: "" }),
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
  healthCheckInterval: duration("kept for the original's configurations; has no effect, as there", { default: "1m" }),
  healthCheckTimeout: duration("how long a member may be gone before it is replaced", { default: "5m" }),
  quorumLossTimeout: {
    default: "10m",
    placeholder: "DURATION",
    help: 'how long a majority may be gone before the survivors recover what there is; "never" leaves it to a human',
    parse: (text: string): number | "never" => text === "never" ? text : parseDuration(text),
  },
  peerDiscovery: {
    placeholder: "METHOD",
    help: "how to find peers in place of --bootstrap-addrs, such as ec2-tags:k=v or dns:NAME",
    parse(text: string): string {
      if (text !== "") asAllowed(() => parseDiscovery(text));
      return text;
    },
  },
  snapshotInterval: duration("time between snapshots", { default: "1m" }),
  snapshotBackupUrl: text("URL", "where snapshots are kept: file:///dir, s3://bucket/key or a Spaces URL"),
  snapshotCompression: {
    ...choice(["gzip", "zstd", "none"], "compress snapshots; alone it means gzip", { default: "none", alone: "true" }),
    parse(text: string): "none" | "gzip" | "zstd" {
      if (/^(true|1|t)$/i.test(text)) return "gzip";
      if (/^(false|0|f)$/i.test(text)) return "none";
      if (text === "gzip" || text === "zstd" || text === "none") return text;
      throw new NotAllowed("gzip, zstd, none, true or false");
    },
  },
  snapshotEncryption: toggle("seal snapshots with the key that derives from --ca-key"),
  snapshotCompressBeforeEncryption: toggle(
    "compress sealed snapshots, too: their size then tells something of their content",
  ),
  snapshotFormat: choice(
    ["auto", "v2", "go-v1"],
    "form of snapshots; auto is go-v1 while a node of the Go e2d is near",
    {
      default: "auto",
    },
  ),
  snapshotRecipient: listOf("FILES", "32-byte key files that open snapshots beside the CA's", (file) => file, {
    default: "",
    path: true,
  }),
  snapshotKeep: {
    default: "24h,7d",
    placeholder: "Nh,Nd",
    help: "how many hourly and daily snapshots are kept; the newest verified one always is",
    parse(text: string): { hourly: number; daily: number } {
      const match = /^(\d{1,5})h,(\d{1,5})d$/.exec(text);
      if (match === null) throw new NotAllowed("two counts such as 24h,7d");
      return { hourly: Number(match[1]), daily: Number(match[2]) };
    },
  },
  s3Endpoint: text("URL", "endpoint of an S3 store other than AWS"),
  restore: choice(["auto", "ask", "never"], "what to do when all data is lost and a snapshot is there", {
    default: "auto",
  }),
  restoreMaxAge: duration("older snapshots are restored only after being asked"),
  newCluster: text("NAME", "start a new, empty cluster although there is a snapshot, or was another cluster"),
  ...credentialFlags,
  etcdDir: text("DIR", "folder with the etcd to run", { path: true }),
  etcdVersion: {
    placeholder: "VERSION",
    help: "the etcd to run; default: a cached one, else the newest that e2d knows",
    parse(text: string): string {
      return asAllowed(() => parseSupportedVersion(text));
    },
  },
  quotaBackendBytes: whole("BYTES", "size at which etcd refuses further writes; default: etcd's own, 2 GiB", {
    min: 16 * 1024 * 1024,
    max: 100 * 1024 ** 3,
  }),
  defragRatio: {
    default: "50",
    placeholder: "PERCENT",
    help: 'free part of a database at which its member is defragmented by itself; "never" leaves it to a human',
    parse(text: string): number | "never" {
      if (text === "never") return text;
      const percent = Number(text);
      if (Number.isInteger(percent) && percent >= 10 && percent <= 99) return percent;
      throw new NotAllowed('a whole number from 10 to 99, or "never"');
    },
  },
  defragMinSize: whole("BYTES", "free space below which no member is defragmented by itself", {
    default: "134217728",
    min: 1024 * 1024,
    max: 100 * 1024 ** 3,
  }),
  statusAddr: {
    default: "127.0.0.1:7981",
    placeholder: "HOST:PORT",
    help: 'address of health, metrics and status; "off" for none',
    parse: (text: string): HostPort | "off" => text === "off" ? text : parseAddress(text, 7981),
  },
} as const;

export type RunValues = FlagValues<typeof runFlags>;

function bootstrapAddress(text: string): HostPort {
  const address = parseAddress(text, gossipPort);
  if (address.host === "") throw new NotAllowed(`addresses of peers such as 10.0.0.2 or 10.0.0.2:${gossipPort}`);
  return address;
}

/** The error of another part of e2d in place of a list of what is allowed. */
function asAllowed<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (isE2dError(error)) throw new NotAllowed(error.hint ?? error.message);
    throw error;
  }
}

/** What single flags cannot know: a sentence for each contradiction between them. */
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
    problems.push("--bootstrap-addrs and --peer-discovery are two ways to the same peers: give one of them");
  }
  if (values.requiredClusterSize > 1 && values.bootstrapAddrs.length === 0 && discovery === "") {
    problems.push(
      `--required-cluster-size ${values.requiredClusterSize} needs --bootstrap-addrs or --peer-discovery to find peers`,
    );
  }
  if (values.snapshotEncryption && !values.caKey && values.snapshotRecipient.length === 0) {
    problems.push("--snapshot-encryption needs --ca-key, from which the key derives, or --snapshot-recipient");
  }
  if (values.autoRenew && !values.caKey) problems.push("--auto-renew needs --ca-key to sign with");
  if (!values.awsAccessKey !== !values.awsSecretKey) {
    problems.push("--aws-access-key and --aws-secret-key belong together: one of them is missing");
  }
  if (!values.doSpacesKey !== !values.doSpacesSecret) {
    problems.push("--do-spaces-key and --do-spaces-secret belong together: one of them is missing");
  }
  if (values.healthCheckTimeout < 1_000) {
    problems.push("--health-check-timeout must be 1s or more: a pause of the network is no death");
  }
  if (values.snapshotInterval < 1_000) problems.push("--snapshot-interval must be 1s or more");
  return problems;
}

/** Only for values without contradictions. */
export function toNodeConfig(values: RunValues): NodeConfig {
  return {
    ...given({ name: values.name, host: values.host, peerDiscovery: values.peerDiscovery }),
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
      ...given({ url: values.snapshotBackupUrl, s3Endpoint: values.s3Endpoint, newCluster: values.newCluster }),
      ...(values.restoreMaxAge === undefined ? {} : { restoreMaxAgeMs: values.restoreMaxAge }),
      intervalMs: values.snapshotInterval,
      compression: values.snapshotCompression,
      encryption: values.snapshotEncryption,
      compressBeforeEncryption: values.snapshotCompressBeforeEncryption,
      format: values.snapshotFormat,
      recipients: values.snapshotRecipient,
      keepHourly: values.snapshotKeep.hourly,
      keepDaily: values.snapshotKeep.daily,
      restore: values.restore,
    },
    credentials: credentials(values),
    etcd: {
      ...given({ dir: values.etcdDir, version: values.etcdVersion }),
      ...(values.quotaBackendBytes === undefined ? {} : { quotaBytes: values.quotaBackendBytes }),
    },
    ...(values.defragRatio === "never"
      ? {}
      : { defrag: { ratio: values.defragRatio / 100, minBytes: values.defragMinSize } }),
    ...(values.statusAddr === "off" ? {} : { statusAddr: values.statusAddr }),
    verbose: values.verbose,
  };
}

export function tlsPaths(values: FlagValues<typeof tlsFlags>) {
  const { caCert, caKey, peerCert, peerKey, serverCert, serverKey, clientCert, clientKey } = values;
  return given({ caCert, caKey, peerCert, peerKey, serverCert, serverKey, clientCert, clientKey });
}

export function credentials(values: FlagValues<typeof credentialFlags>) {
  const { awsAccessKey, awsSecretKey, awsRoleSessionName, doAccessToken, doSpacesKey, doSpacesSecret } = values;
  return given({ awsAccessKey, awsSecretKey, awsRoleSessionName, doAccessToken, doSpacesKey, doSpacesSecret });
}

/** Without what is absent or empty: an empty text is how scripts leave a flag out. */
function given<T extends Record<string, string | undefined>>(values: T): { [K in keyof T]?: string } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined && value !== "")) as {
    [K in keyof T]?: string;
  };
}
