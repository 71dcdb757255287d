import { type Asking, keepAsking } from "./keep_asking.ts";
import type { DiscoveryConfig, DiscoveryPorts } from "./method.ts";
import { discoveryMethod } from "./methods.ts";
import { type DiscoverySpec, parseDiscovery } from "./spec.ts";

/**
 * The one way in for whoever runs a node: loads the chosen method and asks it until the signal aborts. `spec` is what
 * `--peer-discovery` says, or the value of it. Throws E2dError `discovery_spec`, or what the method cannot start
 * without (`cloud_token`, `aws_credentials` …); whatever goes wrong later is logged and asked again.
 *
 * `asking.method` goes to `ownAddress` when `--host` is unset. A peer without a port has the gossip port of this node;
 * this node may be among the peers.
 */
export async function discover(
  spec: string | DiscoverySpec,
  config: DiscoveryConfig,
  ports: DiscoveryPorts,
  signal: AbortSignal,
): Promise<Asking> {
  const parsed = typeof spec === "string" ? parseDiscovery(spec) : spec;
  return keepAsking(await discoveryMethod(parsed, config, ports), ports, signal);
}
