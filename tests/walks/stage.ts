/**
 * The machines of the docs: each with its own systemd, disk and network, the unit of e2d installed, and a store that all
 * of them reach. The commands of the docs run there with other addresses.
 */
import { type EtcdClient, openEtcd } from "../../lib/etcd/client/client.ts";
import { encodeClusterRecord, encodeClusterTable } from "../../lib/manager/cluster_record.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { enableGrpcTls } from "../../lib/sys/grpc/tls.ts";
import { Machines } from "../e2e/namespaces.ts";
import { programShown } from "../e2e/node_process.ts";
import { eventually } from "../support/fixtures.ts";
import { etcdDir, part } from "../support/parts.ts";
import { installUnit, SystemdMachine } from "../support/systemd_machine.ts";
import { originalScript, originalUnit } from "./original.ts";
import type { Step } from "./transcript.ts";

const defaultEtcd = "3.6.14";
const pki = "/etc/e2d/pki";
const s3 = { access: "access", secret: "canary-walks", port: 7070 };

class StagedMachine {
  readonly clientUrl: string;
  #client: Promise<EtcdClient> | undefined;

  constructor(readonly name: string, readonly host: string, readonly system: SystemdMachine) {
    this.clientUrl = `https://${host}:2379`;
  }

  read(path: string): Promise<string> {
    return Deno.readTextFile(`${this.system.root}${path}`);
  }

  client(): Promise<EtcdClient> {
    this.#client ??= this.#open();
    return this.#client;
  }

  async #open(): Promise<EtcdClient> {
    const [ca, certificate, key] = await Promise.all(
      ["ca.crt", "client.crt", "client.key"].map((name) => this.read(`${pki}/${name}`)),
    );
    await enableGrpcTls();
    const tls = { ca: ca!, certificate: certificate!, key: key! };
    return await openEtcd({ endpoints: [this.clientUrl], tls, clock: systemClock, callTimeoutMs: 30_000 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    (await this.#client?.catch(() => undefined))?.close();
    await this.system[Symbol.asyncDispose]();
  }
}

export class Stage implements AsyncDisposable {
  readonly #path: string;
  readonly #network: Machines;
  readonly #machines: StagedMachine[] = [];
  #store: Deno.ChildProcess | undefined;

  private constructor(path: string, network: Machines) {
    this.#path = path;
    this.#network = network;
  }

  /** The machines of the docs, 10.0.0.1 and up, with their /etc/e2d/e2d.env. */
  static async open(path: string, names: readonly string[], settings: Record<string, string>): Promise<Stage> {
    const stage = new Stage(path, await Machines.make(names.length));
    try {
      await stage.#open(names, settings);
    } catch (error) {
      await stage[Symbol.asyncDispose]();
      throw error;
    }
    return stage;
  }

  get names(): string[] {
    return this.#machines.map(({ name }) => name);
  }

  node(name: string): StagedMachine {
    const machine = this.#machines.find((each) => each.name === name);
    if (machine === undefined) throw new Error(`the stage has no machine "${name}"`);
    return machine;
  }

  /** Bootstraps a cluster of the Go original; its certificates must exist. */
  async startOriginal(): Promise<void> {
    const initialMembers = new Map(this.#machines.map(({ name, host }) => [name, host]));
    for (const machine of this.#machines) {
      const { name, host, system } = machine;
      const caKey = await machine.read(`${pki}/ca.key`);
      const script = originalScript({ name, host, initialMembers, dataDir: "/var/lib/e2d/etcd", pki, caKey });
      await system.write("/usr/local/bin/e2d", script, 0o755);
      await system.write("/etc/systemd/system/e2d.service", originalUnit);
      await system.text("mkdir -p /var/lib/e2d && systemctl daemon-reload && systemctl start e2d");
    }
    for (const machine of this.#machines) {
      await eventually(`a Go node on ${machine.name}`, async () => {
        await (await machine.client()).ready(machine.clientUrl, { timeoutMs: 1_000 });
        const said = await machine.system.text("journalctl --unit=e2d --output=cat --no-pager");
        return said.split("\n").some((line) => line.includes('"own-status"') && line.includes('"status":2'));
      });
    }
    // Each node writes this once its etcd is ready.
    const client = await this.#machines[0]!.client();
    const record = { id: 1, createdMs: systemClock.wallMs(), requiredSize: this.#machines.length };
    await client.put("/_e2d/Cluster/_table", encodeClusterTable());
    await client.put("/_e2d/Cluster/1", encodeClusterRecord(record));
  }

  /** The output of a step on each of its machines, with the addresses of the docs. */
  async perform({ machine, command }: Step): Promise<{ code: number; printed: string }[]> {
    const on = machine === "all" ? this.#machines : [machine === "" ? this.#machines[0]! : this.node(machine)];
    return await Promise.all(on.map((each) => this.#onMachine(each, command)));
  }

  /** The last log lines of e2d on each machine. */
  async journals(): Promise<string> {
    const all = await Promise.all(this.#machines.map(async ({ name, system }) => {
      const { text } = await system.sh(
        'journalctl --unit=e2d --output=cat --no-pager | grep -v \'"part":"etcd"\' | tail -15',
      );
      return `${name}:\n${text}`;
    }));
    return all.join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#machines.map((machine) => machine[Symbol.asyncDispose]()));
    this.#store?.kill("SIGKILL");
    await this.#store?.status;
    await this.#network[Symbol.asyncDispose]();
  }

  async #open(names: readonly string[], settings: Record<string, string>): Promise<void> {
    // The folder that copies ca.crt and ca.key between machines, and the content of the store.
    for (const folder of ["carried", "store/my-bucket"]) {
      await Deno.mkdir(`${this.#path}/${folder}`, { recursive: true });
    }
    const versions = ["3.5.33", defaultEtcd, "3.7.3"] as const;
    const { shown, copied, script } = programShown();
    const seen = new Map([
      ...shown,
      ...versions.map((version): [string, string] => [`/opt/cache/e2d/etcd/${version}`, etcdDir(version)]),
    ]);
    this.#startStore();
    await Promise.all(names.map(async (name, at) => {
      const system = await SystemdMachine.boot(`${this.#path}/${name}`, {
        shown: seen,
        copied,
        shared: new Map([["/srv/carried", `${this.#path}/carried`]]),
        namespace: this.#network.namespace(at),
      });
      this.#machines[at] = new StagedMachine(name, this.#network.address(at), system);
      await system.write("/usr/local/bin/e2d", script, 0o755);
      await system.text(`ln -s /opt/cache/e2d/etcd/${defaultEtcd}/etcdctl /usr/local/bin/etcdctl`);
      await installUnit(system);
    }));
    const text = (all: Record<string, string>) =>
      Object.entries(all).map(([name, value]) => `${name}=${value}\n`).join("");
    for (const { name, system } of this.#machines) {
      const here = { ...this.#environment, E2D_NAME: name, E2D_ETCD_VERSION: defaultEtcd };
      await system.write("/etc/e2d/e2d.env", this.#here(text({ ...settings, ...here })), 0o600);
    }
  }

  /** Settings that the docs leave out: the store with its credentials, and shorter time-outs. */
  get #environment(): Record<string, string> {
    return {
      AWS_ACCESS_KEY_ID: s3.access,
      AWS_SECRET_ACCESS_KEY: s3.secret,
      AWS_REGION: "us-east-1",
      E2D_S3_ENDPOINT: `http://${this.#network.router}:${s3.port}`,
      E2D_SNAPSHOT_INTERVAL: "1s",
      E2D_HEALTH_CHECK_TIMEOUT: "60s",
      XDG_CACHE_HOME: "/opt/cache",
    };
  }

  /** Pairs of an address in the docs and the one here. */
  get #addresses(): [string, string][] {
    return this.#machines.map(({ host }, at) => [`10.0.0.${at + 1}`, host]);
  }

  #here(text: string): string {
    return this.#addresses.reduce((all, [docs, real]) => all.replaceAll(docs, real), text);
  }

  async #onMachine({ system }: StagedMachine, command: string): Promise<{ code: number; printed: string }> {
    if (command.startsWith("./install.sh ")) {
      // tests/e2e/install_test.ts runs install.sh; here this e2d is already installed.
      await system.write("/usr/local/bin/e2d", programShown().script, 0o755);
      return { code: 0, printed: "" };
    }
    const variables = Object.entries(this.#environment).map(([name, value]) => `${name}='${value}'`).join(" ");
    const { code, text } = await system.sh(`exec 2>&1\nexport ${variables}\ncd /srv/carried\n${this.#here(command)}`);
    return { code, printed: this.#addresses.reduce((all, [docs, real]) => all.replaceAll(real, docs), text) };
  }

  #startStore(): void {
    const [program, ...args] = [
      ...this.#network.insideRouter(),
      part("versitygw-1.8.0", "versitygw"),
      ...["--port", `${this.#network.router}:${s3.port}`, "--access", s3.access, "--secret", s3.secret],
      ...["--region", "us-east-1", "--quiet", "posix", `${this.#path}/store`],
    ];
    this.#store = new Deno.Command(program!, { args, stdin: "null", stdout: "null", stderr: "null" }).spawn();
  }
}
