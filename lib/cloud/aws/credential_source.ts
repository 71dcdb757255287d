import type { Clock, Files, Http, Logger, Random } from "../../ports.ts";

/** Credentials that sign requests to AWS. Must never appear in a log line or an error. */
export interface AwsCredentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
  /** Milliseconds since the Unix epoch, by AWS's clock; absent: they do not expire. */
  expiresAtMs?: number;
}

/**
 * Returns credentials that are valid for some more minutes, cached or fetched. `refused`: credentials that AWS refused;
 * the cache does not return them again. Throws E2dError `aws_no_credentials`, `aws_credentials` for a source that exists
 * but is invalid, and what `exchange` throws.
 */
export type AwsCredentialSource = (signal?: AbortSignal, refused?: AwsCredentials) => Promise<AwsCredentials>;

export interface AwsPorts {
  readonly http: Http;
  readonly clock: Clock;
  readonly random: Random;
  readonly files: Files;
  readonly log: Logger;
  readonly environment: (name: string) => string | undefined;
}

/** The credentials of a source, or the reason why it has none. */
export type CredentialResult = AwsCredentials | { absent: string };

/** The region from AWS_REGION or AWS_DEFAULT_REGION, else `other`. */
export function awsRegion(environment: AwsPorts["environment"], other = "us-east-1"): string {
  return environment("AWS_REGION") || environment("AWS_DEFAULT_REGION") || other;
}
