import type { Clock, Files, Http, Logger, Random } from "../ports.ts";

/** What signs a request to AWS. Never logged, never in an error. */
export interface AwsCredentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
  /** Milliseconds since the Unix epoch, by AWS's clock; missing: they do not end. */
  expiresAtMs?: number;
}

/**
 * Gives credentials that are good for some minutes more, from its cache or fetched afresh. `refused`: the ones AWS would
 * no longer have; they are not given again from the cache. Throws E2dError `aws_no_credentials`, `aws_credentials` for a
 * source that is there but broken, and what `exchange` throws.
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

/** What a place gave, or in a few words why it has nothing. */
export type CredentialFind = AwsCredentials | { absent: string };

/** The region that the environment names, for services that have to be asked in some region. */
export function awsRegion(environment: AwsPorts["environment"], other = "us-east-1"): string {
  return environment("AWS_REGION") || environment("AWS_DEFAULT_REGION") || other;
}
