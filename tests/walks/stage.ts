/**
 * What the docs' machines are on this one: each is an address of the loopback interface and a folder for its /etc and
 * /var, and what a service manager does to e2d is done to a process.
 */
import type { EtcdClient } from "../../lib/etcd/client.ts";
import { GoNode } from "../e2e/go_node.ts";
import { freshHost, NodeProcess, programOf } from "../e2e/node_process.ts";
import { eventually } from "../support/fixtures.ts";
import { etcdDir } from "../support/parts.ts";
import type { Step } from "./transcript.ts";

const defaultEtcd = "3.6.14";

interface Service extends AsyncDisposable {
  readonly clientUrl: string;
  client(): Promise<EtcdClient>;
  /** The exit code. */
  stop(): Promise<number>;
}

interface Machine {
  readonly name: string;
  readonly host: string;
  /** Its file system, in so far as the docs touch it. */
  readonly root: string;
  service?: Service | undefined;
  /** The Go original is what its service starts. */
  original: boolean;
}

export class Stage implements AsyncDisposable {
  readonly #path: string;
  readonly #machines: readonly Machine[];

  private constructor(path: string, machines: readonly Machine[]) {
    this.#path = path;
    this.#machines = machines;
  }

  /** The machines of the docs, 10.0.0.1 and up, with their /etc/e2d/e2d.env. */
  static async open(path: string, names: readonly string[], settings: Record<string, string>): Promise<Stage> {
    const machines = names.map((name) => ({ name, host: freshHost(), root: `${path}/${name}`, original: false }));
    const stage = new Stage(path, machines);
    const text = Object.entries(settings).map(([name, value]) => `${name}=${value}\n`).join("");
    for (const machine of machines) {
      await Deno.mkdir(`${machine.root}/etc/e2d`, { recursive: true });
      await Deno.mkdir(`${machine.root}/var/lib/e2d`, { recursive: true });
      await Deno.writeTextFile(`${machine.root}/etc/e2d/e2d.env`, stage.#here(machine, text));
    }
    // The folder in which ca.crt and ca.key are carried from machine to machine, and caches that are filled already.
    for (const folder of ["home", "bucket/my-cluster", "bin", "cache/e2d/etcd"]) {
      await Deno.mkdir(`${path}/${folder}`, { recursive: true });
    }
    for (const version of ["3.5.33", defaultEtcd, "3.7.3"] as const) {
      await Deno.symlink(etcdDir(version), `${path}/cache/e2d/etcd/${version}`);
    }
    await Deno.symlink(`${etcdDir(defaultEtcd)}/etcdctl`, `${path}/bin/etcdctl`);
    const e2d = programOf().map((word) => `'${word}'`).join(" ");
    await Deno.writeTextFile(`${path}/bin/e2d`, `#!/bin/sh\nexec ${e2d} "$@"\n`, { mode: 0o755 });
    return stage;
  }

  get names(): string[] {
    return this.#machines.map(({ name }) => name);
  }

  /** What runs there now, or ran there last. */
  node(name: string): Service {
    return this.#named(name).service!;
  }

  /** A cluster of the Go original, founded; its certificates must be there. */
  async startOriginal(): Promise<void> {
    for (const machine of this.#machines) {
      machine.original = true;
      await this.#start(machine);
    }
    const nodes = this.#machines.map(({ service }) => service as GoNode);
    await eventually("a cluster of Go nodes", async () => {
      for (const node of nodes) await (await node.client()).ready(node.clientUrl, { timeoutMs: 1_000 });
      return true;
    });
    await Promise.all(nodes.map((node) => node.running()));
    await nodes[0]!.writeRecord(nodes.length);
  }

  /** What a step prints on each machine that it is for, in the docs' names. */
  async perform({ machine, command }: Step): Promise<{ code: number; printed: string }[]> {
    const on = machine === "all" ? this.#machines : [this.#named(machine || this.#machines[0]!.name)];
    return await Promise.all(on.map((each) => this.#onMachine(each, command)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#machines.map(({ service }) => service?.[Symbol.asyncDispose]()));
  }

  #named(name: string): Machine {
    const machine = this.#machines.find((each) => each.name === name);
    if (machine === undefined) throw new Error(`the stage has no machine "${name}"`);
    return machine;
  }

  /** The docs' names and what they are here. */
  #names({ root }: Machine): [string, string][] {
    return [
      ["/etc/e2d", `${root}/etc/e2d`],
      ["/var/lib/e2d", `${root}/var/lib/e2d`],
      ["s3://my-bucket", `file://${this.#path}/bucket`],
      ...this.#machines.map(({ host }, at): [string, string] => [`10.0.0.${at + 1}`, host]),
    ];
  }

  #here(machine: Machine, text: string): string {
    return this.#names(machine).reduce((all, [docs, real]) => all.replaceAll(docs, real), text);
  }

  async #onMachine(machine: Machine, command: string): Promise<{ code: number; printed: string }> {
    if (/^systemctl (start|enable --now) e2d$/.test(command)) {
      await this.#start(machine);
      return { code: 0, printed: "" };
    }
    if (command === "systemctl stop e2d") {
      const code = await machine.service!.stop();
      return { code, printed: "" };
    }
    if (command.startsWith("./install.sh ")) {
      // tests/e2e/install_test.ts runs it; here its program is there already.
      machine.original = false;
      return { code: 0, printed: "" };
    }
    const { code, stdout } = await new Deno.Command("sh", {
      args: ["-c", `exec 2>&1\n${this.#here(machine, command)}`],
      cwd: `${this.#path}/home`,
      env: {
        PATH: `${this.#path}/bin:${Deno.env.get("PATH")}`,
        // Found out on a machine of one's own.
        E2D_HOST: machine.host,
        E2D_HOSTS: machine.host,
        E2D_STATUS_ADDR: `${machine.host}:7981`,
      },
      stdin: "null",
      signal: AbortSignal.timeout(120_000),
    }).output();
    const printed = new TextDecoder().decode(stdout);
    return { code, printed: this.#names(machine).reduce((all, [docs, real]) => all.replaceAll(real, docs), printed) };
  }

  async #start(machine: Machine): Promise<void> {
    const { name, host, root, original } = machine;
    await machine.service?.[Symbol.asyncDispose]();
    // As the unit's StateDirectory= does.
    await Deno.mkdir(`${root}/var/lib/e2d`, { recursive: true });
    const dataDir = `${root}/var/lib/e2d/etcd`;
    const pki = `${root}/etc/e2d/pki`;
    const read = (file: string) => Deno.readTextFile(`${pki}/${file}`);
    const tls = { ca: await read("ca.crt"), certificate: await read("client.crt"), key: await read("client.key") };
    if (original) {
      const founders = new Map(this.#machines.map(({ name, host }) => [name, host]));
      machine.service = new GoNode({ name, host, founders, dataDir, pki, tls });
      return;
    }
    const lines = (await Deno.readTextFile(`${root}/etc/e2d/e2d.env`)).trimEnd().split("\n");
    machine.service = new NodeProcess({
      host,
      dataDir,
      etcd: null,
      tls,
      // The name is the machine's own. No walk waits for a quarter of an hour.
      args: [`--name=${name}`, `--status-addr=${host}:7981`, "--snapshot-interval=1s", "--health-check-timeout=60s"],
      environment: {
        E2D_ETCD_VERSION: defaultEtcd,
        ...Object.fromEntries(lines.map((line) => [line.split("=")[0]!, line.slice(line.indexOf("=") + 1)])),
        XDG_CACHE_HOME: `${this.#path}/cache`,
      },
    });
  }
}
