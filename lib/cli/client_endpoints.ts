/** The client URLs that a command connects to, and the check that they match the given certificates. */
import { describeError, isE2dError } from "../errors.ts";
import { checkClientTlsPaths } from "../pki/tls_set.ts";

type ClientTlsPaths = Parameters<typeof checkClientTlsPaths>[0];

/** Default: the member on this machine, with https if certificates are given. Throws E2dError `tls_incomplete`. */
export function clientEndpoints(endpoints: readonly string[] | undefined, paths: ClientTlsPaths): readonly string[] {
  if (endpoints !== undefined && endpoints.length > 0) return endpoints;
  return [`${checkClientTlsPaths(paths).kind === "plain" ? "http" : "https"}://127.0.0.1:2379`];
}

/** One sentence per problem: incomplete certificates, or a URL whose scheme does not match them. */
export function endpointProblems(endpoints: readonly string[], paths: ClientTlsPaths): string[] {
  let plain: boolean;
  try {
    plain = checkClientTlsPaths(paths).kind === "plain";
  } catch (error) {
    if (!isE2dError(error)) throw error;
    return [describeError(error)];
  }
  return endpoints.flatMap((url) => {
    const flag = `--endpoints ${JSON.stringify(url)}`;
    if (plain && url.startsWith("https://")) return [`${flag}: https needs --ca-cert, --client-cert and --client-key`];
    if (!plain && url.startsWith("http://")) {
      return [`${flag}: certificates are given, but http does not use them: pass an https URL`];
    }
    return [];
  });
}
