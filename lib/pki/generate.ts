/** Implements `e2d pki init` and `e2d pki gencerts`: creates the same files as the Go original. */
import type { Clock, Files, Random } from "../ports.ts";
import { type Authority, createAuthority, loadAuthority } from "./authority.ts";
import type { Host } from "./host.ts";
import { parseHosts } from "./host.ts";
import { defaultLifetimeMs, issueCertificate, type Profile, profiles } from "./issue.ts";
import { type NewPemFile, pathIn, readPemFile, writePemFiles } from "./key_files.ts";
import { makePrivateKey, type NewKeyKind, writePrivateKey } from "./private_key.ts";
import { x509Library } from "./x509.ts";

/** The ports for creating certificates. */
export interface PkiPorts {
  files: Files;
  clock: Pick<Clock, "wallMs">;
  random: Pick<Random, "bytes">;
}

export interface WrittenFiles {
  /** Paths written, sorted. */
  written: string[];
  /** Paths of the backups of the files that --force replaced. */
  backups: string[];
}

/** The paths of the CA's two files. */
export interface AuthorityPaths {
  caCert: string;
  caKey: string;
}

/** Creates a CA. Throws E2dError `pki_file_exists` when one of its files exists and `force` is not set. */
export async function initAuthority(
  ports: PkiPorts,
  options: AuthorityPaths & { kind?: NewKeyKind; lifetimeMs?: number; force?: boolean },
): Promise<WrittenFiles> {
  const { caCert, caKey, kind, lifetimeMs } = options;
  const made = await createAuthority({
    ...ports,
    kind,
    lifetimeMs,
  });
  return await write(ports, options.force ?? false, [
    { path: caKey, text: made.key, isSecret: true },
    { path: caCert, text: made.certificate, isSecret: false },
  ]);
}

/** Creates client, peer and server pairs in one directory. Throws what loadAuthority and initAuthority throw. */
export async function generateCertificates(
  ports: PkiPorts,
  options: AuthorityPaths & {
    outputDir: string;
    hosts: readonly string[];
    kind?: NewKeyKind;
    lifetimeMs?: number;
    force?: boolean;
  },
): Promise<WrittenFiles> {
  // Parses the hosts first: a typing error must be reported before three keys are generated.
  const hosts = parseHosts(options.hosts);
  const authority = await readAuthority(ports.files, options);
  const pems: NewPemFile[] = [];
  for (const profile of profiles) pems.push(...await makePair(ports, { ...options, authority, profile, hosts }));
  return await write(ports, options.force ?? false, pems);
}

/** Reads and checks the CA's two files. Throws what readPemFile and loadAuthority throw. */
export async function readAuthority(files: Files, paths: AuthorityPaths): Promise<Authority> {
  return await loadAuthority({
    certificate: await readPemFile(files, paths.caCert, "CA certificate"),
    key: await readPemFile(files, paths.caKey, "CA key"),
  });
}

/**
 * The names of the server and peer certificates. Without `--hosts` (`given`): the machine's name, all its addresses,
 * 127.0.0.1 and localhost. With it: those hosts plus, as in the Go original, the loopback address and the machine's first
 * IPv4 address, because e2d's own client dials them.
 */
export function certificateHosts(
  given: readonly string[],
  machine: { hostName: string; addresses: readonly string[] },
): string[] {
  // An address with a zone ("fe80::1%eth0") is valid on this machine only and cannot be a name of a certificate.
  const addresses = machine.addresses.filter((address) => !address.includes("%") && !/^fe[89ab].:/i.test(address));
  if (given.length === 0) return [machine.hostName, ...addresses, "127.0.0.1", "localhost"];
  const first = addresses.find((address) => /^\d+(\.\d+){3}$/.test(address) && !address.startsWith("127."));
  return [...given, "127.0.0.1", "localhost", ...(first === undefined ? [] : [first])];
}

/**
 * The name of client certificates, which resolves to no address (RFC 6761). On the peer port etcd accepts a certificate
 * without names from any address, and one with names only from an address with one of the names. The client port checks
 * no names. So the name prevents the use of a client certificate on the peer port.
 */
const clientOnlyName: Host = { kind: "dns", name: "client.invalid" };
const nameConstraints = "2.5.29.30";

/** A CA with name constraints may not sign this name: then the client certificate has none. */
async function clientHosts({ certificate }: Authority): Promise<readonly Host[]> {
  const x509 = await x509Library();
  return new x509.X509Certificate(certificate.der).getExtension(nameConstraints) === null ? [clientOnlyName] : [];
}

async function makePair(
  ports: PkiPorts,
  options: {
    authority: Authority;
    profile: Profile;
    hosts: readonly Host[];
    outputDir: string;
    kind?: NewKeyKind;
    lifetimeMs?: number;
  },
): Promise<NewPemFile[]> {
  const { authority, profile, outputDir } = options;
  const key = await makePrivateKey(options.kind ?? "rsa-2048");
  const certificate = await issueCertificate({
    ...ports,
    signer: authority,
    profile,
    hosts: profile === "client" ? await clientHosts(authority) : options.hosts,
    key,
    lifetimeMs: options.lifetimeMs ?? defaultLifetimeMs,
  });
  return [
    { path: pathIn(outputDir, `${profile}.crt`), text: certificate, isSecret: false },
    { path: pathIn(outputDir, `${profile}.key`), text: writePrivateKey(key), isSecret: true },
  ];
}

async function write(ports: PkiPorts, force: boolean, pems: readonly NewPemFile[]): Promise<WrittenFiles> {
  const backups = await writePemFiles(ports.files, pems, { force, nowMs: ports.clock.wallMs() });
  return { written: pems.map(({ path }) => path).sort(), backups };
}
