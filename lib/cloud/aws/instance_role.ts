import * as v from "valibot";
import { describeError, E2dError, isE2dError } from "../../errors.ts";
import type { AwsCredentials, AwsPorts, CredentialResult } from "./credential_source.ts";
import type { AwsMetadata } from "./metadata.ts";
import { parseServedCredentials } from "./served_credentials.ts";

const path = "meta-data/iam/security-credentials/";
/** The same as the Go original's, and the minimum of STS: a new session is cheap. */
const sessionDurationS = "900";

/**
 * Credentials of the EC2 instance's role. With a `sessionName` the role is assumed again under that name, as in the Go
 * original; when the role may not do that, its own credentials are used and a warning names the missing permission.
 * Throws what `AwsMetadata.get` and the calls to IAM and STS throw.
 */
export async function instanceRoleCredentials(
  metadata: AwsMetadata,
  { sessionName }: { sessionName: string | undefined },
  ports: AwsPorts,
  signal: AbortSignal,
): Promise<CredentialResult> {
  let name: string | undefined;
  try {
    name = (await metadata.get(path, signal))?.split("\n")[0]?.trim();
  } catch (error) {
    if (isE2dError(error, "no_metadata_service")) return { absent: error.message };
    throw error;
  }
  if (!name) return { absent: "the instance has no role" };
  const text = await metadata.get(`${path}${encodeURIComponent(name)}`, signal);
  if (text === undefined) return { absent: "the role was just detached from the instance" };
  const own = parseServedCredentials(text, "the metadata service of EC2");
  if (!sessionName) return own;
  try {
    return await sessionOf(own, sessionName, metadata, ports, signal);
  } catch (error) {
    if (!isE2dError(error, "cloud_forbidden")) throw error;
    ports.log.warn(
      "Cannot assume the instance's role with --aws-role-session-name: using the role without a session name",
      {
        role: name,
        error: describeError(error),
      },
    );
    return own;
  }
}

async function sessionOf(
  own: AwsCredentials,
  sessionName: string,
  metadata: AwsMetadata,
  ports: AwsPorts,
  signal: AbortSignal,
): Promise<AwsCredentials> {
  const info = await metadata.get("meta-data/iam/info", signal);
  const schema = v.pipe(v.string(), v.parseJson(), v.object({ InstanceProfileArn: v.string() }));
  const parsed = v.safeParse(schema, info);
  const profile = parsed.success ? /:instance-profile\/(?:.*\/)?([^/]+)$/.exec(parsed.output.InstanceProfileArn) : null;
  if (profile === null) {
    throw new E2dError(
      "cloud_answer",
      "Cannot read the instance profile: the response of the metadata service is malformed",
    );
  }
  const { region } = await metadata.instance(signal);
  const { assumeRole, roleOfInstanceProfile } = await import("./assume_role.ts");
  const source = () => Promise.resolve(own);
  const arn = await roleOfInstanceProfile({ name: profile[1]!, region }, source, ports, signal);
  return await assumeRole({ arn, sessionName, region, durationS: sessionDurationS }, source, ports, signal);
}
