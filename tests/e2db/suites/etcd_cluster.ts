/** A real etcd cluster on loopback for contract tests; every member is a child process that ends with the scope. */
import { etcdDir, type EtcdVersion } from "../../support/parts.ts";
import { eventually, freePorts, temporaryDirectory } from "../../support/fixtures.ts";

export interface EtcdCluster extends AsyncDisposable {
  /** Client URLs. */
  hosts: string[];
  /** The index of the leader, by its own status. */
  leader(): Promise<number>;
  /** kill -9, and waits until the process is gone. */
  kill(index: number): Promise<void>;
  /** Starts a killed member again with its data. */
  restart(index: number): Promise<void>;
}

export async function startEtcd(version: EtcdVersion, size: 1 | 3 = 1): Promise<EtcdCluster> {
  const directory = await temporaryDirectory();
  const ports = freePorts(size * 2);
  const hosts = Array.from({ length: size }, (_, index) => `http://127.0.0.1:${ports[2 * index]}`);
  const peers = Array.from({ length: size }, (_, index) => `http://127.0.0.1:${ports[2 * index + 1]}`);
  const cluster = peers.map((peer, index) => `m${index}=${peer}`).join(",");
  const program = `${etcdDir(version)}/etcd`;
  const start = (index: number) =>
    new Deno.Command(program, {
      args: [
        ...["--name", `m${index}`, "--data-dir", `${directory.path}/m${index}`],
        ...["--listen-client-urls", hosts[index]!, "--advertise-client-urls", hosts[index]!],
        ...["--listen-peer-urls", peers[index]!, "--initial-advertise-peer-urls", peers[index]!],
        ...["--initial-cluster", cluster, "--initial-cluster-token", directory.path, "--log-level", "error"],
      ],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
  const members: (Deno.ChildProcess | undefined)[] = hosts.map((_, index) => start(index));
  const post = async (host: string, path: string) => {
    const response = await fetch(`${host}/v3/${path}`, {
      method: "POST",
      body: "{}",
      signal: AbortSignal.timeout(2_000),
    });
    return await response.json();
  };
  const status = (host: string) => post(host, "maintenance/status");
  const end = async (index: number) => {
    const member = members[index];
    members[index] = undefined;
    if (member === undefined) return;
    member.kill("SIGKILL");
    await member.status;
  };
  const up = (index: number) =>
    eventually(`etcd ${version} at ${hosts[index]}`, async () => (await status(hosts[index]!)).leader !== undefined);
  const all: EtcdCluster = {
    hosts,
    leader: () =>
      eventually("a leader", async () => {
        for (const [index, host] of hosts.entries()) {
          if (members[index] === undefined) continue;
          const { header, leader } = await status(host);
          if (leader === header.member_id) return index + 1;
        }
        return undefined;
      }).then((found) => found - 1),
    kill: end,
    async restart(index) {
      members[index] = start(index);
      await up(index);
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(members.map((_, index) => end(index)));
      await directory[Symbol.asyncDispose]();
    },
  };
  try {
    await Promise.all(hosts.map((_, index) => up(index)));
  } catch (error) {
    await all[Symbol.asyncDispose]();
    throw error;
  }
  return all;
}
