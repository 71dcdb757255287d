import { AwsEc2 } from "../cloud/aws/ec2.ts";
import { E2dError } from "../errors.ts";
import { awsConfigOf } from "./aws_config.ts";
import { InstancePeers, tagsOrOwn } from "./instance_peers.ts";
import type { DiscoveryConfig, DiscoveryMethod, DiscoveryPorts } from "./method.ts";
import type { Tag } from "./spec.ts";

/**
 * Running instances with all these tags; without tags: with all tags of this instance. In a given value `*` and `?` are
 * wildcards of EC2, as in the Go original. Throws E2dError `aws_credentials` or `aws_endpoint` for an invalid
 * configuration.
 */
export function ec2Tags(tags: readonly Tag[], config: DiscoveryConfig, ports: DiscoveryPorts): DiscoveryMethod {
  const name = "ec2-tags";
  const cloud = new AwsEc2(awsConfigOf(config), { ...ports, environment: config.environment });
  const peers = new InstancePeers(name, ports.log);

  async function ownTags(signal: AbortSignal): Promise<Tag[]> {
    const { instanceId, region } = await cloud.ownInstance(signal);
    const [own] = await cloud.runningInstancesOf([instanceId], signal);
    if (own === undefined) {
      throw new E2dError(
        "aws_no_instance",
        `Cannot find the instance "${instanceId}" in "${region}": EC2 does not list it`,
        {
          hint: "check that the credentials belong to the account of the instance",
        },
      );
    }
    // The values of this instance's own tags are literal.
    return own.tags.map(({ key, value }) => ({ key, value: value.replace(/[\\*?]/g, "\\$&") }));
  }

  return {
    name,
    async peers(signal) {
      const wanted = await tagsOrOwn(name, tags, () => ownTags(signal), ["aws:"]);
      const filters = wanted.map(({ key, value }) => ({ name: `tag:${key}`, values: [value] }));
      const instances = await cloud.runningInstances(filters, signal);
      return peers.fromInstances(
        instances.map(({ id, privateAddress }) => ({ name: id, running: true, address: privateAddress })),
      );
    },
    ownAddress: async (signal) => (await cloud.ownInstance(signal)).privateAddress,
  };
}
