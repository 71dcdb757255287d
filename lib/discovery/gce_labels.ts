import { Gce } from "../cloud/gce.ts";
import { InstancePeers, tagsOrOwn } from "./instance_peers.ts";
import type { DiscoveryConfig, DiscoveryMethod, DiscoveryPorts } from "./method.ts";
import type { Tag } from "./spec.ts";

/** Instances of this project with all these labels; without labels: with all labels of this instance. */
export function gceLabels(labels: readonly Tag[], config: DiscoveryConfig, ports: DiscoveryPorts): DiscoveryMethod {
  const cloud = new Gce({ ...config.endpoints }, ports);
  const name = "gce-labels";
  const peers = new InstancePeers(name, ports.log);
  return {
    name,
    async peers(signal) {
      const own = async () => Object.entries(await cloud.ownLabels(signal)).map(([key, value]) => ({ key, value }));
      const instances = await cloud.instances(await tagsOrOwn(name, labels, own, ["goog-"]), signal);
      return peers.fromInstances(instances.map(({ name, status, privateAddress }) => ({
        name,
        running: ["RUNNING", "STAGING", "PROVISIONING", "REPAIRING"].includes(status),
        address: privateAddress,
      })));
    },
    ownAddress: (signal) => cloud.ownPrivateAddress(signal),
  };
}
