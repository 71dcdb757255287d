/**
 * Moving off the Go original while clients write: its nodes changed for ours one at a time on the same disks and
 * addresses, then etcd from 3.4 over 3.5 and 3.6 to 3.7, one minor at a time. The part of a Go node is played by etcd
 * 3.4 beside a program on memberlist v0.2.0 that gossips as the original does.
 */
import { type EtcdClient, openEtcd } from "../../lib/etcd/client.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { enableGrpcTls } from "../../lib/sys/grpc_tls.ts";
import { encodeClusterRecord, encodeClusterTable } from "../../lib/gossip/cluster_record.ts";
import { JsonProcess } from "../interop/json_process.ts";
import { partProgram } from "../interop/part_program.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { eventually, temporaryDirectory } from "../support/fixtures.ts";
import { type EtcdVersion, part } from "../support/parts.ts";
import { freshHost, NodeProcess } from "./node_process.ts";
import { Writers } from "./writers.ts";

const names = ["go1", "go2", "go3"];

class GoNode {
  readonly clientUrl: string;
  readonly #gossip: JsonProcess;
  readonly #etcd: Deno.ChildProcess;
  #client: Promise<EtcdClient> | undefined;

  constructor(at: number, hosts: readonly string[], folder: string) {
    const [name, host] = [names[at]!, hosts[at]!];
    this.clientUrl = `http://${host}:2379`;
    const peerUrl = `http://${host}:2380`;
    this.#gossip = new JsonProcess(partProgram("go-e2d-peer", "e2d-peer", "e2d-peer"), [
      ...["-name", name, "-gossip", `${host}:7980`, "-client-url", this.clientUrl, "-peer-url", peerUrl],
      ...["-bootstrap", hosts.map((each) => `${each}:7980`).join(",")],
    ]);
    this.#etcd = new Deno.Command(part("etcd-3.4.23", "etcd"), {
      args: [
        `--name=${name}`,
        `--data-dir=${folder}/${name}`,
        `--listen-peer-urls=${peerUrl}`,
        `--initial-advertise-peer-urls=${peerUrl}`,
        `--listen-client-urls=${this.clientUrl}`,
        `--advertise-client-urls=${this.clientUrl}`,
        `--initial-cluster=${hosts.map((each, at) => `${names[at]}=http://${each}:2380`).join(",")}`,
        "--initial-cluster-state=new",
      ],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
  }

  client(): Promise<EtcdClient> {
    this.#client ??= enableGrpcTls().then(() =>
      openEtcd({ endpoints: [this.clientUrl], clock: systemClock, callTimeoutMs: 30_000 })
    );
    return this.#client;
  }

  running(): Promise<unknown> {
    return this.#gossip.event("Running", ({ event, status }) => event === "own-status" && status === 2);
  }

  /** As the original stops: etcd by SIGTERM, gossip without a goodbye. */
  async stop(): Promise<void> {
    try {
      this.#etcd.kill("SIGTERM");
    } catch {
      // It has ended.
    }
    await this.#etcd.status;
    await this.#gossip.kill();
    (await this.#client)?.close();
  }
}

Deno.test("a cluster of the Go original becomes ours node by node, and goes on to etcd 3.7, while clients write", {
  sanitizeResources: false,
}, async () => {
  await using dir = await temporaryDirectory();
  const hosts = names.map(() => freshHost());
  const nodes = new Map<string, GoNode | NodeProcess>();
  const clients = { node: (name: string) => nodes.get(name)! };
  try {
    names.forEach((name, at) => nodes.set(name, new GoNode(at, hosts, dir.path)));
    const first = nodes.get("go1") as GoNode;
    await eventually("a cluster of Go nodes", async () => {
      await (await first.client()).ready(first.clientUrl, { timeoutMs: 1_000 });
      return true;
    });
    await Promise.all([...nodes.values()].map((node) => (node as GoNode).running()));
    // What each Go node does once its etcd is ready.
    await (await first.client()).put("/_e2d/Cluster/_table", encodeClusterTable());
    await (await first.client()).put(
      "/_e2d/Cluster/1",
      encodeClusterRecord({ id: 1, createdMs: systemClock.wallMs(), requiredSize: 3 }),
    );
    const { clusterId } = await (await first.client()).status(first.clientUrl);
    const writers = new Writers(clients, names);

    const startOurs = async (name: string, etcd: EtcdVersion) => {
      const node = new NodeProcess({
        host: hosts[names.indexOf(name)]!,
        dataDir: `${dir.path}/${name}`,
        etcd,
        args: ["-n=3", `--bootstrap-addrs=${hosts.join(",")}`, "--health-check-timeout=60s"],
      });
      nodes.set(name, node);
      await node.healthy();
      await node.logged(({ message }) => message.includes("→ serving"));
    };
    for (const name of names) {
      await (nodes.get(name) as GoNode).stop();
      await startOurs(name, "3.5.33");
    }
    for (const version of ["3.6.14", "3.7.3"] as const) {
      for (const name of names) {
        await (nodes.get(name) as NodeProcess)[Symbol.asyncDispose]();
        await startOurs(name, version);
      }
      // etcd raises the cluster's version when all members have it; the next minor must not come before.
      await eventually(`cluster version ${version}`, async () => {
        const response = await fetch(`http://${hosts[0]}:2379/version`);
        return ((await response.json()) as { etcdcluster: string }).etcdcluster.startsWith(version.slice(0, 3));
      });
    }
    assert(writers.acknowledged > 100, `${writers.acknowledged} writes`);
    await writers.check(clients, "go2");
    const last = nodes.get("go1") as NodeProcess;
    const status = await (await last.client()).status(last.clientUrl);
    assertEquals(status.clusterId, clusterId);
    assert(status.version.startsWith("3.7."), status.version);
    const members = await (await last.client()).memberList(last.clientUrl);
    assertEquals(members.map(({ name }) => name).sort(), names);
  } finally {
    for (const node of nodes.values()) {
      if (node instanceof GoNode) await node.stop();
      else await node[Symbol.asyncDispose]();
    }
  }
});
