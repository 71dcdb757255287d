/** Several nodes as processes on addresses of 127.0.0.0/8, as operators start them: the same line on each machine. */
import { assert } from "../support/assert.ts";
import { patienceMs, temporaryDirectory } from "../support/fixtures.ts";
import type { EtcdVersion } from "../support/parts.ts";
import type { EtcdTls } from "../../lib/etcd/client/channel.ts";
import type { EtcdMember } from "../../lib/facts/etcd.ts";
import type { Machines } from "./namespaces.ts";
import { freshHost, NodeProcess } from "./node_process.ts";

export interface ClusterOptions {
  size: number;
  /** More of them than `size` are standby nodes. */
  nodes?: number;
  healthCheckTimeout?: string;
  args?: readonly string[];
  environment?: Record<string, string>;
  /** As of NodeOptions. */
  etcd?: EtcdVersion | null;
  tls?: EtcdTls;
  /** Default: fresh addresses. */
  hosts?: readonly string[];
  /** Where the nodes run; default: addresses of the loopback interface. */
  machines?: Machines;
}

export class Cluster implements AsyncDisposable {
  readonly hosts: string[];
  readonly nodes = new Map<string, NodeProcess>();
  readonly #folder: { path: string } & AsyncDisposable;
  readonly #options: ClusterOptions;

  private constructor(folder: { path: string } & AsyncDisposable, options: ClusterOptions) {
    this.#folder = folder;
    this.#options = options;
    this.hosts = Array.from(
      { length: options.nodes ?? options.size },
      (_, at) => options.machines?.address(at) ?? options.hosts?.[at] ?? freshHost(),
    );
  }

  /** Starts all nodes at once; waits for nothing. */
  static async start(options: ClusterOptions): Promise<Cluster> {
    const cluster = new Cluster(await temporaryDirectory(), options);
    cluster.hosts.forEach((host, at) => cluster.startNode(names[at]!, { host }));
    return cluster;
  }

  get path(): string {
    return this.#folder.path;
  }

  dataDir(name: string): string {
    return `${this.#folder.path}/${name}`;
  }

  node(name: string): NodeProcess {
    return this.nodes.get(name)!;
  }

  startNode(name: string, { host, args = [] }: { host?: string; args?: readonly string[] } = {}): NodeProcess {
    const { size, healthCheckTimeout = "3s", machines, etcd, tls } = this.#options;
    const node = new NodeProcess({
      ...(machines === undefined ? {} : { inside: machines.inside(names.indexOf(name)) }),
      ...((host ?? this.nodes.get(name)?.host) === undefined ? {} : { host: host ?? this.nodes.get(name)!.host }),
      dataDir: this.dataDir(name),
      ...(etcd === undefined ? {} : { etcd }),
      ...(tls === undefined ? {} : { tls }),
      ...(this.#options.environment === undefined ? {} : { environment: this.#options.environment }),
      args: [
        `--name=${name}`,
        `-n=${size}`,
        `--bootstrap-addrs=${this.hosts.join(",")}`,
        `--health-check-timeout=${healthCheckTimeout}`,
        ...(this.#options.args ?? []),
        ...args,
      ],
    });
    this.nodes.set(name, node);
    return node;
  }

  /** Resolves when each of them knows that the cluster has its members already. */
  async startStandbys(names: readonly string[]): Promise<void> {
    const standbys = names.map((name) => this.startNode(name));
    await Promise.all(standbys.map((standby) => standby.logged(({ reason }) => reason === "standby")));
  }

  /** Kills e2d and etcd at once, as a power failure does. */
  async kill(name: string): Promise<void> {
    const node = this.node(name);
    const etcd = await node.etcdPid();
    node.kill("SIGKILL");
    if (etcd > 0) {
      try {
        Deno.kill(etcd, "SIGKILL");
      } catch {
        // It went with its parent.
      }
    }
    await node[Symbol.asyncDispose]();
  }

  async healthy(names_ = [...this.nodes.keys()], timeoutMs = patienceMs): Promise<void> {
    await Promise.all(names_.map((name) => this.node(name).healthy(timeoutMs)));
  }

  /** Resolves when the members are exactly these, all voters, as one of them tells it. */
  async members(names_: readonly string[], timeoutMs = patienceMs): Promise<EtcdMember[]> {
    const asked = this.node(names_[0]!);
    const client = await asked.client();
    const wanted = [...names_].sort().join();
    return await asked.eventually(`with members ${wanted}`, async () => {
      await client.ready(asked.clientUrl, { timeoutMs: 1_000 });
      const members = await client.memberList(asked.clientUrl, { timeoutMs: 1_000 });
      const now = members.map(({ name, isLearner }) => isLearner ? `${name} (learner)` : name).sort().join();
      assert(now === wanted, `members are ${now}`);
      return members;
    }, timeoutMs);
  }

  async clusterId(name: string): Promise<string> {
    const node = this.node(name);
    return (await (await node.client()).status(node.clientUrl)).clusterId;
  }

  async leader(): Promise<string> {
    for (const [name, node] of this.nodes) {
      const status = await (await node.client()).status(node.clientUrl, { timeoutMs: 1_000 }).catch(() => undefined);
      if (status?.leaderId === undefined) continue;
      const members = await (await node.client()).memberList(node.clientUrl);
      return members.find(({ id }) => id === status.leaderId)?.name ?? name;
    }
    throw new Error("no node knows a leader");
  }

  /** Tried again until it is acknowledged: an election may come at any time. */
  async put(name: string, key: string, value: string): Promise<void> {
    const client = await this.node(name).client();
    await this.node(name).eventually("written to", () => client.put(key, value, { timeoutMs: 10_000 }));
  }

  async get(name: string, key: string): Promise<string | undefined> {
    const client = await this.node(name).client();
    const kv = await this.node(name).eventually("read from", () => client.get(key, { timeoutMs: 10_000 }));
    return kv === undefined ? undefined : new TextDecoder().decode(kv.value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.nodes.values()].map((node) => node[Symbol.asyncDispose]()));
    await this.#folder[Symbol.asyncDispose]();
  }
}

export const names = ["a", "b", "c", "d", "e", "f", "g"];

/** Names of the quarantined data-dirs beside a data-dir. */
export async function asideOf(cluster: Cluster, name: string): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(cluster.path)) {
    if (entry.isDirectory && entry.name.startsWith(`${name}.`) && !entry.name.endsWith(".e2d.work")) {
      found.push(entry.name);
    }
  }
  return found.sort();
}

/** As a disk goes with its machine: the data-dir and what e2d knew of it. */
export async function loseDisk(cluster: Cluster, name: string): Promise<void> {
  await Deno.rename(cluster.dataDir(name), `${cluster.path}/lost-${name}`);
  await Deno.rename(`${cluster.dataDir(name)}.e2d.json`, `${cluster.path}/lost-${name}.e2d.json`);
}

/** A CA key for `--ca-key`, made in `folder`. */
export async function sealingKey(folder: string): Promise<string> {
  const path = `${folder}/ca.key`;
  const { success } = await new Deno.Command("openssl", { args: ["genrsa", "-traditional", "-out", path, "2048"] })
    .output();
  assert(success);
  return path;
}
