/** The client URLs that a command asks, and whether they fit the certificates it is given. */
import { describeError, isE2dError } from "../errors.ts";
import { checkClientTlsPaths } from "../pki/tls_set.ts";

type ClientTlsPaths = Parameters<typeof checkClientTlsPaths>[0];

/** Without a choice the member on this machine. Throws E2dError `tls_incomplete`. */
export function clientEndpoints(endpoints: readonly string[] | undefined, paths: ClientTlsPaths): readonly string[] {
  if (endpoints !== undefined && endpoints.length > 0) return endpoints;
  return [`${checkClientTlsPaths(paths).kind === "plain" ? "http" : "https"}://127.0.0.1:2379`];
}

/** Sentences on certificates that are incomplete, and on URLs that do not fit them. */
export function endpointProblems(endpoints: readonly string[], paths: ClientTlsPaths): string[] {
  let plain: boolean;
  try {
    plain = checkClientTlsPaths(paths).kind === "plain";
  } catch (error) {
    if (!isE2dError(error)) throw error;
    return [describeError(error)];
  }
  return endpoints.flatMap((url) => {
    const what = `--endpoints ${JSON.stringify(url)}`;
    if (plain && url.startsWith("https://")) return [`${what}: https needs --ca-cert, --client-cert and --client-key`];
    if (!plain && url.startsWith("http://")) {
      return [`${what}: certificates are given, which http does not use: https?`];
    }
    return [];
  });
}
