/**
 * Decides whether the configured certificate files are a complete set. A cluster uses TLS on all ports or on none: an
 * incomplete set would leave a port open that its operator believes secured, so it is refused before the start.
 */
import { E2dError } from "../errors.ts";

/** The configured paths; an empty text counts as absent. */
export interface TlsPaths {
  caCert?: string | undefined;
  caKey?: string | undefined;
  serverCert?: string | undefined;
  serverKey?: string | undefined;
  peerCert?: string | undefined;
  peerKey?: string | undefined;
  clientCert?: string | undefined;
  clientKey?: string | undefined;
}

export interface PairPaths {
  cert: string;
  key: string;
}

export type TlsSet =
  /** No TLS. The CA key alone is a complete set: gossip and snapshots are encrypted with a key derived from it. */
  | { kind: "plain"; caKey: string | undefined }
  | {
    kind: "mutual";
    caCert: string;
    caKey: string | undefined;
    server: PairPaths;
    peer: PairPaths;
    /** The pair of e2d's own client: the client pair, else the peer pair, as in the Go original. */
    client: PairPaths;
    clientFrom: "client" | "peer";
  };

/** The set for commands that only dial a cluster. */
export type ClientTlsSet = { kind: "plain" } | { kind: "mutual"; caCert: string; client: PairPaths };

const flagOf: Readonly<Record<keyof TlsPaths, string>> = {
  caCert: "--ca-cert",
  caKey: "--ca-key",
  serverCert: "--server-cert",
  serverKey: "--server-key",
  peerCert: "--peer-cert",
  peerKey: "--peer-key",
  clientCert: "--client-cert",
  clientKey: "--client-key",
};

/** The TLS set of a node. Throws E2dError `tls_incomplete`, which names all missing files at once. */
export function checkTlsPaths(paths: TlsPaths): TlsSet {
  const { caCert, caKey, server, peer, client, problems } = readPaths(paths);
  if (!anyCertificate(paths)) return { kind: "plain", caKey };
  const missing = [
    ...(caCert === undefined ? [missingText(paths, ["caCert"], "nothing is trusted without it")] : []),
    ...(server === "absent"
      ? [missingText(paths, ["serverCert", "serverKey"], "clients would not be served by TLS")]
      : []),
    ...(peer === "absent"
      ? [missingText(paths, ["peerCert", "peerKey"], "members would not speak TLS to each other")]
      : []),
  ];
  const pairs = { server: asPair(server), peer: asPair(peer) };
  if (problems.length > 0 || missing.length > 0 || !caCert || !pairs.server || !pairs.peer) {
    throw incomplete([...problems, ...missing]);
  }
  const own = asPair(client);
  return {
    kind: "mutual",
    caCert,
    caKey,
    server: pairs.server,
    peer: pairs.peer,
    client: own ?? pairs.peer,
    clientFrom: own ? "client" : "peer",
  };
}

/** The TLS set of a command that dials a cluster. Throws E2dError `tls_incomplete`. */
export function checkClientTlsPaths(paths: Omit<TlsPaths, "serverCert" | "serverKey" | "caKey">): ClientTlsSet {
  const { caCert, peer, client, problems } = readPaths(paths);
  if (!anyCertificate(paths)) return { kind: "plain" };
  const pair = asPair(client) ?? asPair(peer);
  if (caCert === undefined) problems.push(missingText(paths, ["caCert"], "the cluster cannot be trusted without it"));
  if (client === "absent" && peer === "absent") {
    problems.push(missingText(paths, ["clientCert", "clientKey"], "the cluster refuses clients without a certificate"));
  }
  if (problems.length > 0 || !caCert || !pair) throw incomplete(problems);
  return { kind: "mutual", caCert, client: pair };
}

type Half = "absent" | "half" | PairPaths;

function readPaths(paths: TlsPaths) {
  const problems: string[] = [];
  const pair = (certName: keyof TlsPaths, keyName: keyof TlsPaths): Half => {
    const [cert, key] = [given(paths[certName]), given(paths[keyName])];
    if (cert !== undefined && key !== undefined) return { cert, key };
    if (cert === undefined && key === undefined) return "absent";
    const [is, isNot] = cert === undefined ? [keyName, certName] : [certName, keyName];
    problems.push(`${flagOf[is]} "${paths[is]}" is given without ${flagOf[isNot]}`);
    return "half";
  };
  return {
    caCert: given(paths.caCert),
    caKey: given(paths.caKey),
    server: pair("serverCert", "serverKey"),
    peer: pair("peerCert", "peerKey"),
    client: pair("clientCert", "clientKey"),
    problems,
  };
}

/** Every path except the CA key enables TLS. */
function anyCertificate(paths: TlsPaths): boolean {
  return (Object.keys(flagOf) as (keyof TlsPaths)[]).some((name) =>
    name !== "caKey" && given(paths[name]) !== undefined
  );
}

const given = (path: string | undefined) => path === "" ? undefined : path;
const asPair = (half: Half) => typeof half === "object" ? half : undefined;

function missingText(paths: TlsPaths, names: (keyof TlsPaths)[], why: string): string {
  const flags = names.filter((name) => given(paths[name]) === undefined).map((name) => flagOf[name]);
  return `${flags.join(" and ")} ${flags.length === 1 ? "is" : "are"} missing: ${why}`;
}

function incomplete(problems: readonly string[]): E2dError {
  return new E2dError("tls_incomplete", `Cannot secure the cluster: ${problems.join("; ")}`, {
    hint: "e2d pki gencerts writes every pair; give all of them, or none to run without TLS",
  });
}
