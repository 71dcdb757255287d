import { E2dError } from "../errors.ts";
import { addressKind } from "./ip_address.ts";
import type { DiscoveryMethod, DiscoveryPorts, PeerAddress } from "./method.ts";

/** Targets looked up at the same time. */
const lookupsMax = 16;
const targetsMax = 1_000;

/**
 * SRV records of `_e2d._tcp.NAME`, with the port of the record; without any, A and AAAA records of NAME. A name that does
 * not exist means no peers; a name server that does not answer is an error.
 */
export function dnsName(name: string, ports: Pick<DiscoveryPorts, "resolver" | "log">): DiscoveryMethod {
  const { resolver, log } = ports;
  let unresolved = "";
  let missing = false;

  async function addressesOf(targets: readonly { host: string; port: number }[], signal: AbortSignal) {
    const peers: PeerAddress[] = [];
    const without: string[] = [];
    for (let at = 0; at < targets.length; at += lookupsMax) {
      await Promise.all(
        targets.slice(at, at + lookupsMax).map(async ({ host, port }) => {
          const addresses = await resolver.addresses(`${host}.`, signal);
          if (addresses === undefined) without.push(host);
          for (const address of oneAddressFamily(addresses ?? [])) peers.push({ host: address, port });
        }),
      );
    }
    const text = without.sort().join();
    if (text !== unresolved && text !== "") {
      log.warn("Discovery ignores SRV records whose targets have no address", { name, targets: without });
    }
    unresolved = text;
    return peers;
  }

  return {
    name: "dns",
    async peers(signal) {
      signal.throwIfAborted();
      const records = await resolver.services(`_e2d._tcp.${name}`, signal);
      // RFC 2782: a record with the root as its target means that the service does not exist.
      const targets = records?.filter(({ host, port }) => host !== "" && port > 0);
      if (targets !== undefined && targets.length > targetsMax) {
        throw new E2dError(
          "discovery_too_many",
          `Cannot use the SRV records of "${name}": there are ${targets.length}, the limit is ${targetsMax}`,
        );
      }
      if (targets !== undefined) return await addressesOf(targets, signal);
      const addresses = await resolver.addresses(name, signal);
      if (addresses === undefined && !missing) {
        log.warn("Discovery finds neither SRV records nor addresses", { srv: `_e2d._tcp.${name}`, name });
      }
      missing = addresses === undefined;
      return oneAddressFamily(addresses ?? []).map((host) => ({ host }));
    },
  };
}

/**
 * The IPv4 addresses, or the IPv6 addresses when there is no IPv4 address. e2d listens on one family: a node with two
 * addresses would look like two nodes, one of them silent, which blocks the bootstrap.
 */
function oneAddressFamily(addresses: readonly string[]): readonly string[] {
  const usable = addresses.filter((address) => addressKind(address) !== "unusable");
  const four = usable.filter((address) => !address.includes(":"));
  return four.length > 0 ? four : usable;
}
