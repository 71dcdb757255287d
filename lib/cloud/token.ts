import { E2dError } from "../errors.ts";

/** A token as a header can carry it. Throws E2dError `cloud_token` without repeating it. */
export function parseToken(text: string | undefined, { cloud, source }: { cloud: string; source: string }): string {
  const token = (text ?? "").trim();
  if (token === "") {
    throw new E2dError("cloud_token", `Cannot ask ${cloud}: the access token is missing`, { hint: `set ${source}` });
  }
  if (!/^[\x21-\x7e]{1,4096}$/.test(token)) {
    throw new E2dError("cloud_token", `Cannot ask ${cloud}: the access token has spaces or letters no token has`, {
      hint: `check ${source}`,
    });
  }
  return token;
}
