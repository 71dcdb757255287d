/** A real kube-apiserver on an etcd of the test, with requests of its administrator and kubectl. */
import { generateKeyPairSync } from "node:crypto";
import { trustingHttp } from "../../lib/sys/http/http.ts";
import { eventually, freePorts } from "./fixtures.ts";
import { part } from "./parts.ts";

const adminToken = "admin-token-of-a-test";
const logLines = 60;

export interface KubeApiserverOptions {
  /** Its flags for etcd. */
  etcdArgs: readonly string[];
  authorization: "AlwaysAllow" | "RBAC";
  /** Default: a free port. */
  port?: number;
}

/** An answer with an error status. */
export class KubeError extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

export class KubeApiserver implements AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly #directory: string;
  readonly #child: Deno.ChildProcess;
  readonly #drained: Promise<void>;
  readonly #log: string[] = [];
  /** PEM of the CA of its certificate. */
  authority = "";
  #http: ReturnType<typeof trustingHttp> | undefined;

  private constructor(directory: string, port: number, child: Deno.ChildProcess) {
    this.#directory = directory;
    this.port = port;
    this.url = `https://127.0.0.1:${port}`;
    this.#child = child;
    this.#drained = this.#drain();
  }

  /** Resolves when it is ready. `directory` contains its keys: a second start there continues the first one. */
  static async start(directory: string, options: KubeApiserverOptions): Promise<KubeApiserver> {
    const { etcdArgs, authorization, port = freePorts(1)[0]! } = options;
    await Deno.mkdir(directory, { recursive: true });
    await writeKeys(directory);
    const child = new Deno.Command(part("kube-apiserver-1.37.2", "kube-apiserver"), {
      args: [
        ...etcdArgs,
        `--cert-dir=${directory}`,
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        `--secure-port=${port}`,
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--service-account-issuer=https://kubernetes.default.svc",
        `--service-account-key-file=${directory}/sa.key`,
        `--service-account-signing-key-file=${directory}/sa.key`,
        `--token-auth-file=${directory}/tokens.csv`,
        `--authorization-mode=${authorization}`,
        "--disable-admission-plugins=ServiceAccount",
      ],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const api = new KubeApiserver(directory, port, child);
    try {
      // The server creates its own certificate at its first start.
      const authority = await eventually(
        "the certificate of kube-apiserver",
        async () => (await Deno.readTextFile(`${directory}/apiserver.crt`).catch(() => "")) || undefined,
        { everyMs: 200 },
      );
      api.authority = authority;
      api.#http = trustingHttp([authority]);
      await eventually("a ready kube-apiserver", async () => {
        await (await api.open("GET", "/readyz")).body?.cancel();
        return true;
      }, { everyMs: 200 });
      return api;
    } catch (error) {
      const log = api.log;
      await api[Symbol.asyncDispose]();
      throw new Error(`kube-apiserver does not start:\n${log}`, { cause: error });
    }
  }

  /** Its last lines. */
  get log(): string {
    return this.#log.join("\n");
  }

  /** Throws KubeError for every answer with an error status. */
  async open(
    method: string,
    path: string,
    { body, signal = AbortSignal.timeout(30_000) }: { body?: unknown; signal?: AbortSignal } = {},
  ): Promise<Response> {
    const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
    const response = await this.#http!.http(`${this.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${adminToken}`, "content-type": type },
      body: body === undefined ? null : JSON.stringify(body),
      signal,
    });
    if (response.ok) return response;
    throw new KubeError(response.status, `${method} ${path}: ${response.status} ${await response.text()}`);
  }

  async ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    return await (await this.open(method, path, { body })).json();
  }

  /** Returns the output of kubectl; throws its error output. */
  async kubectl(...args: readonly string[]): Promise<string> {
    const { success, stdout, stderr } = await new Deno.Command(part("kubectl-1.37.2", "kubectl"), {
      args: [
        `--server=${this.url}`,
        `--certificate-authority=${this.#directory}/apiserver.crt`,
        `--token=${adminToken}`,
        `--cache-dir=${this.#directory}/kubectl`,
        "--request-timeout=30s",
        ...args,
      ],
      // Without the configuration of the machine's user.
      env: { HOME: this.#directory, KUBECONFIG: "" },
      stdin: "null",
      signal: AbortSignal.timeout(120_000),
    }).output();
    if (!success) throw new Error(`kubectl ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
    return new TextDecoder().decode(stdout);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch { /* It has already ended. */ }
    await this.#child.status;
    await this.#drained;
    this.#http?.close();
  }

  async #drain(): Promise<void> {
    let rest = "";
    for await (const text of this.#child.stderr.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      this.#log.push(...lines);
      this.#log.splice(0, this.#log.length - logLines);
    }
  }
}

/** Writes the key for tokens of service accounts, kept from the first start on, and the administrator's token. */
async function writeKeys(directory: string): Promise<void> {
  const { privateKey } = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  try {
    await Deno.writeTextFile(`${directory}/sa.key`, privateKey, { createNew: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
  }
  await Deno.writeTextFile(`${directory}/tokens.csv`, `${adminToken},admin,1,system:masters\n`);
}
