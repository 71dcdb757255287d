/** Every command of e2d: its flags here, its work in a module that is loaded when it is called for. */
import { type Command, command } from "./command.ts";
import { checkClientTlsPaths } from "../pki/tls_set.ts";
import { clientEndpoints, endpointProblems } from "./client_endpoints.ts";
import { caFlags, configFlag, globalFlags } from "./common_flags.ts";
import { address, choice, type FlagValues, listOf, path, text, toggle, whole } from "./flag.ts";
import { contradictions, credentialFlags, credentials, runFlags, toNodeConfig } from "./run_flags.ts";
import { shells } from "./completion.ts";

const dryRun = toggle("only say what would be done");

const pkiMakeFlags = {
  keyType: choice(["rsa-2048", "ecdsa-p256"], "kind of the new key; the Go e2d reads RSA alone"),
  days: whole("DAYS", "length of the new life; default: five years", { min: 1, max: 36_500 }),
  force: toggle("replace what is there; the old files are kept beside the new ones"),
  dryRun,
} as const;

const dirFlag = {
  dir: text("DIR", "folder of the client, peer and server pairs; default: that of the CA certificate", { path: true }),
} as const;

const statusFlags = {
  statusAddr: address(7981, "status address of the node to ask", { default: "127.0.0.1:7981" }),
  caCert: caFlags.caCert,
  json: toggle("print JSON"),
} as const;

/** What e2d shows to etcd. */
const clientTlsFlags = {
  caCert: caFlags.caCert,
  clientCert: runFlags.clientCert,
  clientKey: runFlags.clientKey,
  peerCert: runFlags.peerCert,
  peerKey: runFlags.peerKey,
} as const;

const controlFlags = {
  ...globalFlags,
  // Without a default, so that it is known whether somebody has named a node.
  dataDir: text("DIR", "data-dir of the node; default: data, or /var/lib/e2d/etcd where no node runs on that", {
    path: true,
  }),
  dryRun,
  json: toggle("print JSON"),
} as const;

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

const oneSnapshot = { snapshot: text("NAME", "one of the history, as list names it; default: the newest") } as const;
const urlOperand = {
  name: "URL",
  help: "where snapshots are; default: --snapshot-backup-url",
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
    import("./snapshot.ts"),
    import("./terminal.ts"),
    logOf(values),
  ]);
  return { ...commands, terminal: systemTerminal, log };
}

async function clientPems(values: Parameters<typeof checkClientTlsPaths>[0]) {
  const set = checkClientTlsPaths(values);
  if (set.kind === "plain") return undefined;
  const { systemFiles } = await import("../sys/files.ts");
  const [ca, certificate, key] = await Promise.all(
    [set.caCert, set.client.cert, set.client.key].map((path) => systemFiles.readText(path)),
  );
  return { ca: ca ?? "", certificate: certificate ?? "", key: key ?? "" };
}

async function pkiPorts(dryRun = false) {
  const [{ systemFiles }, { systemClock }, { systemRandom }, { systemStaging }, { systemTerminal }] = await Promise.all(
    [
      import("../sys/files.ts"),
      import("../sys/clock.ts"),
      import("../sys/random.ts"),
      import("../sys/staging.ts"),
      import("./terminal.ts"),
    ],
  );
  const ports = { clock: systemClock, random: systemRandom, terminal: systemTerminal };
  if (!dryRun) return { ...ports, files: systemFiles, remove: systemStaging.remove };
  const { DryFiles } = await import("./dry_files.ts");
  const files = new DryFiles(systemFiles);
  return { ...ports, files, remove: (path: string) => files.remove(path) };
}

const logOf = async (values: { logFormat: "auto" | "text" | "json"; verbose: boolean }) => {
  const { systemLogger } = await import("../sys/log.ts");
  return systemLogger(values.logFormat, values.verbose);
};

async function controlNode(request: Record<string, unknown>, values: FlagValues<typeof controlFlags>): Promise<number> {
  const [{ control }, { systemTerminal }] = await Promise.all([import("./control.ts"), import("./terminal.ts")]);
  return await control({ ...request, dryRun: values.dryRun }, values, systemTerminal);
}

const plain: readonly Command[] = [
  command({
    path: "run",
    summary: "run and look after one node of an etcd cluster",
    flags: runFlags,
    check: contradictions,
    async run(values) {
      const { run } = await import("./run.ts");
      return await run(toNodeConfig(values), await logOf(values));
    },
  }),
  command({
    path: "pki init",
    summary: "make a certificate authority",
    flags: { ...globalFlags, ...caFlags, ...pkiMakeFlags },
    async run(values) {
      const { pkiInit } = await import("./pki.ts");
      await pkiInit(values, await pkiPorts(values.dryRun));
      return 0;
    },
  }),
  command({
    path: "pki gencerts",
    summary: "make client, peer and server certificates",
    flags: {
      ...globalFlags,
      ...caFlags,
      ...pkiMakeFlags,
      hosts: text("HOSTS", "names and addresses, separated by commas; default: this machine's"),
      outputDir: path("folder for them; default: the working directory"),
    },
    async run(values) {
      const { pkiGencerts } = await import("./pki.ts");
      await pkiGencerts(values, await pkiPorts(values.dryRun));
      return 0;
    },
  }),
  command({
    path: "pki renew",
    summary: "reissue certificates that have used two thirds of their life",
    flags: {
      ...globalFlags,
      ...caFlags,
      ...dirFlag,
      rekey: toggle("with new keys, at any age"),
      force: toggle("at any age"),
      days: whole("DAYS", "length of the new lives; default: as they have it", { min: 1, max: 36_500 }),
      dryRun,
    },
    async run(values) {
      const { pkiRenew } = await import("./pki.ts");
      return await pkiRenew(values, await pkiPorts(values.dryRun));
    },
  }),
  command({
    path: "pki inspect",
    summary: "show certificates, their ends and what is wrong with them",
    flags: {
      ...globalFlags,
      ...caFlags,
      ...dirFlag,
      json: toggle("print JSON"),
      warnDays: whole("DAYS", "exit with 1 when something ends within these days", {
        default: "30",
        min: 0,
        max: 36_500,
      }),
    },
    async run(values) {
      const { pkiInspect } = await import("./pki.ts");
      return await pkiInspect(values, await pkiPorts());
    },
  }),
  command({
    path: "pki rollover",
    summary: "replace the certificate authority in three phases without downtime",
    flags: {
      ...globalFlags,
      ...caFlags,
      ...dirFlag,
      endpoints: listOf("URLS", "client URLs of members, separated by commas", (url) => url),
      keyType: pkiMakeFlags.keyType,
      days: pkiMakeFlags.days,
      dryRun,
    },
    operands: [{
      name: "PHASE",
      help: "status, prepare, trust, reissue or drop",
      required: true,
      choices: ["status", "prepare", "trust", "reissue", "drop"],
    }],
    async run(values, [phase]) {
      const [{ listEtcdMembers, pkiRollover }, { systemTlsProbe }] = await Promise.all([
        import("./pki_rollover.ts"),
        import("../sys/tls_probe.ts"),
      ]);
      return await pkiRollover(phase as Parameters<typeof pkiRollover>[0], values, {
        ...await pkiPorts(values.dryRun),
        probe: systemTlsProbe,
        listMembers: listEtcdMembers,
      });
    },
  }),
  command({
    path: "snapshot save",
    summary: "take a snapshot of a running cluster now",
    details: "Writes to exactly the URL that is given, and never over something. Nodes keep a history by themselves.",
    flags: {
      ...snapshotFlags,
      endpoints: listOf(
        "URLS",
        "client URLs of members; the first is asked; default: http://127.0.0.1:2379, or https with certificates",
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
    flags: snapshotFlags,
    operands: [urlOperand],
    async run(values, [url]) {
      const { list, terminal, log } = await snapshotCommand(values);
      return await list(snapshotValues(values, url), terminal, log);
    },
  }),
  command({
    path: "snapshot verify",
    summary: "read a snapshot whole, and check every tag and sum",
    flags: {
      ...snapshotFlags,
      ...oneSnapshot,
      deep: toggle("also restore it into an etcd that nobody reaches, and compare its keys and their hash"),
      etcdDir: text("DIR", "where etcd and etcdutl are, for --deep"),
    },
    operands: [urlOperand],
    async run(values, [url]) {
      const { verify, terminal, log } = await snapshotCommand(values);
      const { snapshot, deep, etcdDir } = values;
      return await verify({ ...snapshotValues(values, url), snapshot, deep, etcdDir }, terminal, log);
    },
  }),
  command({
    path: "snapshot inspect",
    summary: "show what is known of a snapshot",
    flags: { ...snapshotFlags, ...oneSnapshot },
    operands: [urlOperand],
    async run(values, [url]) {
      const { inspect, terminal, log } = await snapshotCommand(values);
      return await inspect({ ...snapshotValues(values, url), snapshot: values.snapshot }, terminal, log);
    },
  }),
  command({
    path: "snapshot restore",
    summary: "make a data-dir from a snapshot, by hand",
    details:
      "A cluster that lost everything restores by itself: this is for all other places. Refuses a used data-dir.",
    flags: {
      ...snapshotFlags,
      ...oneSnapshot,
      dataDir: text("DIR", "data-dir to make; must be absent or empty", { default: "data", path: true }),
      name: text("NAME", "name of the member", { default: "restored" }),
      peerUrl: text("URL", "peer URL of the member", { default: "http://127.0.0.1:2380" }),
      initialCluster: text("MEMBERS", "all members as name=URL, separated by commas; default: this one alone", {
        default: "",
      }),
      token: text("TOKEN", "cluster token, the same for all members and new with each restore", {
        default: "restored",
      }),
      skipHashCheck: toggle("for files without etcd's own sum: those of the Go e2d"),
      etcdDir: runFlags.etcdDir,
      dryRun: toggle("only read and prove the snapshot, and say what would be made of it"),
    },
    operands: [urlOperand],
    async run(values, [url]) {
      const { restore, terminal, log } = await snapshotCommand(values);
      return await restore({ ...snapshotValues(values, url), ...values }, terminal, log);
    },
  }),
  command({
    path: "snapshot prune",
    summary: "remove snapshots of the history that need not be kept",
    flags: {
      ...snapshotFlags,
      snapshotKeep: runFlags.snapshotKeep,
      dryRun: toggle("only say what would be removed"),
    },
    operands: [urlOperand],
    async run(values, [url]) {
      const { prune, terminal, log } = await snapshotCommand(values);
      return await prune({ ...snapshotValues(values, url), ...values }, terminal, log);
    },
  }),
  command({
    path: "etcd install",
    summary: "download an official etcd release",
    flags: {
      ...globalFlags,
      version: text("VERSION", "which one; default: the newest with a pinned sum"),
      to: text("DIR", "folder to install to; default: the cache", { path: true }),
      dryRun,
    },
    async run(values) {
      const { etcdInstall } = await import("./etcd.ts");
      const { version, to, dryRun } = values;
      await etcdInstall({ version, to, dryRun }, await logOf(values));
      return 0;
    },
  }),
  command({
    path: "etcd list",
    summary: "list the etcds that can be run here",
    flags: {
      ...globalFlags,
      etcdDir: text("DIR", "folder with the etcd to run", { path: true }),
      json: toggle("print JSON"),
    },
    async run(values) {
      const { etcdList } = await import("./etcd.ts");
      await etcdList({ etcdDir: values.etcdDir, json: values.json }, await logOf(values));
      return 0;
    },
  }),
  command({
    path: "status",
    summary: "show the cluster as a node sees it",
    details: "With --endpoints the members of etcd are asked themselves, for when no e2d answers.",
    flags: {
      ...globalFlags,
      ...statusFlags,
      endpoints: listOf("URLS", "client URLs of members, to be asked instead of a node", (url) => url),
      ...clientTlsFlags,
      watch: toggle("show it again every two seconds"),
    },
    // A node is asked by its --ca-cert alone.
    check: (values) => values.endpoints === undefined ? [] : endpointProblems(values.endpoints, values),
    async run(values) {
      const { status } = await import("./status.ts");
      const { systemTerminal } = await import("./terminal.ts");
      const tls = values.endpoints === undefined ? undefined : await clientPems(values);
      return await status({ ...values, tls }, systemTerminal);
    },
  }),
  command({
    path: "why",
    summary: "show the last decisions of a node and their reasons",
    flags: { ...globalFlags, ...statusFlags },
    async run(values) {
      const { why } = await import("./status.ts");
      const { systemTerminal } = await import("./terminal.ts");
      return await why(values, systemTerminal);
    },
  }),
  command({
    path: "scale",
    summary: "change the number of members, one at a time",
    details: "Growing takes in nodes that wait as spares; shrinking lets members go, the leader last.",
    flags: controlFlags,
    operands: [{ name: "N", help: "members afterwards", required: true, choices: ["1", "3", "5", "7"] }],
    run: async (values, [to]) => await controlNode({ command: "scale", to: Number(to) }, values),
  }),
  command({
    path: "upgrade",
    summary: "change the version of etcd, one member and one minor at a time",
    flags: { ...controlFlags, to: text("VERSION", "the minor version to go to, such as 3.7", { default: "" }) },
    check: ({ to }) => /^3\.\d+$/.test(to) ? [] : [`--to ${JSON.stringify(to)}: allowed: a minor version such as 3.7`],
    run: async (values) => await controlNode({ command: "upgrade", to: values.to }, values),
  }),
  command({
    path: "defrag",
    summary: "give free space of the databases back to the disk, one member at a time",
    details: "Members with 1 MiB and a tenth of their database free: followers first, the leader after it hands over.",
    flags: controlFlags,
    run: async (values) => await controlNode({ command: "defrag" }, values),
  }),
  command({
    path: "cancel",
    summary: "give up the plan that is under way",
    details: "What was done of a scaling, an upgrade or a defragmentation stays; no further step begins.",
    flags: controlFlags,
    run: async (values) => await controlNode({ command: "cancel" }, values),
  }),
  command({
    path: "pause",
    summary: "stop all automatic action of the cluster",
    flags: controlFlags,
    run: async (values) => await controlNode({ command: "pause" }, values),
  }),
  command({
    path: "resume",
    summary: "take automatic action up again",
    flags: controlFlags,
    run: async (values) => await controlNode({ command: "resume" }, values),
  }),
  command({
    path: "restore approve",
    summary: "approve a restore that waits for it",
    flags: controlFlags,
    operands: [{ name: "PLAN", help: "as e2d status names it", required: true }],
    run: async (values, [plan]) => await controlNode({ command: "approve", plan }, values),
  }),
  command({
    path: "completion",
    summary: "print completions for a shell",
    flags: { help: globalFlags.help },
    operands: [{ name: "SHELL", help: "bash, zsh or fish", required: true, choices: shells }],
    async run(_values, [shell]) {
      const { completionScript } = await import("./completion.ts");
      const { systemTerminal } = await import("./terminal.ts");
      systemTerminal.out(completionScript(shell as (typeof shells)[number], commands));
      return 0;
    },
  }),
  command({
    path: "version",
    summary: "print the versions of e2d and of the etcd it runs",
    flags: { help: globalFlags.help },
    run: () => Promise.reject(new Error("main.ts answers this itself")),
  }),
];

/** `e2d plan scale 5` is `e2d scale 5 --dry-run`, of every command that has it. */
const plans = plain.filter(({ flags }) => "dryRun" in flags).map((each): Command => {
  const { dryRun: _, ...flags } = each.flags;
  const { path, run } = each;
  return {
    ...each,
    path: `plan ${path}`,
    details: `Only says what would be done: it is "e2d ${path} --dry-run".`,
    planOf: path,
    flags,
    run: (values, operands) => run({ ...values, dryRun: true }, operands),
  };
});

export const commands: readonly Command[] = [...plain, ...plans];
