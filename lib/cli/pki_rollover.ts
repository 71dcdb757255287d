/**
 * `e2d pki rollover status|prepare|trust|reissue|drop`, after the flags are read. Never begins `reissue` or `drop` before
 * every member of the cluster was probed and is ready.
 */
import { describeError, E2dError } from "../errors.ts";
import type { EtcdTls } from "../etcd/client/channel.ts";
import { openEtcd } from "../etcd/client/client.ts";
import type { Staging, TlsProbe } from "../ports.ts";
import type { Authority } from "../pki/authority.ts";
import { readAuthority } from "../pki/generate.ts";
import { directoryOf } from "../pki/key_files.ts";
import type { NewKeyKind } from "../pki/private_key.ts";
import { blockersOfEnd, type MemberTrust } from "../pki/rollover/rollover.ts";
import {
  dropOld,
  prepareRollover,
  readRollover,
  reissueUnderNext,
  type RolloverOptions,
  type RolloverState,
  trustNext,
} from "../pki/rollover/files.ts";
import { blockersOf, rolloverPlan } from "../pki/rollover/plan.ts";
import { probeMembers, type ProbeTarget } from "../pki/rollover/probe.ts";
import { systemClock } from "../sys/clock.ts";
import { enableGrpcTls } from "../sys/grpc/tls.ts";
import { definedFields } from "./defined_fields.ts";
import { type CaFlags, caPaths, pairsIn, type PkiCommandPorts } from "./pki.ts";

export type RolloverStepName = "status" | "prepare" | "trust" | "reissue" | "drop";

export interface RolloverFlags extends CaFlags {
  /** Folder of the client, peer and server certificates. Default: the folder of the CA certificate. */
  dir?: string | undefined;
  /** Client URLs of one or more members, which list the others. Required by reissue and drop. */
  endpoints?: readonly string[] | undefined;
  keyType?: NewKeyKind | undefined;
  days?: number | undefined;
  dryRun?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

export interface RolloverPorts extends PkiCommandPorts {
  remove: Staging["remove"];
  probe: TlsProbe;
  /** The members that the cluster lists. */
  listMembers(request: MemberListRequest): Promise<ProbeTarget[]>;
}

/** Client URLs of members, and the CA and client certificate as PEM texts. */
export interface MemberListRequest extends EtcdTls {
  readonly endpoints: readonly string[];
}

const dayMs = 24 * 60 * 60 * 1000;

/** Resolves with exit status 0. Throws E2dError `pki_rollover_blocked` if a member is not ready for the phase. */
export async function pkiRollover(step: RolloverStepName, flags: RolloverFlags, ports: RolloverPorts): Promise<number> {
  const ca = caPaths(flags);
  const options: RolloverOptions = { ...ca, pairs: await pairsIn(ports.files, flags.dir || directoryOf(ca.caCert)) };
  switch (step) {
    case "status":
      break;
    case "prepare":
      await prepareRollover(ports, {
        ...options,
        ...definedFields({ kind: flags.keyType, lifetimeMs: flags.days && flags.days * dayMs }),
      });
      break;
    case "trust":
      await trustNext(ports, options);
      break;
    case "reissue":
    case "drop":
      await requireReady(step, await readRollover(ports, options), flags, options, ports);
      await (step === "reissue" ? reissueUnderNext(ports, options) : dropOld(ports, options));
      break;
    default:
      step satisfies never;
  }
  if (flags.dryRun) ports.terminal.out("Dry run: nothing was written. The state after this command would be:\n");
  else if (step === "drop") {
    ports.terminal.out("Dropped the old authority on this machine. Restart e2d on one member after the other.\n");
  }
  await printStatus(await readRollover(ports, options), flags, options, ports);
  return 0;
}

/** Probes every member: a member that does not trust the next authority would be cut off from the cluster. */
async function requireReady(
  step: "reissue" | "drop",
  state: RolloverState,
  flags: RolloverFlags,
  options: RolloverOptions,
  ports: RolloverPorts,
): Promise<void> {
  const { kind } = state.phase;
  // A completed phase may be repeated without probing.
  if (kind === "dropped" || kind === (step === "drop" ? "none" : "reissued")) return;
  const members = await probeCluster(state, flags, options, ports);
  if (members === undefined) {
    throw new E2dError("pki_rollover_blocked", `Cannot begin the phase "${step}": the members were not probed`, {
      hint: "pass --endpoints with the client URL of a member",
    });
  }
  const blockers = blockersOf(step, members);
  if (blockers.length > 0) {
    throw new E2dError("pki_rollover_blocked", `Cannot begin the phase "${step}": ${blockers.join("; ")}`);
  }
}

/** The trust of every member; undefined without `--endpoints`, a next authority or a client certificate. */
async function probeCluster(
  state: RolloverState,
  flags: RolloverFlags,
  options: RolloverOptions,
  ports: RolloverPorts,
): Promise<MemberTrust[] | undefined> {
  const next = state.next ?? (state.phase.kind === "none" ? undefined : state.current);
  const own = options.pairs.find(({ role }) => role === "client") ?? options.pairs.find(({ role }) => role === "peer");
  if (!flags.endpoints?.length || next === undefined || own === undefined) return undefined;
  const text = async (path: string) => await ports.files.readText(path) ?? "";
  const members = await ports.listMembers({
    endpoints: flags.endpoints,
    ca: await text(options.caCert),
    certificate: await text(own.paths.cert),
    key: await text(own.paths.key),
  });
  const signal = flags.signal ?? new AbortController().signal;
  return await probeMembers(ports, { members, old: await oldAuthority(state, options, ports), next, signal });
}

/** The authority that is being replaced, while its certificate is trusted and its key kept. */
async function oldAuthority(
  state: RolloverState,
  options: RolloverOptions,
  ports: RolloverPorts,
): Promise<Authority | undefined> {
  const { phase, files, current } = state;
  if (phase.kind === "none" || phase.kind === "dropped") return undefined;
  if (files.current === phase.old) return current;
  const kept = files.oldKeys.find(({ fingerprintStart }) => phase.old.startsWith(fingerprintStart));
  return kept && await readAuthority(ports.files, { caCert: options.caCert, caKey: kept.path });
}

async function printStatus(
  state: RolloverState,
  flags: RolloverFlags,
  options: RolloverOptions,
  ports: RolloverPorts,
): Promise<void> {
  const { terminal } = ports;
  if (state.phase.kind === "none") {
    terminal.out("No rollover is under way on this machine.\n");
    if (state.files.oldKeys.length > 0) {
      terminal.out(`Old CA keys kept for old snapshots: ${state.files.oldKeys.map(({ path }) => path).join(", ")}\n`);
    }
    return;
  }
  const members = await probeCluster(state, flags, options, ports);
  const mark = { yes: "done", no: "to do", unknown: "?" } as const;
  terminal.out(`This machine: ${state.phase.kind}\n`);
  for (const [index, plan] of rolloverPlan.entries()) {
    const done = plan.isDone({ files: state.files, members });
    terminal.out(`${String(index + 1).padStart(2)}  ${plan.phase.padEnd(7)}  ${mark[done].padEnd(5)}  ${plan.what}\n`);
  }
  if (members === undefined) {
    terminal.out("The members were not probed: pass --endpoints with the client URL of a member.\n");
  } else if (state.phase.kind === "dropped") {
    for (const blocker of blockersOfEnd(members)) terminal.out(`${blocker}\n`);
  }
}

/** The members as the first endpoint that answers lists them. Throws E2dError `pki_rollover_members` if none answers. */
export async function listEtcdMembers({ endpoints, ...tls }: MemberListRequest): Promise<ProbeTarget[]> {
  await enableGrpcTls();
  const client = await openEtcd({ endpoints, tls, clock: systemClock });
  try {
    const failures: string[] = [];
    for (const endpoint of endpoints) {
      try {
        const members = await client.memberList(endpoint);
        return members.map(({ name, clientUrls, peerUrls }) => ({ name, urls: [...clientUrls, ...peerUrls] }));
      } catch (error) {
        failures.push(describeError(error));
      }
    }
    throw new E2dError("pki_rollover_members", `Cannot list the members: ${failures.join("; ")}`, {
      hint: "pass the client URLs of running members with --endpoints",
    });
  } finally {
    client.close();
  }
}
