import { type AwsPorts, awsRegion } from "./credential_source.ts";
import { type AwsProfiles, parseAwsProfiles } from "./profile.ts";

/** Undefined: HOME is not set, and no variable names the file. */
export interface ProfilePaths {
  readonly credentials: string | undefined;
  readonly config: string | undefined;
}

/** The profile files of AWS's tools, and the name of the profile to use. Throws what `Files.readText` throws. */
export async function readAwsProfiles(
  { environment, files }: Pick<AwsPorts, "environment" | "files">,
): Promise<{ profiles: AwsProfiles; name: string; paths: ProfilePaths }> {
  const home = environment("HOME");
  const pathOf = (variable: string, name: string) =>
    environment(variable) || (home ? `${home}/.aws/${name}` : undefined);
  const read = async (path: string | undefined) => path === undefined ? undefined : await files.readText(path);
  const paths = {
    credentials: pathOf("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
    config: pathOf("AWS_CONFIG_FILE", "config"),
  };
  const profiles = parseAwsProfiles({ credentials: await read(paths.credentials), config: await read(paths.config) });
  return { profiles, name: environment("AWS_PROFILE") || "default", paths };
}

/** The region of the environment, else of the profile, else us-east-1. */
export async function configuredRegion(ports: Pick<AwsPorts, "environment" | "files">): Promise<string> {
  const named = awsRegion(ports.environment, "");
  if (named !== "") return named;
  const { profiles, name } = await readAwsProfiles(ports);
  return profiles.get(name)?.["region"] || awsRegion(ports.environment);
}
