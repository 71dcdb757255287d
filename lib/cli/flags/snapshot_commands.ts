/** `e2d snapshot …`: the flags of these commands. */
import { clientEndpoints, endpointProblems } from "../client_endpoints.ts";
import { clientPems, clientTlsFlags } from "./client_tls.ts";
import { type Command, command } from "./command.ts";
import { caFlags, configFlag, dryRun, globalFlags, logOf } from "./common_flags.ts";
import { type FlagValues, listOf, text, toggle } from "./flag.ts";
import { credentialFlags, credentials, runFlags } from "./run_flags.ts";

const snapshotFlags = {
  ...globalFlags,
  ...configFlag,
  ...credentialFlags,
  snapshotBackupUrl: runFlags.snapshotBackupUrl,
  s3Endpoint: runFlags.s3Endpoint,
  caKey: caFlags.caKey,
  snapshotRecipient: runFlags.snapshotRecipient,
  json: toggle("print JSON"),
} as const;

/** Which snapshots a reading command accepts. */
const trustFlags = {
  snapshotEncryption: toggle("refuse snapshots that are not encrypted, and manifests without a valid MAC"),
  snapshotAllowUnsealed: runFlags.snapshotAllowUnsealed,
} as const;

/** Keys that only read. */
const identityFlags = {
  snapshotIdentity: listOf(
    "FILES",
    "comma-separated files of age-keygen: the private keys of --snapshot-recipient age1…",
    (file) => file,
    { default: "", path: true },
  ),
} as const;

const oneSnapshot = {
  snapshot: text(
    "NAME",
    "name of a snapshot as printed by snapshot list, with or without a manifest; default: the newest",
  ),
} as const;

const urlOperand = {
  name: "URL",
  help: "snapshot store; default: --snapshot-backup-url",
  required: false,
} as const;

function snapshotValues(values: FlagValues<typeof snapshotFlags>, url: string | undefined) {
  const { s3Endpoint, caKey, snapshotRecipient, json } = values;
  return {
    url: url ?? values.snapshotBackupUrl ?? "",
    s3Endpoint,
    credentials: credentials(values),
    caKey,
    snapshotRecipient,
    json,
  };
}

async function snapshotCommand(values: { logFormat: "auto" | "text" | "json"; verbose: boolean }) {
  const [commands, { systemTerminal }, log] = await Promise.all([
    import("../snapshot/commands.ts"),
    import("../terminal.ts"),
    logOf(values),
  ]);
  return { ...commands, terminal: systemTerminal, log };
}

/** In the order of the help. */
export const snapshotCommands: readonly Command[] = [
  command({
    path: "snapshot save",
    summary: "take a snapshot of a running cluster now",
    details:
      "Writes to exactly the given URL and never overwrites an object. Nodes save to their history automatically.",
    flags: {
      ...snapshotFlags,
      endpoints: listOf(
        "URLS",
        "client URLs of members; the first one is read; default: http://127.0.0.1:2379, or https with certificates",
        (url) => url,
      ),
      ...clientTlsFlags,
      snapshotEncryption: runFlags.snapshotEncryption,
      snapshotCompression: runFlags.snapshotCompression,
      snapshotFormat: runFlags.snapshotFormat,
      dryRun,
    },
    operands: [urlOperand],
    check: (values) => endpointProblems(values.endpoints ?? [], values),
    async run(values, [url]) {
      const { save, terminal, log } = await snapshotCommand(values);
      const cluster = { endpoints: clientEndpoints(values.endpoints, values), tls: await clientPems(values) };
      return await save({ ...snapshotValues(values, url), ...values, ...cluster }, terminal, log);
    },
  }),
  command({
    path: "snapshot list",
    summary: "list the snapshots of a store",
    details: "Exit status 1: a snapshot or a manifest is damaged, or the newest snapshot cannot be determined.",
    flags: snapshotFlags,
    operands: [urlOperand],
    async run(values, [url]) {
      const { list, terminal, log } = await snapshotCommand(values);
      return await list(snapshotValues(values, url), terminal, log);
    },
  }),
  command({
    path: "snapshot verify",
    summary: "read a whole snapshot, and verify authentication tags and checksums",
    details: "Reads the object of the history, never the copy at the URL's key.",
    flags: {
      ...snapshotFlags,
      ...trustFlags,
      ...identityFlags,
      ...oneSnapshot,
      deep: toggle("also restore it into an isolated etcd, and compare its keys and their hash"),
      etcdDir: text("DIR", "folder with etcd and etcdutl, for --deep"),
    },
    operands: [urlOperand],
    async run(values, [url]) {
      const { verify, terminal, log } = await snapshotCommand(values);
      return await verify({ ...snapshotValues(values, url), ...values }, terminal, log);
    },
  }),
  command({
    path: "snapshot inspect",
    summary: "show the manifest and the size of a snapshot",
    flags: { ...snapshotFlags, ...oneSnapshot },
    operands: [urlOperand],
    async run(values, [url]) {
      const { inspect, terminal, log } = await snapshotCommand(values);
      return await inspect({ ...snapshotValues(values, url), snapshot: values.snapshot }, terminal, log);
    },
  }),
  command({
    path: "snapshot restore",
    summary: "create a data-dir from a snapshot",
    details:
      "A cluster that lost all its data restores automatically: use this command for drills and copies. Refuses a used data-dir. Needs --snapshot if the store contains two lives or branches that may be the right one.",
    flags: {
      ...snapshotFlags,
      ...trustFlags,
      ...identityFlags,
      ...oneSnapshot,
      dataDir: text("DIR", "data-dir to create; must be absent or empty", { default: "data", path: true }),
      name: text("NAME", "name of the member", { default: "restored" }),
      peerUrl: text("URL", "peer URL of the member", { default: "http://127.0.0.1:2380" }),
      initialCluster: text("MEMBERS", "comma-separated list of all members as name=URL; default: only this member", {
        default: "",
      }),
      token: text(
        "TOKEN",
        "cluster token, the same on all members and different for each restore; default for one member: random",
        { default: "" },
      ),
      asNewCluster: toggle(
        "give the copy a lineage of its own, for a drill: e2d never confuses it with the original cluster",
      ),
      skipHashCheck: toggle("accept a database without etcd's checksum, as the Go e2d writes it"),
      etcdDir: runFlags.etcdDir,
      dryRun: toggle("read and verify the snapshot, print what the command would do, and change nothing"),
    },
    operands: [urlOperand],
    check: ({ initialCluster, token }) =>
      initialCluster.includes(",") && token === ""
        ? ["--initial-cluster with several members needs --token: a new token, the same on all of them"]
        : [],
    async run(values, [url]) {
      const { restore, terminal, log } = await snapshotCommand(values);
      return await restore({ ...snapshotValues(values, url), ...values }, terminal, log);
    },
  }),
  command({
    path: "snapshot prune",
    summary: "remove snapshots of the history that are outside the retention policy",
    flags: {
      ...snapshotFlags,
      ...trustFlags,
      snapshotKeep: runFlags.snapshotKeep,
      dryRun: toggle("print which snapshots the command would remove, and change nothing"),
    },
    operands: [urlOperand],
    async run(values, [url]) {
      const { prune, terminal, log } = await snapshotCommand(values);
      return await prune({ ...snapshotValues(values, url), ...values }, terminal, log);
    },
  }),
];
