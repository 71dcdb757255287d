import { Azure } from "../cloud/azure.ts";
import { InstancePeers, tagsOrOwn } from "./instance_peers.ts";
import type { DiscoveryConfig, DiscoveryMethod, DiscoveryPorts } from "./method.ts";
import type { Tag } from "./spec.ts";

/** Machines of this machine's resource group with all these tags; without tags: with all tags of this machine. */
export function azureTags(tags: readonly Tag[], config: DiscoveryConfig, ports: DiscoveryPorts): DiscoveryMethod {
  const cloud = new Azure({ ...config.endpoints }, ports);
  const name = "azure-tags";
  const peers = new InstancePeers(name, ports.log);
  return {
    name,
    async peers(signal) {
      const own = await cloud.ownMachine(signal);
      const wanted = await tagsOrOwn(name, tags, () => Promise.resolve(own.tags), ["hidden-"]);
      const machines = await cloud.machines(own, wanted, signal);
      return peers.fromInstances(machines.map(({ id, power, privateAddress }) => ({
        name: id.split("/").at(-1)!,
        running: power === undefined || power === "running" || power === "starting",
        address: privateAddress,
      })));
    },
    ownAddress: async (signal) => (await cloud.ownMachine(signal)).privateAddress,
  };
}
