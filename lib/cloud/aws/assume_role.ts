/** Temporary credentials of AWS roles, from STS. Loaded only when a role is assumed. */
import * as v from "valibot";
import { E2dError } from "../../errors.ts";
import type { AwsCredentials, AwsCredentialSource, AwsPorts } from "./credential_source.ts";
import { AwsQuery } from "./query.ts";
import { xmlList } from "./xml.ts";

export interface AssumedRole {
  arn: string;
  /** The name of the session in AWS's audit logs. */
  sessionName: string;
  region: string;
  externalId?: string | undefined;
  /** Seconds, at least 900. Absent: the default of STS, one hour. */
  durationS?: string | undefined;
}

const credentialsSchema = v.object({
  Credentials: v.object({
    AccessKeyId: v.string(),
    SecretAccessKey: v.string(),
    SessionToken: v.string(),
    Expiration: v.string(),
  }),
});

/** Throws what `AwsQuery.call` throws. */
export async function assumeRole(
  role: AssumedRole,
  credentials: AwsCredentialSource,
  ports: AwsPorts,
  signal: AbortSignal,
): Promise<AwsCredentials> {
  const query = new AwsQuery({ service: "sts", region: role.region, credentials }, ports);
  const parameters = {
    ...parametersOf(role),
    ...role.externalId === undefined ? {} : { ExternalId: role.externalId },
  };
  const schema = v.object({ AssumeRoleResult: credentialsSchema });
  const answer = await query.call({ action: "AssumeRole", parameters, schema }, signal);
  return credentialsOf(answer.AssumeRoleResult);
}

/** Uses the token of an identity provider instead of credentials, as on EKS. Throws what `AwsQuery.call` throws. */
export async function assumeRoleWithToken(
  role: AssumedRole,
  token: string,
  ports: AwsPorts,
  signal: AbortSignal,
): Promise<AwsCredentials> {
  const query = new AwsQuery({ service: "sts", region: role.region, credentials: undefined }, ports);
  const parameters = { ...parametersOf(role), WebIdentityToken: token };
  const schema = v.object({ AssumeRoleWithWebIdentityResult: credentialsSchema });
  const answer = await query.call({ action: "AssumeRoleWithWebIdentity", parameters, schema }, signal);
  return credentialsOf(answer.AssumeRoleWithWebIdentityResult);
}

/** The ARN of the role of an instance profile, with its path, which the metadata service does not provide. */
export async function roleOfInstanceProfile(
  { name, region }: { name: string; region: string },
  credentials: AwsCredentialSource,
  ports: AwsPorts,
  signal: AbortSignal,
): Promise<string> {
  const query = new AwsQuery({ service: "iam", region, credentials }, ports);
  const schema = v.object({
    GetInstanceProfileResult: v.object({
      InstanceProfile: v.object({ Roles: xmlList("member", v.object({ Arn: v.string() })) }),
    }),
  });
  const parameters = { InstanceProfileName: name };
  const answer = await query.call({ action: "GetInstanceProfile", parameters, schema }, signal);
  const [role] = answer.GetInstanceProfileResult.InstanceProfile.Roles;
  if (role === undefined) {
    throw new E2dError("aws_credentials", `Cannot assume the role of the instance profile "${name}": it has no role`);
  }
  return role.Arn;
}

function parametersOf({ arn, sessionName, durationS }: AssumedRole): Record<string, string> {
  return {
    RoleArn: arn,
    RoleSessionName: sessionName,
    ...durationS === undefined ? {} : { DurationSeconds: durationS },
  };
}

function credentialsOf({ Credentials }: v.InferOutput<typeof credentialsSchema>): AwsCredentials {
  const expiresAtMs = Date.parse(Credentials.Expiration);
  return {
    accessKeyId: Credentials.AccessKeyId,
    secretAccessKey: Credentials.SecretAccessKey,
    sessionToken: Credentials.SessionToken,
    ...Number.isNaN(expiresAtMs) ? {} : { expiresAtMs },
  };
}
