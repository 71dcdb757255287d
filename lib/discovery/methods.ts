import type { DiscoveryConfig, DiscoveryMethod, DiscoveryPorts } from "./method.ts";
import type { DiscoverySpec } from "./spec.ts";

/**
 * Loads the method of a specification; loads no other method and sends no request. Throws E2dError for a configuration
 * that the method cannot use: `cloud_token`, `aws_credentials`, `k8s_outside` and others.
 */
export async function discoveryMethod(
  spec: DiscoverySpec,
  config: DiscoveryConfig,
  ports: DiscoveryPorts,
): Promise<DiscoveryMethod> {
  switch (spec.method) {
    case "aws-autoscaling-group":
      return (await import("./aws_autoscaling_group.ts")).awsAutoscalingGroup(config, ports);
    case "ec2-tags":
      return (await import("./ec2_tags.ts")).ec2Tags(spec.tags, config, ports);
    case "do-tags":
      return (await import("./do_tags.ts")).doTags(spec.tags, config, ports);
    case "k8s-labels":
      return (await import("./k8s_labels.ts")).k8sLabels(spec.tags, config, ports);
    case "gce-labels":
      return (await import("./gce_labels.ts")).gceLabels(spec.tags, config, ports);
    case "azure-tags":
      return (await import("./azure_tags.ts")).azureTags(spec.tags, config, ports);
    case "hetzner-labels":
      return (await import("./hetzner_labels.ts")).hetznerLabels(spec.tags, config, ports);
    case "dns":
      return (await import("./dns.ts")).dnsName(spec.name, ports);
    case "file":
      return (await import("./file.ts")).peersFile(spec.path, ports);
    case "exec":
      return (await import("./exec.ts")).execCommand(spec.command, ports);
    default:
      return spec satisfies never;
  }
}
