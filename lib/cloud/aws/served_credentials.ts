import * as v from "valibot";
import { E2dError } from "../../errors.ts";
import type { AwsCredentials } from "./credential_source.ts";

const schema = v.pipe(
  v.string(),
  v.parseJson(),
  v.object({
    AccessKeyId: v.pipe(v.string(), v.minLength(1)),
    SecretAccessKey: v.pipe(v.string(), v.minLength(1)),
    Token: v.nullish(v.string()),
    Expiration: v.nullish(v.pipe(v.string(), v.isoTimestamp())),
  }),
);

/** Parses the credentials of the container and instance credential services. Throws E2dError `cloud_answer`. */
export function parseServedCredentials(text: string, source: string): AwsCredentials {
  const parsed = v.safeParse(schema, text);
  if (!parsed.success) {
    throw new E2dError("cloud_answer", `Cannot read the credentials of ${source}: they are truncated or malformed`);
  }
  const { AccessKeyId, SecretAccessKey, Token, Expiration } = parsed.output;
  return {
    accessKeyId: AccessKeyId,
    secretAccessKey: SecretAccessKey,
    ...Token ? { sessionToken: Token } : {},
    ...Expiration ? { expiresAtMs: Date.parse(Expiration) } : {},
  };
}
