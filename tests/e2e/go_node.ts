/**
 * A node of the Go original, whose part is played by etcd 3.4, which it had inside, beside a program on memberlist v0.2.0
 * that gossips as it did.
 */
import { type EtcdClient, openEtcd } from "../../lib/etcd/client.ts";
import type { EtcdTls } from "../../lib/etcd/client_channel.ts";
import { encodeClusterRecord, encodeClusterTable } from "../../lib/gossip/cluster_record.ts";
import { secretKeyFromCaKey } from "../../lib/pki/secret_key.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { enableGrpcTls } from "../../lib/sys/grpc_tls.ts";
import { JsonProcess } from "../interop/json_process.ts";
import { partProgram } from "../interop/part_program.ts";
import { part } from "../support/parts.ts";

export interface GoNodeOptions {
  name: string;
  host: string;
  /** Names and hosts of all founders. */
  founders: ReadonlyMap<string, string>;
  dataDir: string;
  /** The folder with ca.crt, ca.key and the node's certificates. */
  pki: string;
  tls: EtcdTls;
}

export class GoNode {
  readonly clientUrl: string;
  readonly #gossip: JsonProcess;
  readonly #etcd: Deno.ChildProcess;
  readonly #tls: EtcdTls;
  #client: Promise<EtcdClient> | undefined;

  constructor({ name, host, founders, dataDir, pki, tls }: GoNodeOptions) {
    this.#tls = tls;
    this.clientUrl = `https://${host}:2379`;
    const peerUrl = `https://${host}:2380`;
    const path = `${pki}/ca.key`;
    const { bytes } = secretKeyFromCaKey(Deno.readTextFileSync(path), { role: "CA key", path });
    this.#gossip = new JsonProcess(partProgram("go-e2d-peer", "e2d-peer", "e2d-peer"), [
      ...["-name", name, "-gossip", `${host}:7980`, "-client-url", this.clientUrl, "-peer-url", peerUrl],
      ...["-bootstrap", [...founders.values()].map((each) => `${each}:7980`).join(","), "-key", bytes.toHex()],
    ]);
    this.#etcd = new Deno.Command(part("etcd-3.4.23", "etcd"), {
      args: [
        `--name=${name}`,
        `--data-dir=${dataDir}`,
        `--listen-peer-urls=${peerUrl}`,
        `--initial-advertise-peer-urls=${peerUrl}`,
        `--listen-client-urls=${this.clientUrl}`,
        `--advertise-client-urls=${this.clientUrl}`,
        `--initial-cluster=${[...founders].map(([name, host]) => `${name}=https://${host}:2380`).join(",")}`,
        "--initial-cluster-state=new",
        ...[`--trusted-ca-file=${pki}/ca.crt`, "--client-cert-auth"],
        ...[`--cert-file=${pki}/server.crt`, `--key-file=${pki}/server.key`],
        ...[`--peer-trusted-ca-file=${pki}/ca.crt`, "--peer-client-cert-auth"],
        ...[`--peer-cert-file=${pki}/peer.crt`, `--peer-key-file=${pki}/peer.key`],
      ],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
  }

  client(): Promise<EtcdClient> {
    this.#client ??= enableGrpcTls().then(() =>
      openEtcd({ endpoints: [this.clientUrl], tls: this.#tls, clock: systemClock, callTimeoutMs: 30_000 })
    );
    return this.#client;
  }

  /** Resolves when gossip says of this node that it runs. */
  async running(): Promise<void> {
    await this.#gossip.event("Running", ({ event, status }) => event === "own-status" && status === 2);
  }

  /** What each node writes once its etcd is ready. */
  async writeRecord(requiredSize: number): Promise<void> {
    const client = await this.client();
    await client.put("/_e2d/Cluster/_table", encodeClusterTable());
    await client.put("/_e2d/Cluster/1", encodeClusterRecord({ id: 1, createdMs: systemClock.wallMs(), requiredSize }));
  }

  /** As the original stops: etcd by SIGTERM, gossip without a goodbye. */
  async stop(): Promise<number> {
    try {
      this.#etcd.kill("SIGTERM");
    } catch {
      // It has ended.
    }
    await this.#etcd.status;
    await this.#gossip.kill();
    (await this.#client)?.close();
    return 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
