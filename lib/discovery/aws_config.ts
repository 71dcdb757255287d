import type { AwsConfig } from "../cloud/aws_ec2.ts";
import type { DiscoveryConfig } from "./method.ts";

/** What the AWS methods take from the command line. */
export function awsConfigOf(config: DiscoveryConfig): AwsConfig {
  return {
    accessKey: config.awsAccessKey,
    secretKey: config.awsSecretKey,
    roleSessionName: config.awsRoleSessionName,
    metadataUrl: config.endpoints?.metadataUrl,
  };
}
