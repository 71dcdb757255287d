import { E2dError } from "../../errors.ts";
import { type AwsCredentials, type AwsPorts, awsRegion, type CredentialResult } from "./credential_source.ts";
import type { AwsProfiles } from "./profile.ts";
import { type ProfilePaths, readAwsProfiles } from "./profile_files.ts";
import { tokenFileCredentials } from "./web_identity.ts";

/** The sources that a profile's `credential_source` can name. */
export type CredentialSources = Readonly<
  Record<"Environment" | "EcsContainer" | "Ec2InstanceMetadata", () => Promise<CredentialResult> | CredentialResult>
>;

/** Settings of profiles whose credentials the AWS SDK obtains. */
const sdkSettings = ["sso_session", "sso_start_url", "credential_process"];

interface ProfileLookup {
  readonly profiles: AwsProfiles;
  readonly paths: ProfilePaths;
  /** The session name for profiles without `role_session_name`. */
  readonly sessionName: string;
  readonly sources: CredentialSources;
  readonly ports: AwsPorts;
  readonly signal: AbortSignal;
}

/**
 * Credentials of the profile AWS_PROFILE (default: `default`) in AWS's shared files: keys, or a role to assume. Throws
 * E2dError `aws_credentials` for a named profile that does not exist, and for settings that e2d does not support.
 */
export async function profileCredentials(
  { sessionName, sources }: { sessionName: string; sources: CredentialSources },
  ports: AwsPorts,
  signal: AbortSignal,
): Promise<CredentialResult> {
  const { profiles, name, paths } = await readAwsProfiles(ports);
  const filesText = [paths.credentials, paths.config].map((path) => `"${path ?? "~/.aws"}"`).join(" and ");
  const named = ports.environment("AWS_PROFILE");
  if (profiles.get(name) === undefined) {
    if (named) throw profileError(name, `it is neither in ${filesText}`.replace(" and ", " nor in "));
    return { absent: `there is no profile in ${filesText}` };
  }
  return await resolveProfile(name, { profiles, paths, sessionName, sources, ports, signal }, []);
}

async function resolveProfile(
  name: string,
  asking: ProfileLookup,
  through: readonly string[],
): Promise<CredentialResult> {
  const { profiles, ports, signal } = asking;
  const settings = profiles.get(name);
  if (settings === undefined) throw profileError(through.at(-1)!, `its source_profile "${name}" does not exist`);
  const { role_arn: arn, source_profile: source, credential_source: place } = settings;
  // A profile with keys may be its own source_profile.
  const keys = profileKeys(name, settings);
  if (arn === undefined || through.at(-1) === name) {
    if (keys !== undefined) return keys;
    if (sdkSettings.some((setting) => settings[setting] !== undefined)) {
      const { sdkProfileCredentials } = await import("./sdk_profile.ts");
      return await sdkProfileCredentials(name, asking.paths, ports);
    }
    if (through.length > 0) throw profileError(name, "it has no keys");
    return { absent: `the profile "${name}" has no keys and no role` };
  }
  if (through.includes(name)) throw profileError(name, "its source_profile settings form a circle");
  if (settings.mfa_serial !== undefined) throw profileError(name, `e2d does not support "mfa_serial"`);
  const role = {
    arn,
    sessionName: settings.role_session_name ?? asking.sessionName,
    region: awsRegion(ports.environment, settings.region),
    externalId: settings.external_id,
    durationS: settings.duration_seconds,
  };
  if (settings.web_identity_token_file !== undefined) {
    return await tokenFileCredentials({ path: settings.web_identity_token_file, ...role }, ports, signal);
  }
  const base = await sourceCredentials(name, { source, place }, asking, through);
  const { assumeRole } = await import("./assume_role.ts");
  return await assumeRole(role, () => Promise.resolve(base), ports, signal);
}

async function sourceCredentials(
  name: string,
  { source, place }: { source: string | undefined; place: string | undefined },
  asking: ProfileLookup,
  through: readonly string[],
): Promise<AwsCredentials> {
  if ((source === undefined) === (place === undefined)) {
    throw profileError(name, `its role_arn needs one of source_profile and credential_source`);
  }
  let base: CredentialResult;
  if (source !== undefined) base = await resolveProfile(source, asking, [...through, name]);
  else if (place === "Environment" || place === "EcsContainer" || place === "Ec2InstanceMetadata") {
    base = await asking.sources[place]();
  } else throw profileError(name, `its credential_source "${place}" is unknown`);
  if ("absent" in base) {
    throw profileError(name, `its credential source "${place ?? source}" has no credentials: ${base.absent}`);
  }
  return base;
}

function profileKeys(name: string, settings: Readonly<Record<string, string>>): AwsCredentials | undefined {
  const { aws_access_key_id: accessKeyId, aws_secret_access_key: secretAccessKey } = settings;
  if (!accessKeyId && !secretAccessKey) return undefined;
  if (!accessKeyId || !secretAccessKey) {
    throw profileError(name, "it has only one of aws_access_key_id and aws_secret_access_key");
  }
  const { aws_session_token: sessionToken } = settings;
  return { accessKeyId, secretAccessKey, ...sessionToken ? { sessionToken } : {} };
}

function profileError(name: string, state: string): E2dError {
  return new E2dError("aws_credentials", `Cannot use the AWS profile "${name}": ${state}`, {
    hint: "check AWS_PROFILE and the files under ~/.aws",
  });
}
