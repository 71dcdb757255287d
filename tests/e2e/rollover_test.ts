/** A rollover of the CA under load, phase by phase, as docs/certificates.md describes; snapshots stay readable. */
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import type { EtcdTls } from "../../lib/etcd/client/channel.ts";
import { e2d, freshHost, NodeProcess } from "./node_process.ts";
import { Writers } from "./writers.ts";

// grpc-js closes its HTTP/2 sessions some time after the client.
const sanitize = { sanitizeResources: false, sanitizeOps: false };
const names = ["a", "b", "c"];

async function command(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await e2d(args);
  assertEquals(code, 0, `e2d ${args.join(" ")}\n${stdout}${stderr}`);
  return stdout;
}

/** Three machines, each with its own copies of the key files. */
class Secured implements AsyncDisposable {
  readonly nodes = new Map<string, NodeProcess>();
  readonly hosts = new Map(names.map((name) => [name, freshHost()]));
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  node(name: string): NodeProcess {
    return this.nodes.get(name)!;
  }

  path(name: string, file: string): string {
    return `${this.#folder}/${name}/${file}`;
  }

  get endpoints(): string {
    return `--endpoints=https://${this.hosts.get("a")}:2379`;
  }

  ca(name: string): string[] {
    return [`--ca-cert=${this.path(name, "ca.crt")}`, `--ca-key=${this.path(name, "ca.key")}`];
  }

  async makeCertificates(): Promise<void> {
    await Deno.mkdir(`${this.#folder}/a`);
    await Deno.mkdir(`${this.#folder}/store`);
    await command("pki", "init", ...this.ca("a"));
    for (const name of names) {
      await Deno.mkdir(`${this.#folder}/${name}`, { recursive: true });
      if (name !== "a") await this.copy(name, ["ca.crt", "ca.key"]);
      const out = `--output-dir=${this.#folder}/${name}`;
      await command("pki", "gencerts", ...this.ca(name), `--hosts=${this.hosts.get(name)},127.0.0.1`, out);
    }
  }

  async copy(to: string, files: readonly string[]): Promise<void> {
    for (const file of files) await Deno.copyFile(this.path("a", file), this.path(to, file));
  }

  async rollover(step: string, name: string, ...more: string[]): Promise<string> {
    return await command("pki", "rollover", step, ...this.ca(name), `--dir=${this.#folder}/${name}`, ...more);
  }

  async start(name: string): Promise<NodeProcess> {
    const read = (file: string) => Deno.readTextFile(this.path(name, file));
    const tls: EtcdTls = {
      ca: await read("ca.crt"),
      certificate: await read("client.crt"),
      key: await read("client.key"),
    };
    const pair = (role: string) => [
      `--${role}-cert=${this.path(name, `${role}.crt`)}`,
      `--${role}-key=${this.path(name, `${role}.key`)}`,
    ];
    const node = new NodeProcess({
      dataDir: `${this.#folder}/${name}/data`,
      host: this.hosts.get(name)!,
      tls,
      args: [
        `--name=${name}`,
        "-n=3",
        `--bootstrap-addrs=${[...this.hosts.values()].join(",")}`,
        ...this.ca(name),
        ...["server", "peer", "client"].flatMap(pair),
        `--snapshot-backup-url=file://${this.#folder}/store/etcd.snapshot`,
        "--snapshot-encryption",
        "--snapshot-interval=2s",
      ],
    });
    this.nodes.set(name, node);
    return node;
  }

  /** Restarts the nodes one after the other, each with its present files. */
  async restartAll(): Promise<void> {
    for (const name of names) {
      assertEquals(await this.node(name).stop(), 0);
      await (await this.start(name)).healthy();
    }
  }

  /** Resolves when a snapshot that is taken from now on can be decrypted with the files of each machine. */
  async newSnapshotOpens(): Promise<void> {
    const since = names.map((name) => this.node(name).log.length);
    await Promise.any(
      names.map((name, at) =>
        this.node(name).logged(({ message }) => message === "saved a snapshot", {
          since: since[at]!,
          timeoutMs: 60_000,
        })
      ),
    );
    for (const name of names) await this.verify(this.path(name, "ca.key"));
  }

  async verify(key: string, file = `${this.#folder}/store/etcd.snapshot`): Promise<void> {
    await command("snapshot", "verify", `file://${file}`, `--ca-key=${key}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.nodes.values()].map((node) => node[Symbol.asyncDispose]()));
  }
}

Deno.test(
  "a rollover of the CA under load keeps gossip and snapshots working, and old snapshots readable",
  sanitize,
  async () => {
    await using dir = await temporaryDirectory();
    await using cluster = new Secured(dir.path);
    await cluster.makeCertificates();
    for (const name of names) await cluster.start(name);
    for (const name of names) await cluster.node(name).healthy();
    const writers = new Writers(cluster, names);
    await cluster.newSnapshotOpens();
    await Deno.copyFile(`${dir.path}/store/etcd.snapshot`, `${dir.path}/before.snapshot`);

    await cluster.rollover("prepare", "a");
    for (const name of ["b", "c"]) await cluster.copy(name, ["ca-next.crt", "ca-next.key"]);
    for (const name of names) await cluster.rollover("trust", name);
    await cluster.restartAll();
    await cluster.newSnapshotOpens();
    const next = cluster.path("a", "ca-next.key");
    await cluster.verify(next);

    // From here on no node is restarted until the old CA is dropped.
    for (const name of names) await cluster.rollover("reissue", name, cluster.endpoints);
    for (const name of names) {
      await cluster.node(name).logged(({ message, snapshotFormer }) =>
        message === "the keys in use have changed" && snapshotFormer === 0
      );
    }
    await cluster.newSnapshotOpens();

    for (const name of names) await cluster.rollover("drop", name, cluster.endpoints);
    await cluster.restartAll();
    await cluster.newSnapshotOpens();
    // A snapshot that was encrypted before the next key existed is decrypted with the kept key.
    await cluster.verify(cluster.path("b", "ca.key"), `${dir.path}/before.snapshot`);
    await writers.check(cluster, "c");
    assert(writers.acknowledged > 100, String(writers.acknowledged));
    for (const name of names) {
      const lost = cluster.node(name).log.filter(({ message }) => /gossip: .*(dead|failed|lost)/.test(message));
      assertEquals(lost, [], name);
    }
  },
);
