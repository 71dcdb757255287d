/**
 * Checks everything that can be checked before a node starts: addresses, certificates, the etcd program, the permissions
 * of the data-dir, the ports. Locks the data-dir, and starts nothing.
 */
import { describeError, E2dError } from "../../errors.ts";
import type { HostPort } from "../../ports.ts";
import type { DataDir } from "../../core/facts/data_dir.ts";
import type { Identity } from "../../core/facts/view.ts";
import type { DiscoveryPoll } from "../../discovery/poll.ts";
import type { EtcdPrograms } from "../../etcd/install/provider.ts";
import { hostText, needsHost, type NodeAddresses, nodeAddresses } from "../addresses.ts";
import { type DataDirLock, lockDataDir } from "../data_dir/lock.ts";
import { checkDataDirPermissions } from "../data_dir/permissions.ts";
import type { NodeConfig } from "../node_config.ts";
import { prepareSecurity, type Security } from "../security/security.ts";
import type { System } from "../system.ts";

export interface PreparedNode {
  readonly config: NodeConfig;
  /** Absolute path without a trailing slash. */
  readonly dataDir: string;
  /** True for a single node that never has peers. It runs no gossip. */
  readonly alone: boolean;
  readonly addresses: NodeAddresses;
  readonly identity: Identity;
  readonly security: Security;
  readonly lock: DataDirLock;
  readonly programs: EtcdPrograms;
  /** Undefined without `--peer-discovery`. */
  readonly discovery: DiscoveryPoll | undefined;
}

/**
 * Adds the release of the data-dir lock to `closers`. `stop` ends discovery. Throws E2dError for a state that an operator
 * must correct before this node can start.
 */
export async function prepareNode(
  config: NodeConfig,
  system: System,
  { stop, closers }: { stop: AbortSignal; closers: AsyncDisposableStack },
): Promise<PreparedNode> {
  const dataDir = system.absolutePath(config.dataDir).replace(/(?<=.)\/+$/, "");
  const alone = config.requiredSize === 1 && config.bootstrapAddrs.length === 0 && config.peerDiscovery === undefined;
  const discovery = config.peerDiscovery === undefined ? undefined : await system.discover(config.peerDiscovery, stop);
  const host = config.host ??
    (needsHost(config) ? await system.ownAddress(discovery?.method, config.requiredSize) : "");
  const addresses = nodeAddresses(config, host);
  const security = await prepareSecurity(config.tls, {
    nowMs: system.clock.wallMs(),
    clientHost: addresses.client.host,
    peerHost: addresses.peer.host,
  }, system);
  const programs = system.provideEtcd({});
  programs.catch(() => {}); // Awaited below, which throws the failure.

  const lock = await prepareAndLock(dataDir, system);
  closers.defer(() => lock.release());
  await requireFree({ peer: addresses.peer, client: addresses.client }, system);
  const data = await system.inspectDataDir(dataDir);
  const identity: Identity = {
    name: nameOf(config.name, data, system),
    peerUrl: `${security.scheme}://${hostText(addresses.peer)}`,
    clientUrl: `${security.scheme}://${hostText(addresses.client)}`,
    gossipAddr: hostText(addresses.gossip),
  };
  system.log.info("starting this node", { ...identity, dataDir, requiredSize: config.requiredSize });
  return { config, dataDir, alone, addresses, identity, security, lock, discovery, programs: await programs };
}

async function prepareAndLock(dataDir: string, system: System): Promise<DataDirLock> {
  const { files } = system;
  const parent = dataDir.slice(0, dataDir.lastIndexOf("/")) || "/";
  if (await files.info(parent) === undefined) await files.makeDirectory(parent);
  await checkDataDirPermissions(dataDir, system);
  return await lockDataDir(dataDir, system);
}

/** Checked early: etcd reports a used port only after it has created its data-dir. */
async function requireFree(
  addresses: Readonly<Record<"peer" | "client", HostPort>>,
  { connections }: System,
): Promise<void> {
  for (const [name, address] of Object.entries(addresses)) {
    try {
      (await connections.listen(address)).close();
    } catch (cause) {
      throw new E2dError("address_unusable", `Cannot listen on ${hostText(address)}: ${describeError(cause)}`, {
        hint: `find the process that listens there (ss -ltnp), or set another --${name}-addr`,
      });
    }
  }
}

/** The name in the data-dir takes precedence: etcd knows this member by it. */
function nameOf(configured: string | undefined, data: DataDir, { random, log }: System): string {
  if (data.kind === "valid" && data.name !== "") {
    if (configured !== undefined && configured !== data.name) {
      log.warn(`the data-dir was created as member "${data.name}"; keeping that name`, { configured, kept: data.name });
    }
    return data.name;
  }
  // The same format as in the Go original.
  return configured ?? random.bytes(8).toHex().toUpperCase();
}
