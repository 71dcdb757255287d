/** The addresses that a node publishes, derived from its configuration. */
import { E2dError } from "../errors.ts";
import type { HostPort } from "../ports.ts";
import type { NodeConfig } from "./node_config.ts";

export interface NodeAddresses {
  readonly client: HostPort;
  readonly peer: HostPort;
  readonly gossip: HostPort;
}

/** Hosts that mean "any address of this machine": peers cannot connect to them. */
const unspecified = new Set(["", "0.0.0.0", "::"]);

/** True when at least one address has no host of its own and takes `--host`. */
export function needsHost({ clientAddr, peerAddr, gossipAddr }: NodeConfig): boolean {
  return [clientAddr, peerAddr, gossipAddr].some(({ host }) => unspecified.has(host));
}

/**
 * Replaces unspecified hosts by `host`, as the Go original does. Throws E2dError `address_twice` when two services have the
 * same host and port.
 */
export function nodeAddresses(config: NodeConfig, host: string): NodeAddresses {
  const own = (address: HostPort) => unspecified.has(address.host) ? { ...address, host } : address;
  const addresses = { client: own(config.clientAddr), peer: own(config.peerAddr), gossip: own(config.gossipAddr) };
  const names = Object.entries(addresses) as [keyof NodeAddresses, HostPort][];
  for (const [at, [name, address]] of names.entries()) {
    // Gossip listens on UDP and on TCP, so a port of its own is needed for each.
    const twin = names.slice(at + 1).find(([, { host, port }]) => host === address.host && port === address.port);
    if (twin === undefined) continue;
    throw new E2dError("address_twice", `Cannot use ${hostText(address)} twice: --${name}-addr and --${twin[0]}-addr`, {
      hint: "give each its own port; the usual ones are 2379, 2380 and 7980",
    });
  }
  return addresses;
}

/** "10.0.0.1:2379", "[::1]:2379" */
export function hostText({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** True for hosts that only this machine can reach. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}
