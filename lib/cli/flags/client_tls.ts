/** Flags and files of the client certificate that a command presents to etcd. */
import { checkClientTlsPaths } from "../../pki/tls_set.ts";
import { caFlags } from "./common_flags.ts";
import { runFlags } from "./run_flags.ts";

/** The client certificate that e2d presents to etcd, and the CA that it trusts. */
export const clientTlsFlags = {
  caCert: caFlags.caCert,
  clientCert: runFlags.clientCert,
  clientKey: runFlags.clientKey,
  peerCert: runFlags.peerCert,
  peerKey: runFlags.peerKey,
} as const;

/** Reads the PEM texts; undefined without certificates. Throws E2dError `tls_incomplete`. */
export async function clientPems(values: Parameters<typeof checkClientTlsPaths>[0]) {
  const set = checkClientTlsPaths(values);
  if (set.kind === "plain") return undefined;
  const { systemFiles } = await import("../../sys/files.ts");
  const [ca, certificate, key] = await Promise.all(
    [set.caCert, set.client.cert, set.client.key].map((path) => systemFiles.readText(path)),
  );
  return { ca: ca ?? "", certificate: certificate ?? "", key: key ?? "" };
}
