/** Real etcd members without TLS on loopback addresses, which tests kill, pause, remove and add. */
import { etcdDir, type EtcdVersion } from "../support/parts.ts";
import { eventually, freePorts } from "../support/fixtures.ts";

export interface PlainMember {
  readonly name: string;
  readonly dataDir: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
}

export class PlainCluster implements AsyncDisposable {
  readonly members: PlainMember[] = [];
  readonly #processes = new Map<string, Deno.ChildProcess>();

  constructor(readonly directory: string, readonly version: EtcdVersion, readonly flags: readonly string[]) {}

  /** Members on 127.0.1.1 and up; resolves when all of them are healthy. */
  static async start(options: {
    directory: string;
    size: number;
    version?: EtcdVersion;
    flags?: readonly string[];
  }): Promise<PlainCluster> {
    const cluster = new PlainCluster(options.directory, options.version ?? "3.6.14", options.flags ?? []);
    for (let index = 0; index < options.size; index++) cluster.member(`n${index}`);
    for (const member of cluster.members) cluster.run(member, { state: "new" });
    await Promise.all(cluster.members.map((member) => cluster.healthy(member)));
    return cluster;
  }

  /** A member that does not run yet. */
  member(name: string): PlainMember {
    const host = `127.0.1.${this.members.length + 1}`;
    const [client, peer] = freePorts(2, host);
    const member = {
      name,
      dataDir: `${this.directory}/${name}`,
      clientUrl: `http://${host}:${client}`,
      peerUrl: `http://${host}:${peer}`,
    };
    this.members.push(member);
    return member;
  }

  run(
    member: PlainMember,
    { state, of = this.members, version = this.version }: {
      state: "new" | "existing";
      of?: readonly PlainMember[];
      version?: EtcdVersion;
    },
  ) {
    const etcd = new Deno.Command(`${etcdDir(version)}/etcd`, {
      args: [
        `--name=${member.name}`,
        `--data-dir=${member.dataDir}`,
        `--listen-client-urls=${member.clientUrl}`,
        `--advertise-client-urls=${member.clientUrl}`,
        `--listen-peer-urls=${member.peerUrl}`,
        `--initial-advertise-peer-urls=${member.peerUrl}`,
        `--initial-cluster=${of.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(",")}`,
        `--initial-cluster-state=${state}`,
        "--logger=zap",
        `--log-outputs=${this.directory}/${member.name}.log`,
        ...this.flags,
      ],
      stdout: "null",
      stderr: "null",
    }).spawn();
    this.#processes.set(member.name, etcd);
  }

  signal(member: PlainMember, signal: "SIGSTOP" | "SIGCONT"): void {
    this.#processes.get(member.name)!.kill(signal);
  }

  async stop(member: PlainMember, signal: "SIGTERM" | "SIGKILL" = "SIGKILL"): Promise<void> {
    const etcd = this.#processes.get(member.name);
    this.#processes.delete(member.name);
    if (etcd === undefined) return;
    try {
      etcd.kill("SIGCONT");
      etcd.kill(signal);
    } catch {
      // It has already ended.
    }
    const hard = setTimeout(() => etcd.kill("SIGKILL"), 10_000);
    await etcd.status;
    clearTimeout(hard);
  }

  /** With etcdctl, which is independent of the tested client. */
  async healthy(member: PlainMember): Promise<void> {
    await eventually(`${member.name} to be healthy`, async () => {
      const { code, stderr } = await this.etcdctl(member, ["endpoint", "health"]);
      if (code !== 0) throw new Error(stderr);
      return true;
    });
  }

  async etcdctl(member: PlainMember, args: readonly string[]) {
    const { code, stdout, stderr } = await new Deno.Command(`${etcdDir(this.version)}/etcdctl`, {
      args: [`--endpoints=${member.clientUrl}`, "--dial-timeout=10s", "--command-timeout=30s", ...args],
      env: this.version.startsWith("3.4") ? { ETCDCTL_API: "3" } : {},
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, stdout: text(stdout), stderr: text(stderr) };
  }

  async [Symbol.asyncDispose]() {
    await Promise.all(this.members.map((member) => this.stop(member)));
  }
}
