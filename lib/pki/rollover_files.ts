/**
 * The file work of a rollover on one machine. Each function is a phase, checks that the one before it has ended here,
 * and may be run again at any time: what is done is not done twice, and what was cut off is finished.
 */
import { E2dError } from "../errors.ts";
import type { Staging } from "../ports.ts";
import { type Authority, createAuthority, defaultAuthorityName } from "./authority.ts";
import { type Certificate, readCertificates, writeCertificates } from "./certificate.ts";
import { isSignedBy } from "./chain.ts";
import { type AuthorityPaths, type PkiPorts, readAuthority } from "./generate.ts";
import { readPemFile, writePemFiles } from "./key_files.ts";
import { oldKeys } from "./old_keys.ts";
import type { NewKeyKind } from "./private_key.ts";
import { renewPair } from "./renewal.ts";
import type { WatchedPair } from "./renewal_loop.ts";
import {
  oldKeyPath,
  type RolloverFiles,
  type RolloverPaths,
  rolloverPaths,
  type RolloverPhase,
  rolloverPhase,
} from "./rollover.ts";

export interface RolloverOptions extends AuthorityPaths {
  /** The pairs this machine uses. */
  pairs: readonly WatchedPair[];
}

/** What the files say, and the authorities behind it. */
export interface RolloverState {
  paths: RolloverPaths;
  files: RolloverFiles;
  phase: RolloverPhase;
  /** That of ca.key. */
  current: Authority;
  next: Authority | undefined;
}

/** Throws E2dError: all that readAuthority throws, of ca.* and, where they are, of ca-next.*. */
export async function readRollover(ports: Pick<PkiPorts, "files">, options: RolloverOptions): Promise<RolloverState> {
  const { files } = ports;
  const paths = rolloverPaths(options);
  const current = await readAuthority(files, options);
  // One without the other is what a power cut leaves of preparing or clearing away: no authority yet, or none any more.
  const hasNext = await files.info(paths.nextCert) !== undefined && await files.info(paths.nextKey) !== undefined;
  const next = hasNext ? await readAuthority(files, { caCert: paths.nextCert, caKey: paths.nextKey }) : undefined;
  const authorities = [...current.trusted, ...(next ? [next.certificate] : [])];
  const pairs = [];
  for (const { role, paths: { cert } } of options.pairs) {
    const source = { role: `${role} certificate`, path: cert };
    const [certificate] = await readCertificates((await readPemFile(files, cert, source.role)).text, source);
    pairs.push({ role, path: cert, signedBy: (await signerOf(certificate, authorities))?.fingerprint });
  }
  const facts: RolloverFiles = {
    trusted: current.trusted.map(({ fingerprint }) => fingerprint),
    current: current.certificate.fingerprint,
    next: next?.certificate.fingerprint,
    pairs,
    oldKeys: await oldKeys(ports.files, paths.caKey),
  };
  return { paths, files: facts, phase: rolloverPhase(facts), current, next };
}

/** Makes the next authority beside the present one, under a name of its own. Once, on one machine. */
export async function prepareRollover(
  ports: PkiPorts,
  options: RolloverOptions & { kind?: NewKeyKind; lifetimeMs?: number },
): Promise<RolloverState> {
  const before = await readRollover(ports, options);
  if (before.phase.kind !== "none") return before;
  const { paths } = before;
  // People meet the two authorities side by side in every listing; the date tells them apart.
  const date = new Date(ports.clock.wallMs()).toISOString().slice(0, 10);
  const made = await createAuthority({
    ...ports,
    ...(options.kind === undefined ? {} : { kind: options.kind }),
    ...(options.lifetimeMs === undefined ? {} : { lifetimeMs: options.lifetimeMs }),
    commonName: `${defaultAuthorityName} ${date}`,
  });
  await writePemFiles(ports.files, [
    { path: paths.nextKey, text: made.key, isSecret: true },
    { path: paths.nextCert, text: made.certificate, isSecret: false },
    // Half a next authority, left by a power cut, is moved aside.
  ], { force: true, nowMs: ports.clock.wallMs() });
  return await readRollover(ports, options);
}

/** Phase 1: ca.crt holds both authorities, the old one first, for readers that take the first and no more. */
export async function trustNext(ports: PkiPorts, options: RolloverOptions): Promise<RolloverState> {
  const state = await readRollover(ports, options);
  const { phase, next, current } = state;
  if (phase.kind === "none") {
    throw outOfOrder("trust", "no next authority is here", "run e2d pki rollover prepare first");
  }
  if (phase.kind !== "prepared" || next === undefined) return state;
  await writeBundle(ports, state.paths.caCert, [...current.trusted, next.certificate]);
  return await readRollover(ports, options);
}

/**
 * Phase 2: the pairs become the next authority's, with the keys they have, then ca.key does. The old CA key is kept
 * under its own name before anything takes its place. Whether every member trusts the next authority is the caller's to
 * check first (blockersOfReissue).
 */
export async function reissueUnderNext(ports: PkiPorts, options: RolloverOptions): Promise<RolloverState> {
  const state = await readRollover(ports, options);
  const { phase, paths, files } = state;
  if (phase.kind === "none" || phase.kind === "prepared") {
    throw outOfOrder(
      "reissue",
      "this machine does not trust the next authority yet",
      "run e2d pki rollover trust first",
    );
  }
  if (phase.kind === "reissued" || phase.kind === "dropped") return state;
  const next = files.current === phase.next ? state.current : state.next!;
  for (const pair of options.pairs) {
    const isDone = files.pairs.some(({ path, signedBy }) => path === pair.paths.cert && signedBy === phase.next);
    if (!isDone) await renewPair(ports, { authority: next, ...pair, anyIssuer: true });
  }
  if (files.current !== phase.next) {
    await keepOldKey(ports, paths.caKey, oldKeyPath(paths.caKey, phase.old));
    const nextKey = await readPemFile(ports.files, paths.nextKey, "CA key");
    await ports.files.writeAtomic(paths.caKey, nextKey.text, { mode: 0o600 });
  }
  return await readRollover(ports, options);
}

/**
 * Phase 3: ca.crt holds the next authority alone, and what prepared the rollover is cleared away. Whether every member
 * shows the next authority's certificates is the caller's to check first (blockersOfDrop).
 */
export async function dropOld(
  ports: PkiPorts & { remove: Staging["remove"] },
  options: RolloverOptions,
): Promise<RolloverState> {
  const state = await readRollover(ports, options);
  const { phase, paths, current } = state;
  switch (phase.kind) {
    case "prepared":
    case "trusted":
    case "reissuing":
      throw outOfOrder("drop", "not everything here is the next authority's yet", "run e2d pki rollover reissue first");
    case "reissued":
      await writeBundle(ports, paths.caCert, current.trusted.filter(({ fingerprint }) => fingerprint !== phase.old));
      break;
    case "dropped":
    case "none":
      break;
    default:
      phase satisfies never;
  }
  // The key lies in ca.key by now; only after ca.crt is written do these files say nothing any more.
  await ports.remove(paths.nextKey);
  await ports.remove(paths.nextCert);
  return await readRollover(ports, options);
}

async function signerOf(certificate: Certificate, authorities: readonly Certificate[]) {
  for (const authority of authorities) if (await isSignedBy(certificate, authority)) return authority;
  return undefined;
}

async function writeBundle(ports: PkiPorts, path: string, certificates: readonly Certificate[]): Promise<void> {
  const mode = (await ports.files.info(path))?.mode ?? 0o644;
  await ports.files.writeAtomic(path, writeCertificates(certificates), { mode });
}

/** A copy that is there already, whole, is the work of a run that was cut off. */
async function keepOldKey(ports: PkiPorts, caKey: string, to: string): Promise<void> {
  const { text } = await readPemFile(ports.files, caKey, "CA key");
  const there = await ports.files.readText(to);
  if (there === text) return;
  if (there !== undefined) {
    throw new E2dError("pki_file_exists", `Cannot keep the old CA key as "${to}": another file is there`);
  }
  await ports.files.writeNew(to, text, { mode: 0o600 });
}

function outOfOrder(phase: string, state: string, hint: string): E2dError {
  return new E2dError("pki_rollover_order", `Cannot begin the phase "${phase}": ${state}`, { hint });
}
