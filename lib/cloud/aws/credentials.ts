/**
 * AWS credentials from the first source that has them: flags, environment, web identity, profile files, container,
 * instance role. An empty source is skipped and named in the final error. An invalid source ends the search, because the
 * next source may belong to another identity.
 */
import { E2dError, isE2dError } from "../../errors.ts";
import { containerCredentials } from "./container_credentials.ts";
import type { AwsCredentials, AwsCredentialSource, AwsPorts, CredentialResult } from "./credential_source.ts";
import { instanceRoleCredentials } from "./instance_role.ts";
import { AwsMetadata } from "./metadata.ts";
import { cachedCredentials } from "./cached_credentials.ts";
import { profileCredentials } from "./profile_credentials.ts";
import { ThrottledError } from "../throttled_error.ts";
import { webIdentityCredentials } from "./web_identity.ts";
import { withDeadline } from "../with_deadline.ts";

export type { AwsCredentials, AwsCredentialSource, AwsPorts } from "./credential_source.ts";

export interface AwsCredentialConfig {
  /** `--aws-access-key` and `--aws-secret-key`: both or none. */
  readonly accessKey?: string | undefined;
  readonly secretKey?: string | undefined;
  /** `--aws-role-session-name`: the session name of an assumed role; the instance's role is assumed with it too. */
  readonly roleSessionName?: string | undefined;
  /** The URL of the metadata service. Default: AWS's documented address. */
  readonly metadataUrl?: string | undefined;
}

const searchMaxMs = 60_000;
const sessionNameDefault = "e2d";

/** Sends no request before the first call. Throws E2dError `aws_credentials` for an incomplete key or an invalid name. */
export function awsCredentials(config: AwsCredentialConfig, ports: AwsPorts): AwsCredentialSource {
  const { accessKey, secretKey, roleSessionName } = config;
  if (!accessKey !== !secretKey) {
    const missing = accessKey ? "--aws-secret-key" : "--aws-access-key";
    throw new E2dError("aws_credentials", `Cannot use the AWS key of the flags: ${missing} is missing`, {
      hint: "pass --aws-access-key and --aws-secret-key, or neither",
    });
  }
  if (roleSessionName && !/^[\w+=,.@-]{2,64}$/.test(roleSessionName)) {
    throw new E2dError(
      "aws_credentials",
      `Cannot use --aws-role-session-name "${roleSessionName}": it is not a valid session name`,
      {
        hint: "use 2 to 64 letters, digits and + = , . @ - _",
      },
    );
  }
  const search = new CredentialSearch(config, ports);
  const timeoutError = () =>
    new E2dError("aws_credentials", `Cannot find AWS credentials: the search took longer than ${searchMaxMs} ms`);
  return cachedCredentials(
    (signal) =>
      withDeadline(
        { ms: searchMaxMs, clock: ports.clock, signal, timeoutError },
        (limited) => search.run(limited),
      ),
    ports,
  );
}

class CredentialSearch {
  readonly #config: AwsCredentialConfig;
  readonly #ports: AwsPorts;
  readonly #metadata: AwsMetadata;

  constructor(config: AwsCredentialConfig, ports: AwsPorts) {
    this.#config = config;
    this.#ports = ports;
    this.#metadata = new AwsMetadata(config.metadataUrl, ports);
  }

  async run(signal: AbortSignal): Promise<AwsCredentials> {
    const instance = () =>
      instanceRoleCredentials(this.#metadata, { sessionName: this.#config.roleSessionName }, this.#ports, signal);
    const container = () => containerCredentials(this.#ports, signal);
    const environment = () => environmentCredentials(this.#ports.environment);
    const sessionName = this.#config.roleSessionName || this.#ports.environment("AWS_ROLE_SESSION_NAME") ||
      sessionNameDefault;
    const sources: readonly [string, () => Promise<CredentialResult> | CredentialResult][] = [
      ["flags", () => this.#flags()],
      ["environment", environment],
      ["web identity", () => webIdentityCredentials({ sessionName }, this.#ports, signal)],
      ["profile", () =>
        profileCredentials(
          {
            sessionName,
            sources: { Environment: environment, EcsContainer: container, Ec2InstanceMetadata: instance },
          },
          this.#ports,
          signal,
        )],
      ["container", container],
      ["instance role", instance],
    ];
    const tried: string[] = [];
    for (const [place, ask] of sources) {
      const found = await this.#read(place, ask, signal);
      if (!("absent" in found)) return found;
      tried.push(`${place}: ${found.absent}`);
    }
    throw new E2dError("aws_no_credentials", `Cannot find AWS credentials: ${tried.join("; ")}`, {
      hint:
        "set E2D_AWS_ACCESS_KEY and E2D_AWS_SECRET_KEY, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or attach " +
        "a role to the instance",
    });
  }

  async #read(
    place: string,
    ask: () => Promise<CredentialResult> | CredentialResult,
    signal: AbortSignal,
  ): Promise<CredentialResult> {
    try {
      return await ask();
    } catch (error) {
      signal.throwIfAborted();
      if (!isE2dError(error) || error.code === "aws_credentials" || error instanceof ThrottledError) throw error;
      // The code stays, so that the caller can recognise a transient failure.
      throw new E2dError(error.code, `Cannot get AWS credentials from "${place}": ${error.message}`, {
        ...error.hint === undefined ? {} : { hint: error.hint },
        cause: error,
      });
    }
  }

  #flags(): CredentialResult {
    const { accessKey, secretKey } = this.#config;
    if (!accessKey || !secretKey) return { absent: "--aws-access-key is not given" };
    return { accessKeyId: accessKey, secretAccessKey: secretKey };
  }
}

function environmentCredentials(environment: AwsPorts["environment"]): CredentialResult {
  const accessKeyId = environment("AWS_ACCESS_KEY_ID");
  const secretAccessKey = environment("AWS_SECRET_ACCESS_KEY");
  if (!accessKeyId && !secretAccessKey) return { absent: "AWS_ACCESS_KEY_ID is not set" };
  if (!accessKeyId || !secretAccessKey) {
    const missing = accessKeyId ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID";
    throw new E2dError("aws_credentials", `Cannot use the AWS key in the environment: ${missing} is not set`);
  }
  const sessionToken = environment("AWS_SESSION_TOKEN");
  return { accessKeyId, secretAccessKey, ...sessionToken ? { sessionToken } : {} };
}
