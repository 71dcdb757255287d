/** `e2d pki …`: the flags of these commands. */
import { type Command, command } from "./command.ts";
import { caFlags, dryRun, globalFlags } from "./common_flags.ts";
import { choice, integer, listOf, path, text, toggle } from "./flag.ts";

const pkiMakeFlags = {
  keyType: choice(["rsa-2048", "ecdsa-p256"], "type of the new key; the Go e2d supports only RSA"),
  days: integer("DAYS", "lifetime; default: five years", { min: 1, max: 36_500 }),
  force: toggle("replace existing files; the old files are renamed and kept"),
  dryRun,
} as const;

const dirFlag = {
  dir: text("DIR", "folder of the client, peer and server certificates; default: the folder of the CA certificate", {
    path: true,
  }),
} as const;

async function pkiPorts(dryRun = false) {
  const [{ systemFiles }, { systemClock }, { systemRandom }, { systemStaging }, { systemTerminal }] = await Promise.all(
    [
      import("../../sys/files.ts"),
      import("../../sys/clock.ts"),
      import("../../sys/random.ts"),
      import("../../sys/staging.ts"),
      import("../terminal.ts"),
    ],
  );
  const ports = { clock: systemClock, random: systemRandom, terminal: systemTerminal };
  if (!dryRun) return { ...ports, files: systemFiles, remove: systemStaging.remove };
  const { DryFiles } = await import("../dry_files.ts");
  const files = new DryFiles(systemFiles);
  return { ...ports, files, remove: (path: string) => files.remove(path) };
}

/** In the order of the help. */
export const pkiCommands: readonly Command[] = [
  command({
    path: "pki init",
    summary: "create a certificate authority",
    flags: { ...globalFlags, ...caFlags, ...pkiMakeFlags },
    async run(values) {
      const { pkiInit } = await import("../pki.ts");
      await pkiInit(values, await pkiPorts(values.dryRun));
      return 0;
    },
  }),
  command({
    path: "pki gencerts",
    summary: "create client, peer and server certificates",
    flags: {
      ...globalFlags,
      ...caFlags,
      ...pkiMakeFlags,
      hosts: text("HOSTS", "comma-separated host names and addresses; default: those of this machine"),
      outputDir: path("folder for the certificates; default: the working directory"),
    },
    async run(values) {
      const { pkiGencerts } = await import("../pki.ts");
      await pkiGencerts(values, await pkiPorts(values.dryRun));
      return 0;
    },
  }),
  command({
    path: "pki renew",
    summary: "renew certificates after two thirds of their lifetime",
    flags: {
      ...globalFlags,
      ...caFlags,
      ...dirFlag,
      rekey: toggle("create new keys, and renew at any age"),
      force: toggle("renew at any age"),
      days: integer("DAYS", "new lifetime; default: the lifetime of each certificate", { min: 1, max: 36_500 }),
      dryRun,
    },
    async run(values) {
      const { pkiRenew } = await import("../pki.ts");
      return await pkiRenew(values, await pkiPorts(values.dryRun));
    },
  }),
  command({
    path: "pki inspect",
    summary: "show certificates, their expiry dates and problems",
    flags: {
      ...globalFlags,
      ...caFlags,
      ...dirFlag,
      json: toggle("print JSON"),
      warnDays: integer("DAYS", "exit with status 1 if a certificate expires within this number of days", {
        default: "30",
        min: 0,
        max: 36_500,
      }),
    },
    async run(values) {
      const { pkiInspect } = await import("../pki.ts");
      return await pkiInspect(values, await pkiPorts());
    },
  }),
  command({
    path: "pki rollover",
    summary: "replace the certificate authority in phases without downtime",
    flags: {
      ...globalFlags,
      ...caFlags,
      ...dirFlag,
      endpoints: listOf("URLS", "comma-separated client URLs of members", (url) => url),
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
        import("../pki_rollover.ts"),
        import("../../sys/tls_probe.ts"),
      ]);
      return await pkiRollover(phase as Parameters<typeof pkiRollover>[0], values, {
        ...await pkiPorts(values.dryRun),
        probe: systemTlsProbe,
        listMembers: listEtcdMembers,
      });
    },
  }),
];
