/**
 * `e2d pki init`, `gencerts`, `renew` and `inspect`, after their flags are read. Prints results; lib/pki creates the keys
 * and certificates.
 */
import type { Clock, Files, Random } from "../ports.ts";
import { describeError } from "../errors.ts";
import { certificateHosts, generateCertificates, initAuthority, type WrittenFiles } from "../pki/generate.ts";
import { inspectCertificates, inspectionTable } from "../pki/inspect.ts";
import { type Profile, profiles } from "../pki/issue.ts";
import { directoryOf, pathIn } from "../pki/key_files.ts";
import { likelyKeyPath, type NewKeyKind } from "../pki/private_key.ts";
import { renewRound, type WatchedPair } from "../pki/renewal_loop.ts";
import { isoTime } from "../pki/tls_files.ts";
import { definedFields } from "./defined_fields.ts";

/** `--ca-cert` and `--ca-key`, flags of every pki command. */
export interface CaFlags {
  /** Default: ca.crt in the working directory. */
  caCert?: string | undefined;
  /** Default: next to the certificate, ca.crt → ca.key. */
  caKey?: string | undefined;
}

/** `--key-type`, `--days`, `--force` and `--dry-run`, flags of the commands that create files. */
export interface MakeFlags {
  keyType?: NewKeyKind | undefined;
  /** Lifetime in days. Default: five years. */
  days?: number | undefined;
  force?: boolean | undefined;
  dryRun?: boolean | undefined;
}

export interface PkiCommandPorts {
  /** {@link DryFiles} with `--dry-run`. */
  files: Files;
  clock: Clock;
  random: Pick<Random, "bytes">;
  /** Results go to `out`, everything else to `err`. */
  terminal: { out(text: string): void; err(text: string): void };
}

const dayMs = 24 * 60 * 60 * 1000;

export function caPaths(flags: CaFlags): { caCert: string; caKey: string } {
  const caCert = flags.caCert || "ca.crt";
  return { caCert, caKey: flags.caKey || likelyKeyPath(caCert) };
}

/** `e2d pki init`. Throws as initAuthority does. */
export async function pkiInit(flags: CaFlags & MakeFlags, ports: PkiCommandPorts): Promise<void> {
  report(await initAuthority(ports, { ...caPaths(flags), ...makeOptions(flags) }), flags, ports.terminal);
  if (flags.force) {
    ports.terminal.err("Snapshots sealed with the old CA key can be decrypted only with that key: keep it.\n");
  }
}

export interface GencertsFlags extends CaFlags, MakeFlags {
  /** `--hosts a,b`. Empty: the names and addresses of this machine. */
  hosts?: string | undefined;
  /** Default: the working directory, as in the Go e2d. */
  outputDir?: string | undefined;
}

/** `e2d pki gencerts`. Throws as generateCertificates does. */
export async function pkiGencerts(
  flags: GencertsFlags,
  ports: PkiCommandPorts,
  machine: { hostName: string; addresses: readonly string[] } = thisMachine(),
): Promise<void> {
  const given = (flags.hosts ?? "").split(",").map((host) => host.trim()).filter((host) => host !== "");
  const hosts = certificateHosts(given, machine);
  const outputDir = flags.outputDir || ".";
  report(
    await generateCertificates(ports, { ...caPaths(flags), outputDir, hosts, ...makeOptions(flags) }),
    flags,
    ports.terminal,
  );
}

export interface RenewFlags extends CaFlags {
  /** Folder of the client, peer and server certificates. Default: the folder of the CA certificate. */
  dir?: string | undefined;
  /** Renew at any age. */
  force?: boolean | undefined;
  /** Create new keys, and renew at any age. */
  rekey?: boolean | undefined;
  /** New lifetime in days. Default: the lifetime of each certificate. */
  days?: number | undefined;
  dryRun?: boolean | undefined;
}

/** `e2d pki renew`. Resolves with the exit status: 1 if a certificate cannot be renewed. */
export async function pkiRenew(flags: RenewFlags, ports: PkiCommandPorts): Promise<number> {
  const { terminal, files } = ports;
  const ca = caPaths(flags);
  const dir = flags.dir || directoryOf(ca.caCert);
  const pairs = await pairsIn(files, dir);
  if (pairs.length === 0) {
    terminal.err(`Cannot renew certificates in "${dir}": no client.crt, peer.crt or server.crt; pass --dir\n`);
    return 1;
  }
  const round = await renewRound(ports, {
    ...ca,
    pairs,
    force: flags.force ?? false,
    rekey: flags.rekey ?? false,
    ...definedFields({ lifetimeMs: flags.days && flags.days * dayMs }),
  });
  for (const { path, notAfterMs } of round.certificates.filter(({ role }) => role !== "ca")) {
    const renewed = round.renewed.some((each) => each.path === path);
    const state = !renewed ? "not due for renewal" : flags.dryRun ? "would be renewed" : "renewed";
    terminal.out(`${path}: ${state}, expires on ${isoTime(notAfterMs)}\n`);
  }
  for (const { error } of round.failures) terminal.err(`${describeError(error)}\n`);
  const authority = round.certificates.find(({ role }) => role === "ca");
  if (authority?.warning) {
    terminal.err(
      `The certificate authority expires on ${
        isoTime(authority.notAfterMs)
      }, and no certificate that it signs is valid ` +
        "after that: replace it with e2d pki rollover\n",
    );
  }
  return round.failures.length > 0 ? 1 : 0;
}

export interface InspectFlags extends CaFlags {
  /** Folder of the certificates. Default: the folder of the CA certificate. */
  dir?: string | undefined;
  json?: boolean | undefined;
  /** Days before expiry from which a certificate is a problem. Default 30. */
  warnDays?: number | undefined;
}

/** `e2d pki inspect`. Resolves with the exit status: 1 if a certificate expires within `warnDays` or has a problem. */
export async function pkiInspect(flags: InspectFlags, ports: PkiCommandPorts): Promise<number> {
  const { terminal, files } = ports;
  const { caCert, caKey } = caPaths(flags);
  const dir = flags.dir || directoryOf(caCert);
  const names = (await files.list(dir) ?? []).filter((name) => name.endsWith(".crt"));
  const inspection = await inspectCertificates(files, {
    caCert,
    caKey,
    certificates: names.map((name) => pathIn(dir, name)),
    nowMs: ports.clock.wallMs(),
    warnDays: flags.warnDays ?? 30,
  });
  if (flags.json) terminal.out(`${JSON.stringify(inspection, undefined, 2)}\n`);
  else {
    terminal.out(inspectionTable(inspection.certificates));
    const { gossipKey } = inspection;
    if (gossipKey) terminal.out(`\ngossip key ${gossipKey.fingerprint} (from ${gossipKey.path})\n`);
    for (const problem of inspection.problems) terminal.err(`${problem}\n`);
  }
  return inspection.problems.length > 0 ? 1 : 0;
}

/** The client, peer and server pairs whose certificate is in `dir`. */
export async function pairsIn(files: Files, dir: string): Promise<(WatchedPair & { role: Profile })[]> {
  const pairs: (WatchedPair & { role: Profile })[] = [];
  for (const role of profiles) {
    const paths = { cert: pathIn(dir, `${role}.crt`), key: pathIn(dir, `${role}.key`) };
    if (await files.info(paths.cert) !== undefined) pairs.push({ role, paths });
  }
  return pairs;
}

function makeOptions({ keyType, days, force }: MakeFlags) {
  return {
    ...definedFields({ kind: keyType, lifetimeMs: days && days * dayMs }),
    force: force ?? false,
  };
}

function report(
  { written, backups }: WrittenFiles,
  { dryRun }: MakeFlags,
  terminal: PkiCommandPorts["terminal"],
): void {
  for (const path of written) terminal.out(`${dryRun ? "would write" : "wrote"} ${path}\n`);
  for (const path of backups) terminal.out(`${dryRun ? "would keep" : "kept"} the old file as ${path}\n`);
}

function thisMachine(): { hostName: string; addresses: string[] } {
  return { hostName: Deno.hostname(), addresses: Deno.networkInterfaces().map(({ address }) => address) };
}
