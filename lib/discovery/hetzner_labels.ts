import { Hetzner, type HetznerServer } from "../cloud/hetzner.ts";
import { parseToken } from "../cloud/token.ts";
import { InstancePeers, tagsOrOwn } from "./instance_peers.ts";
import type { DiscoveryConfig, DiscoveryMethod, DiscoveryPorts } from "./method.ts";
import type { Tag } from "./spec.ts";

/** Servers with all these labels; without labels: with all labels of this server. Throws E2dError `cloud_token`. */
export function hetznerLabels(labels: readonly Tag[], config: DiscoveryConfig, ports: DiscoveryPorts): DiscoveryMethod {
  const token = parseToken(config.environment("HCLOUD_TOKEN"), { cloud: "Hetzner", source: "HCLOUD_TOKEN" });
  const cloud = new Hetzner({ token, ...config.endpoints }, ports);
  const name = "hetzner-labels";
  const peers = new InstancePeers(name, ports.log);
  return {
    name,
    async peers(signal) {
      const own = async () => tagsOf((await cloud.server(await cloud.ownId(signal), signal)).labels);
      const servers = await cloud.servers(await tagsOrOwn(name, labels, own), signal);
      const network = commonNetwork(servers);
      return peers.fromInstances(servers.map(({ id, status, privateNets }) => ({
        name: `${id}`,
        running: ["running", "starting", "initializing", "migrating"].includes(status),
        address: privateNets.find((net) => net.network === network)?.address,
      })));
    },
    ownAddress: (signal) => cloud.ownPrivateAddress(signal),
  };
}

const tagsOf = (labels: Readonly<Record<string, string>>) =>
  Object.entries(labels).map(([key, value]) => ({ key, value }));

/** The private network of most servers, the oldest one in a tie: the servers of a cluster share one network. */
function commonNetwork(servers: readonly HetznerServer[]): number | undefined {
  const members = new Map<number, number>();
  for (const { network } of servers.flatMap(({ privateNets }) => privateNets)) {
    members.set(network, (members.get(network) ?? 0) + 1);
  }
  return [...members].sort(([a, many], [b, more]) => more - many || a - b)[0]?.[0];
}
