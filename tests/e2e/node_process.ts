/** e2d as operators run it: a process of its own, from the sources or, with E2D_EXECUTABLE, the executable. */
import { fileURLToPath } from "node:url";
import { type EtcdClient, openEtcd } from "../../lib/etcd/client/client.ts";
import type { EtcdTls } from "../../lib/etcd/client/channel.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { enableGrpcTls } from "../../lib/sys/grpc/tls.ts";
import { patienceMs } from "../support/fixtures.ts";
import { etcdDir, type EtcdVersion } from "../support/parts.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const executable = Deno.env.get("E2D_EXECUTABLE");
const command = executable === undefined
  ? [Deno.execPath(), "run", "--allow-all", "--no-check", "--quiet", `${root}main.ts`]
  : [executable];

/** The words that e2d's command line begins with. */
export const programOf = (): readonly string[] => command;

/**
 * For a machine that sees no more of this one than it is shown: what that is, and what it needs a copy of, by the path
 * there; and what `e2d` is then.
 */
export function programShown(): {
  shown: ReadonlyMap<string, string>;
  copied: ReadonlyMap<string, string>;
  script: string;
} {
  if (executable !== undefined) {
    return {
      shown: new Map([["/opt/e2d", executable]]),
      copied: new Map(),
      script: '#!/bin/sh\nexec /opt/e2d "$@"\n',
    };
  }
  const flags = "--allow-all --no-check --quiet --cached-only";
  return {
    shown: new Map([["/opt/deno", Deno.execPath()], ["/opt/e2d", root]]),
    // Some packages have files that only their owner may read, and e2d is another user there.
    copied: new Map([["/opt/deno-dir", denoDir]]),
    script: `#!/bin/sh\nDENO_DIR=/opt/deno-dir exec /opt/deno run ${flags} /opt/e2d/main.ts "$@"\n`,
  };
}

/** Another XDG_CACHE_HOME is e2d's, not that of the Deno that runs it from the sources. */
const denoDir = Deno.env.get("DENO_DIR") ??
  `${Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME")}/.cache`}/deno`;
const environmentOf = (given: Record<string, string> = {}) =>
  executable === undefined && "XDG_CACHE_HOME" in given ? { DENO_DIR: denoDir, ...given } : given;

/** Addresses that nobody else uses: each test file that runs beside others has a range of its own. */
const prefix = reserveRange();
let nextHost = 1;
export function freshHost(): string {
  if (nextHost > 250) throw new Error("a test file has used up its range of addresses");
  return `${prefix}.${nextHost++}`;
}

/** Held by a port in it for as long as this process lives. */
function reserveRange(): string {
  for (let attempt = 0; attempt < 1_000; attempt++) {
    const prefix = `127.${40 + Math.floor(Math.random() * 80)}.${Math.floor(Math.random() * 250)}`;
    try {
      Deno.listen({ hostname: `${prefix}.254`, port: 1_024 }).unref();
      return prefix;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
  throw new Error("no range of addresses is free");
}

export interface NodeOptions {
  host?: string;
  /** e2d must detect `host`. */
  findsHost?: boolean;
  dataDir: string;
  /** Default 3.6.14; null: e2d selects one. */
  etcd?: EtcdVersion | null;
  args?: readonly string[];
  environment?: Record<string, string>;
  tls?: EtcdTls;
  /** What the command line begins with: `ip netns exec NAME`. */
  inside?: readonly string[];
}

/** One JSON line of the log. */
export interface LogEntry {
  level: string;
  message: string;
  [field: string]: unknown;
}

/** Runs e2d to its end. */
/** `e2d restore approve` of the first plan that the node names while it waits for disks or for an operator. */
export async function approveRestore(node: NodeProcess, dataDir: string): Promise<void> {
  const { hint } = await node.logged(({ hint }) => /restore approve [0-9a-f]{16}/.test(String(hint)));
  const plan = /restore approve ([0-9a-f]{16})/.exec(String(hint))![1]!;
  const { code, stderr } = await e2d(["restore", "approve", plan, "--data-dir", dataDir]);
  if (code !== 0) throw new Error(stderr);
}

export async function e2d(
  args: readonly string[],
  options: { cwd?: string; environment?: Record<string, string>; timeoutMs?: number } = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(command[0]!, {
    args: [...command.slice(1), ...args],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: environmentOf(options.environment),
    signal: AbortSignal.timeout(options.timeoutMs ?? patienceMs),
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

export class NodeProcess implements AsyncDisposable {
  readonly host: string;
  readonly clientUrl: string;
  readonly lines: string[] = [];
  readonly log: LogEntry[] = [];
  readonly #child: Deno.ChildProcess;
  readonly #read: Promise<void>;
  readonly #tls: EtcdTls | undefined;
  #waiting: (() => void)[] = [];
  #ended = false;
  #client: EtcdClient | undefined;

  constructor(options: NodeOptions) {
    this.host = options.host ?? freshHost();
    this.#tls = options.tls;
    this.clientUrl = `${options.tls === undefined ? "http" : "https"}://${this.host}:2379`;
    const [program, ...before] = [...options.inside ?? [], ...command];
    this.#child = new Deno.Command(program!, {
      args: [
        ...before,
        "run",
        ...(options.findsHost ? [] : [`--host=${this.host}`]),
        `--data-dir=${options.dataDir}`,
        ...(options.etcd === null ? [] : [`--etcd-dir=${etcdDir(options.etcd)}`]),
        "--log-format=json",
        ...(options.args ?? []),
      ],
      env: environmentOf(options.environment),
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.#read = this.#readLog();
  }

  get pid(): number {
    return this.#child.pid;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** The etcd that runs now, as its log line says. */
  async etcdPid(): Promise<number> {
    const { stdout } = await new Deno.Command("pgrep", { args: ["-P", String(this.pid), "-x", "etcd"] }).output();
    return Number(new TextDecoder().decode(stdout).trim().split("\n")[0]);
  }

  async client(): Promise<EtcdClient> {
    await enableGrpcTls();
    this.#client ??= await openEtcd({
      endpoints: [this.clientUrl],
      tls: this.#tls,
      clock: systemClock,
      callTimeoutMs: 30_000,
    });
    return this.#client;
  }

  /** Resolves when a linearizable read has succeeded. */
  async healthy(timeoutMs = patienceMs): Promise<void> {
    const client = await this.client();
    await this.eventually("healthy", () => client.ready(this.clientUrl, { timeoutMs: 1_000 }), timeoutMs);
  }

  /** Resolves with the first log line that fits, from `since` on; throws the log when none comes. */
  async logged(fits: (entry: LogEntry) => boolean, { timeoutMs = patienceMs, since = 0 } = {}): Promise<LogEntry> {
    const endMs = performance.now() + timeoutMs;
    for (let at = since;; at++) {
      while (at >= this.log.length) {
        const leftMs = endMs - performance.now();
        if (leftMs <= 0 || this.#ended) throw new Error(`no such log line:\n${this.lines.slice(-40).join("\n")}`);
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, Math.min(leftMs, 1_000));
          this.#waiting.push(() => {
            clearTimeout(timer);
            resolve();
          });
        });
      }
      if (fits(this.log[at]!)) return this.log[at]!;
    }
  }

  async eventually<T>(what: string, attempt: () => Promise<T>, timeoutMs = patienceMs): Promise<T> {
    const endMs = performance.now() + timeoutMs;
    for (;;) {
      try {
        return await attempt();
      } catch (error) {
        if (performance.now() > endMs || this.#ended) {
          throw new Error(`not ${what} in ${timeoutMs} ms: ${error}\n${this.lines.slice(-40).join("\n")}`);
        }
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  kill(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch {
      // It has ended.
    }
  }

  /** Ends as it ends; SIGKILL after `timeoutMs`. */
  async exit(timeoutMs = patienceMs): Promise<number> {
    const timer = setTimeout(() => this.kill("SIGKILL"), timeoutMs);
    const { code } = await this.#child.status;
    clearTimeout(timer);
    await this.#read;
    return code;
  }

  async stop(): Promise<number> {
    this.kill("SIGTERM");
    return await this.exit();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client?.close();
    if (!this.#ended) this.kill("SIGTERM");
    await this.exit(60_000);
  }

  async #readLog(): Promise<void> {
    let rest = "";
    for await (const text of this.#child.stderr.pipeThrough(new TextDecoderStream())) {
      const parts = (rest + text).split("\n");
      rest = parts.pop()!;
      for (const line of parts) {
        this.lines.push(line);
        try {
          this.log.push(JSON.parse(line) as LogEntry);
        } catch {
          this.log.push({ level: "", message: line });
        }
      }
      for (const wake of this.#waiting.splice(0)) wake();
    }
    this.#ended = true;
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

/** True while a process runs; a zombie does not. */
export async function runs(pid: number): Promise<boolean> {
  try {
    const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
    return stat.slice(stat.lastIndexOf(")") + 2)[0] !== "Z";
  } catch {
    return false;
  }
}
