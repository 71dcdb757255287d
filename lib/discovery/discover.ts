import { type DiscoveryPoll, pollDiscovery } from "./poll.ts";
import type { DiscoveryConfig, DiscoveryPorts } from "./method.ts";
import { discoveryMethod } from "./methods.ts";
import { type DiscoverySpec, parseDiscovery } from "./spec.ts";

/**
 * The entry point of discovery: loads the chosen method and polls it until the signal aborts. `spec` is the text of
 * `--peer-discovery` or its parsed value. Throws E2dError `discovery_spec`, or an error of the method's configuration
 * (`cloud_token`, `aws_credentials` …). Later failures are logged and tried again.
 *
 * `method` of the result goes to `ownAddress` when `--host` is unset. A peer without a port has the gossip port of this
 * node. This node may be among the peers.
 */
export async function discover(
  spec: string | DiscoverySpec,
  config: DiscoveryConfig,
  ports: DiscoveryPorts,
  signal: AbortSignal,
): Promise<DiscoveryPoll> {
  const parsed = typeof spec === "string" ? parseDiscovery(spec) : spec;
  return pollDiscovery(await discoveryMethod(parsed, config, ports), ports, signal);
}
