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
