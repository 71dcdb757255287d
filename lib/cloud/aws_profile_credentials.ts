import { E2dError } from "../errors.ts";
import { type AwsCredentials, type AwsPorts, awsRegion, type CredentialFind } from "./aws_credential_source.ts";
import { type AwsProfiles, parseAwsProfiles } from "./aws_profile.ts";
import { tokenFileCredentials } from "./aws_web_identity.ts";

/** Where a profile's `credential_source` may send to. */
export type CredentialPlaces = Readonly<
  Record<"Environment" | "EcsContainer" | "Ec2InstanceMetadata", () => Promise<CredentialFind> | CredentialFind>
>;

interface Asking {
  readonly profiles: AwsProfiles;
  /** Of sessions whose profile names none. */
  readonly sessionName: string;
  readonly sources: CredentialPlaces;
  readonly ports: AwsPorts;
  readonly signal: AbortSignal;
}

/**
 * Keys, or a role to assume, of the profile AWS_PROFILE (else `default`) in AWS's shared files. Throws E2dError
 * `aws_credentials` for a profile that was named and is not there, or that says what e2d cannot do.
 */
export async function profileCredentials(
  { sessionName, sources }: { sessionName: string; sources: CredentialPlaces },
  ports: AwsPorts,
  signal: AbortSignal,
): Promise<CredentialFind> {
  const { environment, files } = ports;
  const home = environment("HOME");
  const pathOf = (variable: string, name: string) =>
    environment(variable) || (home ? `${home}/.aws/${name}` : undefined);
  const read = async (path: string | undefined) => path === undefined ? undefined : await files.readText(path);
  const paths = [
    pathOf("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
    pathOf("AWS_CONFIG_FILE", "config"),
  ] as const;
  const [credentials, config] = [await read(paths[0]), await read(paths[1])];
  const where = paths.map((path) => `"${path ?? "~/.aws"}"`).join(" and ");
  const named = environment("AWS_PROFILE");
  const name = named || "default";
  const profiles = parseAwsProfiles({ credentials, config });
  if (profiles.get(name) === undefined) {
    if (named) throw broken(name, `it is neither in ${where}`.replace(" and ", " nor in "));
    return { absent: `there is no profile in ${where}` };
  }
  return await ofProfile(name, { profiles, sessionName, sources, ports, signal }, []);
}

async function ofProfile(name: string, asking: Asking, through: readonly string[]): Promise<CredentialFind> {
  const { profiles, ports, signal } = asking;
  const settings = profiles.get(name);
  if (settings === undefined) throw broken(through.at(-1)!, `its source_profile "${name}" does not exist`);
  const { role_arn: arn, source_profile: source, credential_source: place } = settings;
  // A profile may be its own source when it has keys, too.
  const keys = keysOf(name, settings);
  if (arn === undefined || through.at(-1) === name) {
    if (keys !== undefined) return keys;
    for (const other of ["sso_session", "sso_start_url", "credential_process"]) {
      if (settings[other] !== undefined) throw broken(name, `e2d does not know "${other}"`);
    }
    if (through.length > 0) throw broken(name, "it has no keys");
    return { absent: `the profile "${name}" has no keys and no role` };
  }
  if (through.includes(name)) throw broken(name, `its source_profile leads back to it`);
  if (settings.mfa_serial !== undefined) throw broken(name, `nobody is there to enter the code for "mfa_serial"`);
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
  const base = await baseOf(name, { source, place }, asking, through);
  const { assumeRole } = await import("./aws_assume_role.ts");
  return await assumeRole(role, () => Promise.resolve(base), ports, signal);
}

async function baseOf(
  name: string,
  { source, place }: { source: string | undefined; place: string | undefined },
  asking: Asking,
  through: readonly string[],
): Promise<AwsCredentials> {
  if ((source === undefined) === (place === undefined)) {
    throw broken(name, `its role_arn needs one of source_profile and credential_source`);
  }
  let base: CredentialFind;
  if (source !== undefined) base = await ofProfile(source, asking, [...through, name]);
  else if (place === "Environment" || place === "EcsContainer" || place === "Ec2InstanceMetadata") {
    base = await asking.sources[place]();
  } else throw broken(name, `there is no credential_source "${place}"`);
  if ("absent" in base) throw broken(name, `its credential_source "${place ?? source}" has none: ${base.absent}`);
  return base;
}

function keysOf(name: string, settings: Readonly<Record<string, string>>): AwsCredentials | undefined {
  const { aws_access_key_id: accessKeyId, aws_secret_access_key: secretAccessKey } = settings;
  if (!accessKeyId && !secretAccessKey) return undefined;
  if (!accessKeyId || !secretAccessKey) throw broken(name, "it has half of a key pair");
  const { aws_session_token: sessionToken } = settings;
  return { accessKeyId, secretAccessKey, ...sessionToken ? { sessionToken } : {} };
}

function broken(name: string, state: string): E2dError {
  return new E2dError("aws_credentials", `Cannot use the AWS profile "${name}": ${state}`, {
    hint: "check AWS_PROFILE and the files under ~/.aws",
  });
}
