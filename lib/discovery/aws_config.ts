import type { AwsConfig } from "../cloud/aws/ec2.ts";
import type { DiscoveryConfig } from "./method.ts";

/** The part of the configuration that the AWS methods use. */
export function awsConfigOf(config: DiscoveryConfig): AwsConfig {
  return {
    accessKey: config.awsAccessKey,
    secretKey: config.awsSecretKey,
    roleSessionName: config.awsRoleSessionName,
    metadataUrl: config.endpoints?.metadataUrl,
  };
}
