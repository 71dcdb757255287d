import { E2dError } from "../../errors.ts";
import { type AwsCredentials, type AwsPorts, awsRegion, type CredentialResult } from "./credential_source.ts";

/** A role assumed with the token of an identity provider, as mounted by EKS. Throws as `tokenFileCredentials`. */
export async function webIdentityCredentials(
  { sessionName }: { sessionName: string },
  ports: AwsPorts,
  signal: AbortSignal,
): Promise<CredentialResult> {
  const path = ports.environment("AWS_WEB_IDENTITY_TOKEN_FILE");
  if (!path) return { absent: "AWS_WEB_IDENTITY_TOKEN_FILE is not set" };
  const arn = ports.environment("AWS_ROLE_ARN");
  if (!arn) throw new E2dError("aws_credentials", `Cannot use the web identity "${path}": AWS_ROLE_ARN is not set`);
  return await tokenFileCredentials({ path, arn, sessionName, region: awsRegion(ports.environment) }, ports, signal);
}

/**
 * Reads the token again each time, because it is replaced long before it expires. Throws E2dError `aws_credentials`
 * without a token, and what `AwsQuery.call` throws.
 */
export async function tokenFileCredentials(
  { path, ...role }: { path: string; arn: string; sessionName: string; region: string },
  ports: AwsPorts,
  signal: AbortSignal,
): Promise<AwsCredentials> {
  const token = (await ports.files.readText(path))?.trim();
  if (!token) {
    throw new E2dError("aws_credentials", `Cannot use the web identity "${path}": the file is missing or empty`);
  }
  const { assumeRoleWithToken } = await import("./assume_role.ts");
  return await assumeRoleWithToken(role, token, ports, signal);
}
