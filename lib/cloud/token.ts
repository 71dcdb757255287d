import { E2dError } from "../errors.ts";

/** Validates a token for use in a header. Throws E2dError `cloud_token`, which does not contain the token. */
export function parseToken(text: string | undefined, { cloud, source }: { cloud: string; source: string }): string {
  const token = (text ?? "").trim();
  if (token === "") {
    throw new E2dError("cloud_token", `Cannot use the API of ${cloud}: the access token is missing`, {
      hint: `set ${source}`,
    });
  }
  if (!/^[\x21-\x7e]{1,4096}$/.test(token)) {
    throw new E2dError(
      "cloud_token",
      `Cannot use the API of ${cloud}: the access token has characters that no token has`,
      {
        hint: `check ${source}`,
      },
    );
  }
  return token;
}
