/** `e2d pki rollover status|prepare|trust|reissue|drop`: what they do once their flags are read. */
import { Buffer } from "node:buffer";
import { E2dError } from "../errors.ts";
import type { Staging, TlsProbe } from "../ports.ts";
import type { Authority } from "../pki/authority.ts";
import { readAuthority } from "../pki/generate.ts";
import { directoryOf } from "../pki/key_files.ts";
import type { NewKeyKind } from "../pki/private_key.ts";
import { blockersOfEnd, type MemberTrust } from "../pki/rollover.ts";
import {
  dropOld,
  prepareRollover,
  readRollover,
  reissueUnderNext,
  type RolloverOptions,
  type RolloverState,
  trustNext,
} from "../pki/rollover_files.ts";
import { blockersOf, rolloverPlan } from "../pki/rollover_plan.ts";
import { probeMembers, type ProbeTarget } from "../pki/rollover_probe.ts";
import { type CaFlags, caPaths, pairsIn, type PkiCommandPorts } from "./pki.ts";

export type RolloverStepName = "status" | "prepare" | "trust" | "reissue" | "drop";

export interface RolloverFlags extends CaFlags {
  /** Where client, peer and server pairs lie. Default: where the CA certificate lies. */
  dir?: string | undefined;
  /** Client URLs of one or more members; the cluster itself tells all of them. Needed by reissue and drop. */
  endpoints?: readonly string[] | undefined;
  keyType?: NewKeyKind | undefined;
  days?: number | undefined;
  dryRun?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

export interface RolloverPorts extends PkiCommandPorts {
  remove: Staging["remove"];
  probe: TlsProbe;
  /** Every member of the cluster as it knows itself. */
  listMembers(request: MemberListRequest): Promise<ProbeTarget[]>;
}

/** A client of etcd: PEM texts. */
export interface MemberListRequest {
  endpoints: readonly string[];
  trusted: string;
  certificate: string;
  key: string;
}

const dayMs = 24 * 60 * 60 * 1000;

/** Resolves with the exit code, 0. Throws E2dError `pki_rollover_blocked` when a member is not ready for the phase. */
export async function pkiRollover(step: RolloverStepName, flags: RolloverFlags, ports: RolloverPorts): Promise<number> {
  const ca = caPaths(flags);
  const options: RolloverOptions = { ...ca, pairs: await pairsIn(ports.files, flags.dir || directoryOf(ca.caCert)) };
  switch (step) {
    case "status":
      break;
    case "prepare":
      await prepareRollover(ports, {
        ...options,
        ...(flags.keyType === undefined ? {} : { kind: flags.keyType }),
        ...(flags.days === undefined ? {} : { lifetimeMs: flags.days * dayMs }),
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
  if (flags.dryRun) ports.terminal.out("Nothing is written. It would be so:\n");
  else if (step === "drop") {
    ports.terminal.out("The old authority is dropped here. Restart e2d on one member after the other.\n");
  }
  await printStatus(await readRollover(ports, options), flags, options, ports);
  return 0;
}

/** No member may be left behind, so the members are asked, not believed. */
async function requireReady(
  step: "reissue" | "drop",
  state: RolloverState,
  flags: RolloverFlags,
  options: RolloverOptions,
  ports: RolloverPorts,
): Promise<void> {
  const { kind } = state.phase;
  // What is done here already may be run again without asking.
  if (kind === "dropped" || kind === (step === "drop" ? "none" : "reissued")) return;
  const members = await askMembers(state, flags, options, ports);
  if (members === undefined) {
    throw new E2dError("pki_rollover_blocked", `Cannot begin the phase "${step}": the members were not asked`, {
      hint: "pass --endpoints with the client URL of a member",
    });
  }
  const blockers = blockersOf(step, members);
  if (blockers.length > 0) {
    throw new E2dError("pki_rollover_blocked", `Cannot begin the phase "${step}": ${blockers.join("; ")}`);
  }
}

async function askMembers(
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
    trusted: await text(options.caCert),
    certificate: await text(own.paths.cert),
    key: await text(own.paths.key),
  });
  const signal = flags.signal ?? new AbortController().signal;
  return await probeMembers(ports, { members, old: await oldAuthority(state, options, ports), next, signal });
}

/** The authority to go, while its certificate is still trusted and its key still kept. */
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
  const members = await askMembers(state, flags, options, ports);
  const mark = { yes: "done", no: "to do", unknown: "?" } as const;
  terminal.out(`This machine: ${state.phase.kind}\n`);
  for (const [index, plan] of rolloverPlan.entries()) {
    const done = plan.isDone({ files: state.files, members });
    terminal.out(`${String(index + 1).padStart(2)}  ${plan.phase.padEnd(7)}  ${mark[done].padEnd(5)}  ${plan.what}\n`);
  }
  if (members === undefined) {
    terminal.out("The members were not asked: pass --endpoints with the client URL of a member.\n");
  } else if (state.phase.kind === "dropped") {
    for (const blocker of blockersOfEnd(members)) terminal.out(`${blocker}\n`);
  }
}

/** Asks etcd itself; from whichever endpoint answers. */
export async function listEtcdMembers(request: MemberListRequest): Promise<ProbeTarget[]> {
  const { enableGrpcTls } = await import("../sys/grpc_tls.ts");
  await enableGrpcTls();
  const { Etcd3 } = await import("etcd3");
  const client = new Etcd3({
    hosts: [...request.endpoints],
    credentials: {
      rootCertificate: Buffer.from(request.trusted),
      certChain: Buffer.from(request.certificate),
      privateKey: Buffer.from(request.key),
    },
  });
  try {
    const { members } = await client.cluster.memberList({ linearizable: true } as never);
    return members.map(({ name, clientURLs, peerURLs }) => ({ name, urls: [...clientURLs, ...peerURLs] }));
  } catch (cause) {
    throw new E2dError("pki_rollover_members", `Cannot ask "${request.endpoints.join(",")}" for the members`, {
      cause,
    });
  } finally {
    client.close();
  }
}
