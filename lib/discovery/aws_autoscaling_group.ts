import { AwsEc2 } from "../cloud/aws/ec2.ts";
import { awsConfigOf } from "./aws_config.ts";
import { InstancePeers } from "./instance_peers.ts";
import type { DiscoveryConfig, DiscoveryMethod, DiscoveryPorts } from "./method.ts";

/**
 * Instances in service in the Auto Scaling group of this instance. Throws E2dError `aws_credentials` or `aws_endpoint`
 * for an invalid configuration.
 */
export function awsAutoscalingGroup(config: DiscoveryConfig, ports: DiscoveryPorts): DiscoveryMethod {
  const name = "aws-autoscaling-group";
  const cloud = new AwsEc2(awsConfigOf(config), { ...ports, environment: config.environment });
  const peers = new InstancePeers(name, ports.log);
  return {
    name,
    async peers(signal) {
      const ids = await cloud.groupInService(await cloud.ownInstance(signal), signal);
      const instances = await cloud.runningInstancesOf(ids, signal);
      return peers.fromInstances(
        instances.map(({ id, privateAddress }) => ({ name: id, running: true, address: privateAddress })),
      );
    },
    ownAddress: async (signal) => (await cloud.ownInstance(signal)).privateAddress,
  };
}
