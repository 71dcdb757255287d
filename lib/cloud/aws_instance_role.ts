import * as v from "valibot";
import { describeError, E2dError, isE2dError } from "../errors.ts";
import type { AwsCredentials, AwsPorts, CredentialFind } from "./aws_credential_source.ts";
import type { AwsMetadata } from "./aws_metadata.ts";
import { parseServedCredentials } from "./aws_served_credentials.ts";

const path = "meta-data/iam/security-credentials/";
/** As long as the original's, and the least STS takes: a session for one name is cheap to begin anew. */
const sessionDurationS = "900";

/**
 * The role of the EC2 instance. With a `sessionName` that role is assumed once more under the name, as the original did;
 * where the role may not do that, its own credentials serve and a warning says what to allow. Throws what `AwsMetadata.get`
 * and the calls to IAM and STS throw.
 */
export async function instanceRoleCredentials(
  metadata: AwsMetadata,
  { sessionName }: { sessionName: string | undefined },
  ports: AwsPorts,
  signal: AbortSignal,
): Promise<CredentialFind> {
  let name: string | undefined;
  try {
    name = (await metadata.get(path, signal))?.split("\n")[0]?.trim();
  } catch (error) {
    if (isE2dError(error, "no_metadata_service")) return { absent: error.message };
    throw error;
  }
  if (!name) return { absent: "the instance has no role" };
  const text = await metadata.get(`${path}${encodeURIComponent(name)}`, signal);
  if (text === undefined) return { absent: "the role was just taken from the instance" };
  const own = parseServedCredentials(text, "the metadata service of EC2");
  if (!sessionName) return own;
  try {
    return await sessionOf(own, sessionName, metadata, ports, signal);
  } catch (error) {
    if (!isE2dError(error, "cloud_forbidden")) throw error;
    ports.log.warn("The role of the instance cannot be assumed under a name of its own: it is used without", {
      role: name,
      error: describeError(error),
    });
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
      "Cannot learn the instance profile: the answer of the metadata service is garbled",
    );
  }
  const { region } = await metadata.instance(signal);
  const { assumeRole, roleOfInstanceProfile } = await import("./aws_assume_role.ts");
  const source = () => Promise.resolve(own);
  const arn = await roleOfInstanceProfile({ name: profile[1]!, region }, source, ports, signal);
  return await assumeRole({ arn, sessionName, region, durationS: sessionDurationS }, source, ports, signal);
}
