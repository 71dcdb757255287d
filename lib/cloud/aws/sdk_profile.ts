/** Profiles of single sign-on and of a credential process. Loaded only for such a profile: the AWS SDK is large. */
import { withoutUndefined } from "../../without_undefined.ts";
import { fromIni } from "@aws-sdk/credential-provider-ini";
import { FetchHttpHandler } from "@smithy/fetch-http-handler";
import { E2dError, wordsOf } from "../../errors.ts";
import type { AwsCredentials, AwsPorts } from "./credential_source.ts";
import type { ProfilePaths } from "./profile_files.ts";

/** Throws E2dError `aws_credentials`. */
export async function sdkProfileCredentials(
  profile: string,
  paths: ProfilePaths,
  { http }: Pick<AwsPorts, "http">,
): Promise<AwsCredentials> {
  const requestHandler = new FetchHttpHandler({
    customFetch: async (input) => {
      const { url, method, headers, signal, body } = new Request(input);
      return await http(url, { method, headers, signal, ...(body && { body: await new Response(body).bytes() }) });
    },
  });
  try {
    const { accessKeyId, secretAccessKey, sessionToken, expiration } = await fromIni({
      profile,
      ignoreCache: true,
      clientConfig: { requestHandler },
      ...withoutUndefined({ filepath: paths.credentials }),
      ...withoutUndefined({ configFilepath: paths.config }),
    })();
    return {
      accessKeyId,
      secretAccessKey,
      ...withoutUndefined({ sessionToken }),
      ...(expiration === undefined ? {} : { expiresAtMs: expiration.getTime() }),
    };
  } catch (error) {
    const [state] = wordsOf(error).text.split("\n");
    throw new E2dError("aws_credentials", `Cannot use the AWS profile "${profile}": ${state}`, {
      hint: `run aws sso login --profile ${profile}, or the profile's credential_process by hand`,
    });
  }
}
