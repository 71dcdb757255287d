/**
 * One node from its configuration to its end: puts the sides together around the core, in an order in which nothing is
 * touched before everything that can be checked was checked.
 */
import { describeError, E2dError } from "../errors.ts";
import type {
  Clock,
  Connections,
  Datagrams,
  FileReader,
  Files,
  HostPort,
  Http,
  Locks,
  Logger,
  OpenGrpcStream,
  Processes,
  Random,
  Staging,
} from "../ports.ts";
import type { Asking } from "../discovery/keep_asking.ts";
import type { DiscoveryMethod } from "../discovery/method.ts";
import type { SnapshotPlace } from "../snapshot/catalogue.ts";
import type { Event } from "../core/event.ts";
import { createNode } from "../core/node.ts";
import type { DataDir, Identity, Settings } from "../core/view.ts";
import { exitCause } from "../etcd/exit_cause.ts";
import { type EtcdClient, type EtcdClientOptions, openEtcd } from "../etcd/client.ts";
import type { EtcdPrograms } from "../etcd/provider.ts";
import { hostText, isLoopback, needsHost, type NodeAddresses, nodeAddresses } from "./addresses.ts";
import { EtcdCluster } from "./cluster_side.ts";
import { handleControl } from "./control.ts";
import { EtcdSide } from "./etcd_side.ts";
import { checkPlace, controlPath } from "./place.ts";
import { EventQueue } from "./event_queue.ts";
import { type GossipSide, startGossipSide } from "./gossip_side.ts";
import { type Hold, holdDataDir } from "./hold.ts";
import { Journal } from "./journal.ts";
import type { NodeConfig } from "./node_config.ts";
import { run } from "./run.ts";
import type { KeysInUse } from "../pki/keys_in_use.ts";
import type { CertificateState } from "../pki/renewal_loop.ts";
import { clientTls, etcdTls, prepareSecurity, type Security } from "./security.ts";
import { watchOwnCertificates, watchOwnKeys } from "./security_watch.ts";
import { discoveredSeeds, namedSeeds, type SeedSource } from "./seed_source.ts";
import { type ServiceState, serviceState } from "./service_notices.ts";
import { Shell } from "./shell.ts";
import { noSnapshots, type SnapshotSide } from "./snapshot_side.ts";
import { keepHistory, StatusHistory } from "./status_history.ts";
import { statusReport } from "./status_report.ts";
import { serveStatus, type StatusServer } from "./status_server.ts";
import { falseMembers, requireTrueMembers } from "./true_members.ts";

export interface System {
  readonly clock: Clock;
  readonly random: Random;
  readonly files: Files;
  readonly locks: Locks;
  readonly processes: Processes;
  readonly connections: Connections;
  readonly bindDatagrams: (at: HostPort) => Promise<Datagrams>;
  readonly log: Logger;
  readonly inspectDataDir: (path: string) => Promise<DataDir>;
  /** The etcd to run; `minor` asks for the newest of "3.7". */
  readonly provideEtcd: (wanted: { minor?: string }) => Promise<EtcdPrograms>;
  /** An address of this machine that its peers can reach; a discovery method may know it. */
  readonly ownAddress: (method: DiscoveryMethod | undefined, clusterSize: number) => Promise<string>;
  /** Asks a method of discovery until the signal. Throws E2dError for what no waiting can mend. */
  readonly discover: (spec: string, signal: AbortSignal) => Promise<Asking>;
  /** Where snapshots are kept, and the keys that open them beside the CA's. Throws E2dError for a URL or key file. */
  readonly openSnapshots: () => Promise<{ place: SnapshotPlace; recipients: readonly Uint8Array<ArrayBuffer>[] }>;
  readonly staging: Staging;
  readonly reader: FileReader;
  readonly http: Http;
  readonly resolve: (host: string, signal: AbortSignal) => Promise<readonly string[]>;
  readonly absolutePath: (path: string) => string;
  /** Throws E2dError when the address cannot be had. */
  readonly serveHttp: (
    at: HostPort,
    handler: (request: Request) => Response | Promise<Response>,
    tls?: { certificate: string; key: string },
  ) => { readonly local: HostPort; close(): Promise<void> };
  /** Answers commands of this machine's operators. Throws E2dError `control_listen`. */
  readonly serveControl: (
    path: string,
    handler: (request: unknown) => Promise<unknown>,
  ) => Promise<{ close(): void }>;
  /** Gives what the service manager is told from now on. Does nothing where there is none. */
  readonly announce: (state: () => ServiceState) => void;
  /** For certificates of e2d's own gRPC client: must have run before it dials. */
  readonly enableTls: () => Promise<void>;
  readonly openStream: OpenGrpcStream;
}

export interface Stopping {
  /** Aborts at the first request to stop. */
  readonly stop: AbortSignal;
  /** Aborts at the second one. */
  readonly hurry: AbortSignal;
}

/** A learner that stands still for longer than this makes way for another. */
const learnerStallTimeoutMs = 120_000;

/** Runs until the node ends; returns the exit status. Throws E2dError for what must be mended before it can start. */
export async function startNode(config: NodeConfig, system: System, stopping: Stopping): Promise<number> {
  const { files, log, clock } = system;
  const dataDir = system.absolutePath(config.dataDir).replace(/(?<=.)\/+$/, "");
  const alone = config.requiredSize === 1 && config.bootstrapAddrs.length === 0 && config.peerDiscovery === undefined;
  const asking = config.peerDiscovery === undefined
    ? undefined
    : await system.discover(config.peerDiscovery, stopping.stop);
  const host = config.host ??
    (needsHost(config) ? await system.ownAddress(asking?.method, config.requiredSize) : "");
  const addresses = nodeAddresses(config, host);
  const security = await prepareSecurity(config.tls, {
    nowMs: clock.wallMs(),
    clientHost: addresses.client.host,
    peerHost: addresses.peer.host,
  }, system);
  const programs = system.provideEtcd({});
  programs.catch(() => {}); // It is thrown where it is awaited.
  await system.enableTls();

  const parent = dataDir.slice(0, dataDir.lastIndexOf("/")) || "/";
  if (await files.info(parent) === undefined) await files.makeDirectory(parent);
  await checkPlace(dataDir, system);
  const hold = await holdDataDir(dataDir, system);
  try {
    await requireFree({ peer: addresses.peer, client: addresses.client }, system);
    const data = await system.inspectDataDir(dataDir);
    const identity: Identity = {
      name: nameOf(config.name, data, system),
      peerUrl: `${security.scheme}://${hostText(addresses.peer)}`,
      clientUrl: `${security.scheme}://${hostText(addresses.client)}`,
      gossipAddr: hostText(addresses.gossip),
    };
    log.info("this node", { ...identity, dataDir, requiredSize: config.requiredSize });
    const prepared = { config, dataDir, alone, addresses, identity, security, hold, asking };
    return await live({ ...prepared, programs: await programs }, {
      system,
      stopping,
    });
  } finally {
    hold.release();
  }
}

interface Prepared {
  readonly config: NodeConfig;
  readonly dataDir: string;
  readonly alone: boolean;
  readonly addresses: NodeAddresses;
  readonly identity: Identity;
  readonly security: Security;
  readonly hold: Hold;
  readonly programs: EtcdPrograms;
  readonly asking: Asking | undefined;
}

async function live(
  prepared: Prepared,
  { system, stopping }: { system: System; stopping: Stopping },
): Promise<number> {
  const { config, dataDir, alone, addresses, identity, security, hold } = prepared;
  const { clock, random, log, files } = system;
  const events = new EventQueue<Event>();
  const deliver = (event: Event) => events.push(event);
  const closing = new AbortController();
  const life = hex(random.bytes(16));

  const client = await openClient(
    { endpoints: [identity.clientUrl], clock, openStream: system.openStream },
    security,
    files,
  );
  const cluster = new EtcdCluster(client, {
    clientUrl: identity.clientUrl,
    clock,
    quotaBytes: config.etcd.quotaBytes,
  });
  const etcd = new EtcdSide({
    clock,
    log,
    processes: system.processes,
    hold,
    programs: prepared.programs,
    provide: (minor) => system.provideEtcd({ minor }),
    settings: {
      name: identity.name,
      dataDir,
      peerUrl: identity.peerUrl,
      clientUrl: identity.clientUrl,
      clientListenUrls: await localListener(addresses.client, security, system),
      alone,
      verbose: config.verbose,
      ...(security.set.kind === "plain" ? {} : { tls: etcdTls(security.set)! }),
      ...(config.etcd.quotaBytes === undefined ? {} : { quotaBytes: config.etcd.quotaBytes }),
    },
    hasLeader: () => cluster.hasLeader(),
    deliver,
  });

  let paused = false;
  const approved: string[] = [];
  let control: { close(): void } | undefined;
  let certificates: readonly CertificateState[] = [];
  let certificateFailures: readonly string[] = [];
  let status: StatusServer | undefined;
  let snapshots: SnapshotSide = noSnapshots;
  let seeds: SeedSource | undefined;
  let gossip: GossipSide | undefined;
  try {
    if (!alone) {
      const onChange = () => {
        gossip?.seedsChanged();
        deliver({ kind: "settings", settings: settings() });
      };
      seeds = prepared.asking === undefined
        ? await namedSeeds({ addresses: config.bootstrapAddrs, resolve: system.resolve, clock, log, onChange })
        : discoveredSeeds(prepared.asking, addresses.gossip.port, onChange);
      gossip = await startGossipSide({
        name: identity.name,
        clientUrl: identity.clientUrl,
        peerUrl: identity.peerUrl,
        life,
        bind: addresses.gossip,
        advertise: addresses.gossip,
        ...(security.keys === undefined ? {} : { keys: security.keys.gossip }),
        seeds: () => seeds!.current(),
        bindDatagrams: system.bindDatagrams,
        connections: system.connections,
        clock,
        random,
        log,
        deliver,
      });
    }
    const settings = (): Settings => ({
      ...settingsOf(config, { alone, seeds: seeds?.current() ?? [] }),
      paused,
      approved,
    });
    const journal = new Journal();
    let keys = security.keys;
    const origin = () => shell.node?.record.started?.how;
    snapshots = await openSnapshotSide(prepared, system, { client, etcd, origin, keys: () => keys });
    const shell = new Shell({
      dataDir,
      clock,
      files,
      log,
      journal,
      inspectDataDir: async () => asEtcdSaw(await system.inspectDataDir(dataDir), etcd),
      etcd,
      cluster,
      gossip,
      snapshots,
      onPaused: (now) => {
        if (now === paused) return;
        paused = now;
        deliver({ kind: "settings", settings: settings() });
      },
      upgradeEtcd: async (minor) => {
        const programs = await system.provideEtcd({ minor });
        requireTrueMembers(await system.inspectDataDir(dataDir), programs.version);
        await etcd.change(programs);
      },
    }, events);
    onAbort(stopping.stop, () => deliver({ kind: "stop" }));
    onAbort(stopping.hurry, () => etcd.hurry());
    const { autoRenew } = config.tls;
    void watchOwnCertificates(
      { security, autoRenew, client },
      system,
      closing.signal,
      (found, failures) => {
        certificates = found;
        certificateFailures = failures;
        void status?.renew();
      },
    );
    void watchOwnKeys({ security, client }, system, closing.signal, (changed) => {
      keys = changed;
      gossip?.setKeys(changed.gossip);
    });
    const report = () =>
      shell.node && statusReport({
        node: shell.node,
        certificates,
        certificateFailures,
        nowWallMs: clock.wallMs(),
        nowMs: clock.monotonicMs(),
      });
    system.announce(() => serviceState(report(), { alone }));
    const history = new StatusHistory();
    void keepHistory(history, report, clock, closing.signal);
    status = await serveStatus(config.statusAddr, security, system, {
      report,
      history,
      journal,
      gossip: () => gossip?.metrics(),
      nowWallMs: () => clock.wallMs(),
    });
    control = await system.serveControl(controlPath(dataDir), (request) =>
      handleControl(request, {
        node: () => shell.node,
        now: () => shell.now(),
        newId: () => hex(random.bytes(4)),
        deliver,
        async askMembers(endpoints) {
          await Promise.all(endpoints.map(async (endpoint) => {
            deliver({ kind: "probed", endpoint, probe: await cluster.probe(endpoint) });
          }));
          // One turn of the loop, so that the answers are in the node's state.
          await clock.sleep(0);
        },
        setPaused: (paused) => cluster.setPaused(paused),
        dropPlan: () => cluster.writePlan(undefined),
        approve: (plan) => {
          approved.push(plan);
          deliver({ kind: "settings", settings: settings() });
        },
      }));
    deliver({ kind: "boot" });
    const code = await run(createNode(identity, settings(), life, shell.now()), shell);
    if (code !== 0 && etcd.lastExit !== undefined) {
      log.error("the last words of etcd", { lines: etcd.lastExit.tail });
    }
    return code;
  } finally {
    closing.abort();
    await etcd.stop();
    await gossip?.close();
    await seeds?.close();
    control?.close();
    await status?.close();
    await snapshots.close();
    client.close();
  }
}

/** What etcd itself found broken is damaged, however well it looked from outside. */
function asEtcdSaw(data: DataDir, { lastExit, programs }: EtcdSide): DataDir {
  const what = falseMembers(data, programs.version);
  if (what !== undefined) return { kind: "damaged", what: `${what}: etcd ${programs.version} would turn them away` };
  if (data.kind !== "valid" || lastExit?.cause !== "data_corrupt") return data;
  const words = lastExit.tail.findLast((line) => exitCause([line]) === "data_corrupt") ?? "";
  return { kind: "damaged", what: `etcd refuses it: ${words.slice(0, 300)}` };
}

/** Told before anything is written: etcd would find out only after it has made its data-dir. */
async function requireFree(
  addresses: Readonly<Record<"peer" | "client", HostPort>>,
  { connections }: System,
): Promise<void> {
  for (const [name, address] of Object.entries(addresses)) {
    try {
      (await connections.listen(address)).close();
    } catch (cause) {
      throw new E2dError("address_unusable", `Cannot listen on ${hostText(address)}: ${describeError(cause)}`, {
        hint: `find what listens there (ss -ltnp), or give another --${name}-addr`,
      });
    }
  }
}

/** The data-dir's own name stands, whatever is configured: members are who their data says they are. */
function nameOf(configured: string | undefined, data: DataDir, { random, log }: System): string {
  if (data.kind === "valid" && data.name !== "") {
    if (configured !== undefined && configured !== data.name) {
      log.warn("the data-dir belongs to another name, which is kept", { configured, kept: data.name });
    }
    return data.name;
  }
  // The original's form.
  return configured ?? hex(random.bytes(8)).toUpperCase();
}

export function settingsOf(
  config: NodeConfig,
  { alone, seeds }: { alone: boolean; seeds: readonly HostPort[] },
): Settings {
  const { snapshots } = config;
  return {
    requiredSize: config.requiredSize,
    gossip: !alone,
    seeds: seeds.map(hostText),
    healthCheckTimeoutMs: config.healthCheckTimeoutMs,
    quorumLossTimeoutMs: config.quorumLossTimeoutMs,
    learnerStallTimeoutMs,
    restore: snapshots.restore,
    ...(snapshots.restoreMaxAgeMs === undefined ? {} : { restoreMaxAgeMs: snapshots.restoreMaxAgeMs }),
    ...(snapshots.newCluster === undefined ? {} : { newCluster: snapshots.newCluster }),
    ...(config.defrag === undefined ? {} : { defrag: config.defrag }),
    approved: [],
    paused: false,
    snapshots: snapshots.url !== undefined,
    snapshotIntervalMs: snapshots.intervalMs,
  };
}

async function openClient(
  options: Omit<EtcdClientOptions, "tls">,
  security: Security,
  files: Files,
): Promise<EtcdClient> {
  return await openEtcd({ ...options, tls: await clientTls(security.set, files) });
}

/** The original also serves this machine's own clients at 127.0.0.1; a second node on the machine cannot have it, too. */
async function localListener(client: HostPort, { scheme }: Security, system: System): Promise<string[]> {
  if (isLoopback(client.host)) return [];
  const local = { host: "127.0.0.1", port: client.port };
  try {
    (await system.connections.listen(local)).close();
    return [`${scheme}://${hostText(local)}`];
  } catch (error) {
    if (!(error instanceof E2dError)) throw error;
    system.log.warn("etcd will not listen on the loopback address", { error: describeError(error) });
    return [];
  }
}

/** Also for a node without a store: it may be the one that survives a lost majority, or found anew with one. */
async function openSnapshotSide(
  { config, dataDir, addresses, identity, alone }: Prepared,
  system: System,
  { client, etcd, origin, keys }: {
    client: EtcdClient;
    etcd: EtcdSide;
    origin: () => "founded" | "joined" | "restored" | undefined;
    keys: () => KeysInUse | undefined;
  },
): Promise<SnapshotSide> {
  const stored = config.snapshots.url === undefined ? undefined : await system.openSnapshots();
  if (stored === undefined && alone) return noSnapshots;
  const { StoreSnapshots } = await import("./store_snapshots.ts");
  return new StoreSnapshots({
    place: stored?.place,
    config: config.snapshots,
    keys() {
      const { recipients = [], former = [] } = keys() ?? {};
      return { recipients: [...recipients, ...stored?.recipients ?? []], former, secret: recipients[0] };
    },
    self: identity,
    host: addresses.peer.host,
    dataDir,
    client,
    programs: async (atLeast) => {
      await etcd.requireAtLeast(atLeast);
      return etcd.programs;
    },
    withoutEtcd: (work) => etcd.without(work),
    origin,
  }, system);
}

function onAbort(signal: AbortSignal, act: () => void): void {
  if (signal.aborted) act();
  else signal.addEventListener("abort", act, { once: true });
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
