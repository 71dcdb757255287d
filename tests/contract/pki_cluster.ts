/** A real etcd cluster under mutual TLS on loopback addresses, with its files on disk. */
import { Buffer } from "node:buffer";
import { Etcd3 } from "etcd3";
import { E2dError } from "../../lib/errors.ts";
import type { Files } from "../../lib/ports.ts";
import { generateCertificates, initAuthority, type PkiPorts } from "../../lib/pki/generate.ts";
import type { NewKeyKind } from "../../lib/pki/private_key.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { systemRandom } from "../../lib/sys/random.ts";
import { enableGrpcTls } from "../../lib/sys/grpc/tls.ts";
import { eventually, freePorts } from "../support/fixtures.ts";
import { etcdDir, type EtcdVersion } from "../support/parts.ts";

/** The part of the file interface that these tests need: complete files by rename. */
export const diskFiles: Files = {
  async info(path) {
    const found = await Deno.stat(path).catch(absent);
    return found && {
      kind: found.isDirectory ? "directory" as const : "file" as const,
      size: found.size,
      modifiedMs: found.mtime?.getTime() ?? 0,
      mode: (found.mode ?? 0) & 0o777,
    };
  },
  read: (path) => Deno.readFile(path).catch(absent),
  readText: (path) => Deno.readTextFile(path).catch(absent),
  async list(path) {
    return (await Array.fromAsync(Deno.readDir(path))).map(({ name }) => name).sort();
  },
  async writeAtomic(path, data, options) {
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    await Deno.writeFile(`${path}.tmp`, bytes, { mode: options?.mode ?? 0o644 });
    await Deno.rename(`${path}.tmp`, path);
  },
  async writeNew(path, data, options) {
    if (await diskFiles.info(path)) throw new E2dError("file_exists", `"${path}" is there`);
    await diskFiles.writeAtomic(path, data, options);
  },
  makeDirectory: (path, options) => Deno.mkdir(path, { recursive: true, mode: options?.mode ?? 0o755 }),
  rename: (from, to) => Deno.rename(from, to),
};

function absent(error: unknown): undefined {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

export const realPorts: PkiPorts & { clock: typeof systemClock; remove(path: string): Promise<void> } = {
  files: diskFiles,
  clock: systemClock,
  random: systemRandom,
  remove: (path) => Deno.remove(path).catch(absent),
};

export async function run(program: string, args: string[], env: Record<string, string> = {}) {
  const { code, stdout, stderr } = await new Deno.Command(program, { args, env }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

export interface Member {
  name: string;
  /** Contains ca.*, server.*, peer.*, client.*. */
  pki: string;
  clientUrl: string;
  peerUrl: string;
}

export class TlsCluster implements AsyncDisposable {
  readonly members: Member[] = [];
  readonly #processes = new Map<string, Deno.ChildProcess>();

  constructor(readonly directory: string, readonly version: EtcdVersion) {}

  /** Members on 127.0.0.11 and up; each with a copy of the CA and its own pairs. */
  static async start(options: {
    directory: string;
    size: number;
    version?: EtcdVersion;
    kind?: NewKeyKind;
    lifetimeMs?: number;
    /** Existing files, one directory for all. */
    pki?: string;
    host?: string;
  }): Promise<TlsCluster> {
    await enableGrpcTls();
    const { directory, size, version = "3.6.14", kind = "ecdsa-p256", lifetimeMs } = options;
    const cluster = new TlsCluster(directory, version);
    const authority = { caCert: `${directory}/ca.crt`, caKey: `${directory}/ca.key` };
    if (!options.pki) await initAuthority(realPorts, { ...authority, kind });
    for (let index = 0; index < size; index++) {
      const host = options.host ?? `127.0.0.${11 + index}`;
      const [client, peer] = freePorts(2, host);
      const pki = options.pki ?? `${directory}/pki${index}`;
      cluster.members.push({
        name: `n${index}`,
        pki,
        clientUrl: `https://${host}:${client}`,
        peerUrl: `https://${host}:${peer}`,
      });
      if (options.pki) continue;
      const own = { caCert: `${pki}/ca.crt`, caKey: `${pki}/ca.key` };
      await Deno.mkdir(pki);
      for (const name of ["ca.crt", "ca.key"]) await Deno.copyFile(`${directory}/${name}`, `${pki}/${name}`);
      // A member connects from 127.0.0.1 whatever address it listens on, and etcd checks its names against that.
      const made = { ...own, outputDir: pki, hosts: [host, "127.0.0.1"], kind };
      await generateCertificates(realPorts, lifetimeMs === undefined ? made : { ...made, lifetimeMs });
    }
    for (const member of cluster.members) cluster.startMember(member);
    await Promise.all(cluster.members.map((member) => cluster.healthy(member)));
    return cluster;
  }

  startMember(member: Member): void {
    const initial = this.members.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(",");
    const { pki } = member;
    const etcd = new Deno.Command(`${etcdDir(this.version)}/etcd`, {
      args: [
        `--name=${member.name}`,
        `--data-dir=${this.directory}/${member.name}`,
        `--listen-client-urls=${member.clientUrl}`,
        `--advertise-client-urls=${member.clientUrl}`,
        `--listen-peer-urls=${member.peerUrl}`,
        `--initial-advertise-peer-urls=${member.peerUrl}`,
        `--initial-cluster=${initial}`,
        "--client-cert-auth",
        `--cert-file=${pki}/server.crt`,
        `--key-file=${pki}/server.key`,
        `--trusted-ca-file=${pki}/ca.crt`,
        "--peer-client-cert-auth",
        `--peer-cert-file=${pki}/peer.crt`,
        `--peer-key-file=${pki}/peer.key`,
        `--peer-trusted-ca-file=${pki}/ca.crt`,
        "--logger=zap",
        `--log-outputs=${this.directory}/${member.name}.log`,
      ],
      stdout: "null",
      stderr: "null",
    }).spawn();
    this.#processes.set(member.name, etcd);
  }

  async stopMember(member: Member): Promise<void> {
    const etcd = this.#processes.get(member.name);
    this.#processes.delete(member.name);
    etcd?.kill("SIGTERM");
    const hard = setTimeout(() => etcd?.kill("SIGKILL"), 10_000);
    await etcd?.status;
    clearTimeout(hard);
  }

  async restartMember(member: Member): Promise<void> {
    await this.stopMember(member);
    this.startMember(member);
    await this.healthy(member);
  }

  async healthy(member: Member): Promise<void> {
    await eventually(`${member.name} to be healthy`, async () => {
      const health = await this.etcdctl(member, ["endpoint", "health"]);
      if (health.code !== 0) throw new Error(health.stderr);
      return true;
    });
  }

  /** etcdctl with a pair, by default the client pair of the member; an empty text: without one. */
  etcdctl(
    member: Member,
    args: string[],
    pair: string | undefined = `${member.pki}/client`,
    ca = `${member.pki}/ca.crt`,
  ) {
    const shown = pair === "" ? [] : [`--cert=${pair}.crt`, `--key=${pair}.key`];
    const all = [`--endpoints=${member.clientUrl}`, `--cacert=${ca}`, "--dial-timeout=10s", "--command-timeout=30s"];
    return run(
      `${etcdDir(this.version)}/etcdctl`,
      [...all, ...shown, ...args],
      this.version.startsWith("3.4") ? { ETCDCTL_API: "3" } : {},
    );
  }

  /** A client that keeps its connections, with the present credentials of one member on disk. */
  client(member: Member, hosts: readonly Member[] = [member]): Etcd3 {
    const read = (name: string) => Deno.readFileSync(`${member.pki}/${name}`);
    return new Etcd3({
      hosts: hosts.map(({ clientUrl }) => clientUrl),
      credentials: {
        rootCertificate: Buffer.from(read("ca.crt")),
        certChain: Buffer.from(read("client.crt")),
        privateKey: Buffer.from(read("client.key")),
      },
    });
  }

  async [Symbol.asyncDispose]() {
    for (const member of this.members) await this.stopMember(member);
  }
}
