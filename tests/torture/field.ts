/** A cluster of real processes, and the faults of it. As root each node has its own network and disk. */
import { assert } from "../support/assert.ts";
import { eventually, freePorts, temporaryDirectory } from "../support/fixtures.ts";
import { type EtcdVersion, part } from "../support/parts.ts";
import { names } from "../e2e/cluster.ts";
import { Machines } from "../e2e/namespaces.ts";
import { freshHost, NodeProcess, runs } from "../e2e/node_process.ts";
import { setProcessClock } from "./process_clock.ts";
import { type Fault, type FaultKind, plainKinds, rootKinds } from "./schedule.ts";

export interface FieldOptions {
  readonly nodes: number;
  readonly etcd: EtcdVersion;
  /** Default: as root. */
  readonly namespaces?: boolean;
}

/** Large enough for etcd's preallocated log files, the snapshot of a new member and little more. */
const diskMib = 400;
const s3 = { access: "access", secret: "canary-torture" };

export class Field implements AsyncDisposable {
  readonly hosts: readonly string[];
  readonly #folder: { path: string } & AsyncDisposable;
  readonly #options: FieldOptions;
  readonly #machines: Machines | undefined;
  readonly #nodes: (NodeProcess | undefined)[] = [];
  readonly #mounts: string[] = [];
  readonly #storePort = freePorts(1)[0]!;
  #store: Deno.ChildProcess | undefined;
  #slowness: ReturnType<typeof setInterval> | undefined;
  /** Offset of each node's clock from that of the machine. */
  readonly #offsetMs: number[];
  /** The offset that was set in each process: a new process has none. */
  readonly #clocks = new Map<number, number>();

  private constructor(
    folder: { path: string } & AsyncDisposable,
    options: FieldOptions,
    machines: Machines | undefined,
  ) {
    this.#folder = folder;
    this.#options = options;
    this.#machines = machines;
    this.hosts = Array.from({ length: options.nodes }, (_, at) => machines?.address(at) ?? freshHost());
    this.#offsetMs = this.hosts.map(() => 0);
  }

  static async make(options: FieldOptions): Promise<Field> {
    const namespaces = options.namespaces ?? Deno.uid() === 0;
    const machines = namespaces ? await Machines.make(options.nodes) : undefined;
    const field = new Field(await temporaryDirectory(), options, machines);
    try {
      await Deno.mkdir(`${field.path}/store/bucket`, { recursive: true });
      field.#startStore();
      for (let at = 0; at < options.nodes; at++) {
        await Deno.mkdir(field.#disk(at));
        if (machines !== undefined) await field.#mount(field.#disk(at));
        field.#start(at);
      }
      await field.whole(120_000);
    } catch (error) {
      await field[Symbol.asyncDispose]();
      throw error;
    }
    return field;
  }

  get path(): string {
    return this.#folder.path;
  }

  get kinds(): readonly FaultKind[] {
    return this.#machines === undefined ? plainKinds : [...plainKinds, ...rootKinds];
  }

  get clientUrls(): string[] {
    return this.hosts.map((host) => `http://${host}:2379`);
  }

  /** The last lines of each node. */
  logs(): ReadonlyMap<string, readonly string[]> {
    return new Map(this.#nodes.map((node, at) => [names[at]!, node?.lines ?? []]));
  }

  /** Resolves when the fault is in effect. */
  async begin({ kind, nodes, stepMs = 0 }: Fault): Promise<void> {
    const [first = 0, second = 0] = nodes;
    switch (kind) {
      case "kill-e2d":
        for (const at of nodes) await this.#kill(at);
        return;
      case "kill-etcd":
        for (const at of nodes) await this.#signal(at, "SIGKILL", "etcd");
        return;
      case "freeze-node":
        for (const at of nodes) await this.#signal(at, "SIGSTOP", "e2d", "etcd");
        return;
      case "freeze-etcd":
        for (const at of nodes) await this.#signal(at, "SIGSTOP", "etcd");
        return;
      case "lose-disk":
        await this.#kill(first);
        for await (const { name } of Deno.readDir(this.#disk(first))) {
          await Deno.remove(`${this.#disk(first)}/${name}`, { recursive: true });
        }
        return;
      case "fill-disk":
        return await this.#fill(this.#disk(first));
      case "step-clock":
        this.#offsetMs[first]! += stepMs;
        return await this.#setClocks();
      case "store-hangs":
        return this.#store!.kill("SIGSTOP");
      case "store-slow":
        // The store runs for a twentieth of the time.
        this.#slowness = setInterval(() => {
          this.#store!.kill("SIGCONT");
          setTimeout(() => this.#slowness !== undefined && this.#store!.kill("SIGSTOP"), 25);
        }, 500);
        return;
      case "store-fails":
        // The store answers every request with an error.
        return await Deno.rename(`${this.path}/store/bucket`, `${this.path}/bucket-elsewhere`);
      case "store-down":
        return await this.#stopStore();
      case "restart-all":
        await Promise.all(this.hosts.map((_, at) => this.#kill(at)));
        return;
      case "cut-off":
        return await this.#machines!.isolate(first);
      case "cut-one-way":
        return await this.#machines!.drop(first, second);
      case "cut-pair":
        return await this.#machines!.cut(first, second);
      default:
        return kind satisfies never;
    }
  }

  /** Ends the fault. Resolves when no fault affects the cluster any more. */
  async lift({ kind, nodes }: Fault): Promise<void> {
    switch (kind) {
      case "kill-e2d":
      case "lose-disk":
        return nodes.forEach((at) => this.#start(at));
      case "kill-etcd":
        return;
      case "freeze-node":
        for (const at of nodes) await this.#signal(at, "SIGCONT", "etcd", "e2d");
        return;
      case "freeze-etcd":
        for (const at of nodes) await this.#signal(at, "SIGCONT", "etcd");
        return;
      case "fill-disk":
        await Deno.remove(`${this.#disk(nodes[0]!)}/ballast`);
        this.#startEnded();
        return;
      case "step-clock":
        // A clock that was set stays as it is.
        return;
      case "store-hangs":
        return this.#store!.kill("SIGCONT");
      case "store-slow":
        return this.#endSlowness();
      case "store-fails":
        return await Deno.rename(`${this.path}/bucket-elsewhere`, `${this.path}/store/bucket`);
      case "store-down":
        return this.#startStore();
      case "restart-all":
        return this.hosts.forEach((_, at) => this.#start(at));
      case "cut-off":
      case "cut-one-way":
      case "cut-pair":
        return await this.#machines!.heal();
      default:
        return kind satisfies never;
    }
  }

  /** Resolves when all nodes are voting members of one cluster and each answers a linearizable read. */
  async whole(timeoutMs: number): Promise<void> {
    const wanted = names.slice(0, this.hosts.length).join();
    const endMs = performance.now() + timeoutMs;
    for (;;) {
      this.#startEnded();
      await this.#setClocks();
      try {
        const ids = await Promise.all(this.#nodes.map(async (node) => {
          const client = await node!.client();
          await client.ready(node!.clientUrl, { timeoutMs: 1_000 });
          const members = await client.memberList(node!.clientUrl, { timeoutMs: 1_000 });
          const now = members.map(({ name, isLearner }) => isLearner ? `${name} (learner)` : name).sort().join();
          assert(now === wanted, `node at ${node!.host}: members are ${now}`);
          return (await client.status(node!.clientUrl, { timeoutMs: 1_000 })).clusterId;
        }));
        assert(new Set(ids).size === 1, `there are clusters ${ids}`);
        return;
      } catch (error) {
        if (performance.now() > endMs) throw new Error(`not whole in ${timeoutMs} ms: ${error}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** Resolves when the store has a snapshot that was saved after `sinceMs`, wall time. */
  async saved(sinceMs: number, timeoutMs: number): Promise<void> {
    const history = `${this.path}/store/bucket/torture.history`;
    await eventually("a snapshot in the store", async () => {
      for await (const { name } of Deno.readDir(history)) {
        if (name.endsWith(".manifest") && (await Deno.stat(`${history}/${name}`)).mtime!.getTime() > sinceMs) {
          return true;
        }
      }
      return false;
    }, { timeoutMs });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (let at = 0; at < this.#nodes.length; at++) {
      await this.#signal(at, "SIGCONT", "etcd", "e2d").catch(() => {});
      await this.#kill(at).catch(() => {});
    }
    await this.#stopStore().catch(() => {});
    for (const mount of this.#mounts) await run("umount", mount).catch(() => {});
    await this.#machines?.[Symbol.asyncDispose]();
    await this.#folder[Symbol.asyncDispose]();
  }

  #disk(at: number): string {
    return `${this.path}/disk-${names[at]}`;
  }

  #start(at: number): void {
    this.#nodes[at] = new NodeProcess({
      host: this.hosts[at]!,
      dataDir: `${this.#disk(at)}/data`,
      etcd: this.#options.etcd,
      ...(this.#machines === undefined ? {} : { inside: this.#machines.inside(at) }),
      environment: {
        AWS_ACCESS_KEY_ID: s3.access,
        AWS_SECRET_ACCESS_KEY: s3.secret,
        AWS_REGION: "us-east-1",
      },
      args: [
        `--name=${names[at]}`,
        `-n=${this.hosts.length}`,
        `--bootstrap-addrs=${this.hosts.join(",")}`,
        "--health-check-timeout=5s",
        "--snapshot-interval=5s",
        "--snapshot-backup-url=s3://bucket/torture",
        `--s3-endpoint=http://${this.#storeHost}:${this.#storePort}`,
      ],
    });
  }

  /** Restarts processes that have exited, as a service manager does. */
  #startEnded(): void {
    this.#nodes.forEach((node, at) => {
      if (node?.ended) this.#start(at);
    });
  }

  async #signal(at: number, signal: Deno.Signal, ...whom: ("e2d" | "etcd")[]): Promise<void> {
    const node = this.#nodes[at];
    if (node === undefined || node.ended) return;
    for (const each of whom) {
      if (each === "e2d") node.kill(signal);
      else {
        const pid = await node.etcdPid();
        if (pid > 0) {
          try {
            Deno.kill(pid, signal);
          } catch {
            // It has just ended.
          }
        }
      }
    }
  }

  /** Kills e2d and etcd at once, as a power failure does. */
  async #kill(at: number): Promise<void> {
    await this.#signal(at, "SIGKILL", "etcd", "e2d");
    await this.#nodes[at]?.[Symbol.asyncDispose]();
  }

  /** Sets the offset in processes that have started since the clock was set. */
  async #setClocks(): Promise<void> {
    for (const [at, node] of this.#nodes.entries()) {
      const offsetMs = this.#offsetMs[at]!;
      // A process without a log line may still be the wrapper before exec, whose clock setting is lost.
      if (offsetMs === 0 || node === undefined || node.ended || node.lines.length === 0) continue;
      for (const pid of [node.pid, await node.etcdPid()]) {
        if (!(pid > 0) || this.#clocks.get(pid) === offsetMs) continue;
        try {
          await setProcessClock(pid, offsetMs / 1_000);
          this.#clocks.set(pid, offsetMs);
        } catch (error) {
          if (await runs(pid)) throw error;
        }
      }
    }
  }

  async #mount(folder: string): Promise<void> {
    await run("mount", "-t", "tmpfs", "-o", `size=${diskMib}m`, "e2d-torture", folder);
    this.#mounts.push(folder);
  }

  async #fill(folder: string): Promise<void> {
    const file = await Deno.open(`${folder}/ballast`, { write: true, create: true });
    try {
      for (let left = 2 * diskMib; left > 0; left--) await file.write(new Uint8Array(1_048_576));
    } catch {
      // The disk is full.
    } finally {
      file.close();
    }
  }

  get #storeHost(): string {
    return this.#machines === undefined ? "127.0.0.1" : this.#machines.router;
  }

  #startStore(): void {
    const inside = this.#machines?.insideRouter() ?? [];
    const command = [
      ...inside,
      part("versitygw-1.8.0", "versitygw"),
      ...["--port", `${this.#storeHost}:${this.#storePort}`, "--access", s3.access, "--secret", s3.secret],
      ...["--region", "us-east-1", "posix", `${this.path}/store`],
    ];
    this.#store = new Deno.Command(command[0]!, {
      args: command.slice(1),
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
  }

  #endSlowness(): void {
    clearInterval(this.#slowness);
    this.#slowness = undefined;
    this.#store?.kill("SIGCONT");
  }

  async #stopStore(): Promise<void> {
    this.#endSlowness();
    const store = this.#store;
    this.#store = undefined;
    store?.kill("SIGKILL");
    await store?.status;
  }
}

async function run(program: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args }).output();
  if (!success) throw new Error(`${program} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}
