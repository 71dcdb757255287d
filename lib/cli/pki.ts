/** `e2d pki init`, `gencerts`, `renew` and `inspect`: what they do once their flags are read. */
import type { Clock, Files, Random } from "../ports.ts";
import { describeError } from "../errors.ts";
import { certificateHosts, generateCertificates, initAuthority, type Written } from "../pki/generate.ts";
import { inspectCertificates, inspectionTable } from "../pki/inspect.ts";
import { type Profile, profiles } from "../pki/issue.ts";
import { directoryOf, pathIn } from "../pki/key_files.ts";
import { likelyKeyPath, type NewKeyKind } from "../pki/private_key.ts";
import { renewRound, type WatchedPair } from "../pki/renewal_loop.ts";
import { isoTime } from "../pki/tls_files.ts";

/** `--ca-cert` and `--ca-key`, of every pki command. */
export interface CaFlags {
  /** Default: ca.crt in the working directory. */
  caCert?: string | undefined;
  /** Default: beside the certificate, ca.crt → ca.key. */
  caKey?: string | undefined;
}

/** `--key-type`, `--days` and `--force`, of the commands that make something. */
export interface MakeFlags {
  keyType?: NewKeyKind | undefined;
  /** Length of the life of what is made. Default: five years. */
  days?: number | undefined;
  force?: boolean | undefined;
  dryRun?: boolean | undefined;
}

export interface PkiCommandPorts {
  /** With `--dry-run` one that only seems to write (DryFiles). */
  files: Files;
  clock: Clock;
  random: Pick<Random, "bytes">;
  /** Results to `out`, all else to `err`. */
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
    ports.terminal.err("Snapshots sealed with the old CA key open only with that key: keep it.\n");
  }
}

export interface GencertsFlags extends CaFlags, MakeFlags {
  /** `--hosts a,b`; empty: the machine's own. */
  hosts?: string | undefined;
  /** Default: the working directory, as in the original. */
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
  /** Where client, peer and server pairs lie. Default: where the CA certificate lies. */
  dir?: string | undefined;
  /** Renew at any age. */
  force?: boolean | undefined;
  /** With new keys, at any age. */
  rekey?: boolean | undefined;
  /** Length of the new lives. Default: as each certificate has it. */
  days?: number | undefined;
  dryRun?: boolean | undefined;
}

/** `e2d pki renew`. Resolves with the exit code: 1 when a pair could not be renewed. */
export async function pkiRenew(flags: RenewFlags, ports: PkiCommandPorts): Promise<number> {
  const { terminal, files } = ports;
  const ca = caPaths(flags);
  const dir = flags.dir || directoryOf(ca.caCert);
  const pairs = await pairsIn(files, dir);
  if (pairs.length === 0) {
    terminal.err(`There is no client.crt, peer.crt or server.crt in "${dir}"\n`);
    return 1;
  }
  const round = await renewRound(ports, {
    ...ca,
    pairs,
    force: flags.force ?? false,
    rekey: flags.rekey ?? false,
    ...(flags.days === undefined ? {} : { lifetimeMs: flags.days * dayMs }),
  });
  for (const { path, notAfterMs } of round.certificates.filter(({ role }) => role !== "ca")) {
    const renewed = round.renewed.some((one) => one.path === path);
    const state = !renewed
      ? "is young enough: it ends"
      : flags.dryRun
      ? "would be renewed, to end"
      : "is renewed: it ends";
    terminal.out(`${path} ${state} on ${isoTime(notAfterMs)}\n`);
  }
  for (const { error } of round.failures) terminal.err(`${describeError(error)}\n`);
  const authority = round.certificates.find(({ role }) => role === "ca");
  if (authority?.warning) {
    terminal.err(
      `The authority itself ends on ${isoTime(authority.notAfterMs)}, and nothing it signs outlives it: ` +
        "replace it with e2d pki rollover\n",
    );
  }
  return round.failures.length > 0 ? 1 : 0;
}

export interface InspectFlags extends CaFlags {
  /** Default: where the CA certificate lies. */
  dir?: string | undefined;
  json?: boolean | undefined;
  /** Default 30. */
  warnDays?: number | undefined;
}

/** `e2d pki inspect`. Resolves with the exit code: 1 when something ends within the days, or is wrong. */
export async function pkiInspect(flags: InspectFlags, ports: PkiCommandPorts): Promise<number> {
  const { terminal, files } = ports;
  const { caCert } = caPaths(flags);
  const dir = flags.dir || directoryOf(caCert);
  const names = (await files.list(dir) ?? []).filter((name) => name.endsWith(".crt"));
  const inspection = await inspectCertificates(files, {
    caCert,
    certificates: names.map((name) => pathIn(dir, name)),
    nowMs: ports.clock.wallMs(),
    warnDays: flags.warnDays ?? 30,
  });
  if (flags.json) terminal.out(`${JSON.stringify(inspection, undefined, 2)}\n`);
  else {
    terminal.out(inspectionTable(inspection.certificates));
    for (const problem of inspection.problems) terminal.err(`${problem}\n`);
  }
  return inspection.problems.length > 0 ? 1 : 0;
}

/** Those of the three pairs whose certificate lies in a directory. */
export async function pairsIn(files: Files, dir: string): Promise<(WatchedPair & { role: Profile })[]> {
  const found: (WatchedPair & { role: Profile })[] = [];
  for (const role of profiles) {
    const paths = { cert: pathIn(dir, `${role}.crt`), key: pathIn(dir, `${role}.key`) };
    if (await files.info(paths.cert) !== undefined) found.push({ role, paths });
  }
  return found;
}

function makeOptions({ keyType, days, force }: MakeFlags) {
  return {
    ...(keyType === undefined ? {} : { kind: keyType }),
    ...(days === undefined ? {} : { lifetimeMs: days * dayMs }),
    force: force ?? false,
  };
}

function report(
  { written, keptAside }: Written,
  { dryRun }: MakeFlags,
  terminal: PkiCommandPorts["terminal"],
): void {
  for (const path of written) terminal.out(`${dryRun ? "would write" : "wrote"} ${path}\n`);
  for (const path of keptAside) terminal.out(`${dryRun ? "would keep" : "kept"} the old file as ${path}\n`);
}

function thisMachine(): { hostName: string; addresses: string[] } {
  return { hostName: Deno.hostname(), addresses: Deno.networkInterfaces().map(({ address }) => address) };
}
