import { DigitalOcean } from "../cloud/digitalocean.ts";
import { parseToken } from "../cloud/token.ts";
import { InstancePeers, tagsOrOwn } from "./instance_peers.ts";
import type { DiscoveryConfig, DiscoveryMethod, DiscoveryPorts } from "./method.ts";

/** Droplets with any of these tags; without tags: with any tag of this droplet. Throws E2dError `cloud_token`. */
export function doTags(tags: readonly string[], config: DiscoveryConfig, ports: DiscoveryPorts): DiscoveryMethod {
  const token = parseToken(config.digitalOceanToken, {
    cloud: "DigitalOcean",
    source: "--do-access-token (E2D_DO_ACCESS_TOKEN)",
  });
  const cloud = new DigitalOcean({ token, ...config.endpoints }, ports);
  const name = "do-tags";
  const peers = new InstancePeers(name, ports.log);
  return {
    name,
    async peers(signal) {
      const own = async () => (await cloud.ownDroplet(signal)).tags.map((key) => ({ key }));
      const wanted = await tagsOrOwn(name, [...new Set(tags)].map((key) => ({ key })), own);
      const found = [];
      // Sequentially: the limit of 250 requests a minute is shared by all users of a token.
      for (const { key } of wanted) found.push(...await cloud.droplets(key, signal));
      return peers.fromInstances(found.map(({ id, status, privateAddress }) => ({
        name: `${id}`,
        running: status === "active" || status === "new",
        address: privateAddress,
      })));
    },
    ownAddress: async (signal) => (await cloud.ownDroplet(signal)).privateAddress,
  };
}
