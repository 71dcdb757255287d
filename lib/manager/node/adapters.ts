/**
 * Builds the adapters of one node in the order of their dependencies, and registers how each is closed. Closing reverses
 * that order: etcd stops before gossip leaves and before its client closes.
 */
import { describeError, E2dError } from "../../errors.ts";
import type { HostPort } from "../../ports.ts";
import type { Event } from "../../core/facts/event.ts";
import type { EtcdClient } from "../../etcd/client/client.ts";
import type { EtcdSettings } from "../../etcd/process/args.ts";
import { EtcdCluster } from "../adapters/cluster_adapter.ts";
import { EtcdAdapter } from "../adapters/etcd_adapter.ts";
import { type GossipAdapter, startGossipAdapter } from "../adapters/gossip_adapter.ts";
import { discoveredSeeds, namedSeeds } from "../adapters/seed_source.ts";
import { noSnapshots, type SnapshotAdapter } from "../adapters/snapshot_adapter.ts";
import { hostText, isLoopback } from "../addresses.ts";
import { OperatorStops } from "../data_dir/operator_stops.ts";
import { clientTls, etcdTls, type Security } from "../security/security.ts";
import type { LiveKeys } from "../security/live_keys.ts";
import type { System } from "../system.ts";
import { withoutUndefined } from "../../without_undefined.ts";
import type { LatestState } from "./latest_state.ts";
import { LiveSettings } from "./live_settings.ts";
import type { PreparedNode } from "./prepare.ts";

export interface Adapters {
  readonly client: EtcdClient;
  readonly cluster: EtcdCluster;
  readonly stops: OperatorStops;
  readonly settings: LiveSettings;
  /** Undefined for a single node, which runs no gossip. */
  readonly gossip: GossipAdapter | undefined;
  readonly etcd: EtcdAdapter;
  readonly snapshots: SnapshotAdapter;
}

export interface AdapterParts {
  /** Random text of this process. */
  readonly life: string;
  readonly deliver: (event: Event) => void;
  readonly latest: LatestState;
  readonly keys: LiveKeys;
  readonly closers: AsyncDisposableStack;
  /** Aborts as the first step of closing. */
  readonly closing: AbortSignal;
}

/** Throws what the adapters throw; `closers` then has those that were already built. */
export async function buildAdapters(prepared: PreparedNode, system: System, parts: AdapterParts): Promise<Adapters> {
  const { config, dataDir, alone, identity, security } = prepared;
  const { clock, files, log } = system;
  const { deliver, closers, closing } = parts;
  const client = await system.openEtcd({
    endpoints: [identity.clientUrl],
    clock,
    tls: await clientTls(security.set, files),
  });
  closers.defer(() => client.close());
  const cluster = new EtcdCluster(client, {
    clientUrl: identity.clientUrl,
    clock,
    quotaBytes: config.etcd.quotaBytes,
    openHttp: async () => system.openPrivateHttp(await clientTls(security.set, files)),
  });
  const stops = await OperatorStops.open(dataDir, { files, clock, log, signal: closing });
  const settings = new LiveSettings({ config, alone, stops, deliver });
  const gossip = alone ? undefined : await buildGossip(prepared, system, { ...parts, settings });
  const etcd = await buildEtcd(prepared, system, { ...parts, cluster });
  const snapshots = await buildSnapshots(prepared, system, { ...parts, client, etcd });
  closers.defer(() => snapshots.close());
  return { client, cluster, stops, settings, gossip, etcd, snapshots };
}

async function buildGossip(
  { config, addresses, identity, security, discovery }: PreparedNode,
  system: System,
  { life, deliver, closers, settings }: AdapterParts & { settings: LiveSettings },
): Promise<GossipAdapter> {
  const { clock, random, log } = system;
  const onChange = (seeds: readonly HostPort[]) => settings.setSeeds(seeds);
  const source = discovery === undefined
    ? await namedSeeds({ addresses: config.bootstrapAddrs, resolve: system.resolve, clock, log, onChange })
    : discoveredSeeds(discovery, addresses.gossip.port, onChange);
  closers.defer(() => source.close());
  settings.setSeeds(source.current());
  const seedsAtStart = settings.seeds;
  const gossip = await startGossipAdapter({
    name: identity.name,
    clientUrl: identity.clientUrl,
    peerUrl: identity.peerUrl,
    life,
    bind: addresses.gossip,
    advertise: addresses.gossip,
    ...withoutUndefined({ keys: security.keys?.gossip }),
    seeds: () => settings.seeds,
    bindDatagrams: system.bindDatagrams,
    connections: system.connections,
    clock,
    random,
    log,
    deliver,
  });
  closers.defer(() => gossip.close());
  settings.watchSeeds(seedsAtStart, () => gossip.seedsChanged());
  return gossip;
}

async function buildEtcd(
  prepared: PreparedNode,
  system: System,
  { deliver, closers, cluster }: AdapterParts & { cluster: EtcdCluster },
): Promise<EtcdAdapter> {
  const etcd = new EtcdAdapter({
    clock: system.clock,
    log: system.log,
    processes: system.processes,
    lock: prepared.lock,
    programs: prepared.programs,
    provide: (minor) => system.provideEtcd({ minor }),
    settings: await etcdSettings(prepared, system),
    hasLeader: () => cluster.hasLeader(),
    deliver,
  });
  closers.defer(() => etcd.stop());
  return etcd;
}

async function etcdSettings(
  { config, dataDir, alone, addresses, identity, security }: PreparedNode,
  system: System,
): Promise<Omit<EtcdSettings, "version">> {
  return {
    name: identity.name,
    dataDir,
    peerUrl: identity.peerUrl,
    clientUrl: identity.clientUrl,
    clientListenUrls: await localListener(addresses.client, security, system),
    alone,
    verbose: config.verbose,
    ...withoutUndefined({ tls: etcdTls(security.set), quotaBytes: config.etcd.quotaBytes }),
  };
}

/**
 * etcd also serves clients of this machine at 127.0.0.1, as the Go original does. A second node on the same machine cannot
 * listen there as well: then it serves only its own address.
 */
async function localListener(client: HostPort, { scheme }: Security, system: System): Promise<string[]> {
  if (isLoopback(client.host)) return [];
  const local = { host: "127.0.0.1", port: client.port };
  try {
    (await system.connections.listen(local)).close();
    return [`${scheme}://${hostText(local)}`];
  } catch (error) {
    if (!(error instanceof E2dError)) throw error;
    system.log.warn("etcd does not listen on 127.0.0.1: clients of this machine must use --client-addr", {
      error: describeError(error),
    });
    return [];
  }
}

/** A node of a cluster needs this adapter without a store, too: a survivor of a quorum loss exports its data. */
async function buildSnapshots(
  { config, dataDir, addresses, identity, alone }: PreparedNode,
  system: System,
  { client, etcd, latest, keys }: AdapterParts & { client: EtcdClient; etcd: EtcdAdapter },
): Promise<SnapshotAdapter> {
  const stored = config.snapshots.url === undefined ? undefined : await system.openSnapshots();
  if (stored === undefined && alone) return noSnapshots;
  const { StoreSnapshots } = await import("../adapters/store_snapshots.ts");
  return new StoreSnapshots({
    place: stored?.place,
    config: config.snapshots,
    keys() {
      const { recipients = [], former = [] } = keys.current ?? {};
      return {
        recipients: [...recipients, ...stored?.recipients ?? []],
        publicRecipients: stored?.publicRecipients,
        former,
        secret: recipients[0],
      };
    },
    self: identity,
    host: addresses.peer.host,
    dataDir,
    client,
    programs: async (atLeast) => {
      await etcd.requireAtLeast(atLeast);
      return etcd.programs;
    },
    whileEtcdStopped: (work) => etcd.whileStopped(work),
    origin: () => latest.node?.disk.record.started?.how,
    cluster: () => ({
      size: config.requiredSize,
      seen: latest.node?.membership.lastCluster ?? latest.node?.disk.record.seen,
    }),
  }, system);
}
