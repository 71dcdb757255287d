/**
 * The file changes of a CA rollover on one machine. Each function is one phase. It checks that the previous phase is
 * complete on this machine, and it is idempotent: a repeated call finishes an interrupted one.
 */
import { E2dError } from "../../errors.ts";
import type { Staging } from "../../ports.ts";
import { type Authority, createAuthority, defaultAuthorityName } from "../authority.ts";
import { type Certificate, readCertificates, writeCertificates } from "../certificate.ts";
import { isSignedBy } from "../chain.ts";
import { type AuthorityPaths, type PkiPorts, readAuthority } from "../generate.ts";
import { readPemFile, writePemFiles } from "../key_files.ts";
import { oldKeys } from "./old_keys.ts";
import type { NewKeyKind } from "../private_key.ts";
import { renewPair } from "../renewal.ts";
import type { WatchedPair } from "../renewal_loop.ts";
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

/** The state of the files, and the CAs that they contain. */
export interface RolloverState {
  paths: RolloverPaths;
  files: RolloverFiles;
  phase: RolloverPhase;
  /** The CA of ca.key. */
  current: Authority;
  next: Authority | undefined;
}

/** Throws E2dError: the errors of readAuthority for ca.* and, if the files exist, for ca-next.*. */
export async function readRollover(ports: Pick<PkiPorts, "files">, options: RolloverOptions): Promise<RolloverState> {
  const { files } = ports;
  const paths = rolloverPaths(options);
  const current = await readAuthority(files, options);
  // A power failure during `prepare` or `drop` can leave one of the two files: then there is no next CA.
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

/** Creates the next CA with another common name, in the folder of the present one. Run once, on one machine. */
export async function prepareRollover(
  ports: PkiPorts,
  options: RolloverOptions & { kind?: NewKeyKind; lifetimeMs?: number },
): Promise<RolloverState> {
  const before = await readRollover(ports, options);
  if (before.phase.kind !== "none") return before;
  const { paths } = before;
  // Listings show both CAs; the date in the common name distinguishes them.
  const date = new Date(ports.clock.wallMs()).toISOString().slice(0, 10);
  const made = await createAuthority({
    ...ports,
    kind: options.kind,
    lifetimeMs: options.lifetimeMs,
    commonName: `${defaultAuthorityName} ${date}`,
  });
  await writePemFiles(ports.files, [
    { path: paths.nextKey, text: made.key, isSecret: true },
    { path: paths.nextCert, text: made.certificate, isSecret: false },
    // `force` backs up a single file that a power failure left.
  ], { force: true, nowMs: ports.clock.wallMs() });
  return await readRollover(ports, options);
}

/** Phase 1: ca.crt holds both CAs, the old one first, for readers that use only the first. */
export async function trustNext(ports: PkiPorts, options: RolloverOptions): Promise<RolloverState> {
  const state = await readRollover(ports, options);
  const { phase, next, current } = state;
  if (phase.kind === "none") {
    throw outOfOrder("trust", "this machine has no next authority", "run e2d pki rollover prepare first");
  }
  if (phase.kind !== "prepared" || next === undefined) return state;
  await writeBundle(ports, state.paths.caCert, [...current.trusted, next.certificate]);
  return await readRollover(ports, options);
}

/**
 * Phase 2: reissues the pairs with the next CA and their present keys, then replaces ca.key. The old CA key is backed up
 * first. The caller must check before that every member trusts the next CA (blockersOfReissue).
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
    await backUpOldKey(ports, paths.caKey, oldKeyPath(paths.caKey, phase.old));
    const nextKey = await readPemFile(ports.files, paths.nextKey, "CA key");
    await ports.files.writeAtomic(paths.caKey, nextKey.text, { mode: 0o600 });
  }
  return await readRollover(ports, options);
}

/**
 * Phase 3: removes the old CA from ca.crt and deletes the ca-next files. The caller must check before that every member
 * presents certificates of the next CA (blockersOfDrop).
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
      throw outOfOrder(
        "drop",
        "this machine still has certificates of the old authority",
        "run e2d pki rollover reissue first",
      );
    case "reissued":
      await writeBundle(ports, paths.caCert, current.trusted.filter(({ fingerprint }) => fingerprint !== phase.old));
      break;
    case "dropped":
    case "none":
      break;
    default:
      phase satisfies never;
  }
  // ca.key holds the key by now. These files determine the phase until ca.crt is written.
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

/** Backs up the old CA key. A complete backup may exist from an interrupted run. */
async function backUpOldKey(ports: PkiPorts, caKey: string, to: string): Promise<void> {
  const { text } = await readPemFile(ports.files, caKey, "CA key");
  const existing = await ports.files.readText(to);
  if (existing === text) return;
  if (existing !== undefined) {
    throw new E2dError("pki_file_exists", `Cannot keep the old CA key as "${to}": another file has that name`, {
      hint: "move that file to another folder, then run the command again",
    });
  }
  await ports.files.writeNew(to, text, { mode: 0o600 });
}

function outOfOrder(phase: string, state: string, hint: string): E2dError {
  return new E2dError("pki_rollover_order", `Cannot begin the phase "${phase}": ${state}`, { hint });
}
