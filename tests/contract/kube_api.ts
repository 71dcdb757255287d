/** A real kube-apiserver with RBAC on a real etcd, both on loopback. Pods are put into it as objects: nothing runs them. */
import { generateKeyPairSync } from "node:crypto";
import { trustingHttp } from "../../lib/sys/http.ts";
import { eventually, freePorts } from "../support/fixtures.ts";
import { part } from "../support/parts.ts";
import { PlainCluster } from "./plain_cluster.ts";

const adminToken = "admin-token-of-a-test";

export class KubeApi implements AsyncDisposable {
  readonly url: string;
  /** PEM of what the server's certificate is signed by. */
  readonly authority: string;
  readonly #etcd: PlainCluster;
  readonly #admin: ReturnType<typeof trustingHttp>;
  readonly #directory: string;
  readonly #port: number;
  #process: Deno.ChildProcess | undefined;

  private constructor(etcd: PlainCluster, directory: string, port: number, authority: string) {
    this.#etcd = etcd;
    this.#directory = directory;
    this.#port = port;
    this.url = `https://127.0.0.1:${port}`;
    this.authority = authority;
    this.#admin = trustingHttp([authority]);
  }

  static async start(directory: string): Promise<KubeApi> {
    const etcd = await PlainCluster.start({ directory, size: 1 });
    const { privateKey } = generateKeyPairSync("rsa", {
      modulusLength: 2048,
      privateKeyEncoding: { type: "pkcs8", format: "pem" },
      publicKeyEncoding: { type: "spki", format: "pem" },
    });
    await Deno.writeTextFile(`${directory}/sa.key`, privateKey);
    await Deno.writeTextFile(`${directory}/tokens.csv`, `${adminToken},admin,1,system:masters\n`);
    const [port] = freePorts(1);
    const child = spawn(etcd, directory, port!);
    try {
      // The server signs for itself at its first start.
      const authority = await eventually(
        "the certificate of kube-apiserver",
        async () => (await Deno.readTextFile(`${directory}/apiserver.crt`).catch(() => "")) || undefined,
      );
      const api = new KubeApi(etcd, directory, port!, authority);
      api.#process = child;
      await api.#ready();
      return api;
    } catch (error) {
      child.kill("SIGKILL");
      await child.status;
      await etcd[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Its end as that of a machine, and its start on the same data. */
  async restart(): Promise<void> {
    await this.#stop();
    this.#process = spawn(this.#etcd, this.#directory, this.#port);
    await this.#ready();
  }

  async ask(method: string, path: string, body?: unknown): Promise<unknown> {
    const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
    const response = await this.#admin.http(`${this.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${adminToken}`, "content-type": type },
      body: body === undefined ? null : JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return JSON.parse(text);
  }

  /** A namespace with a service account that may use these verbs on pods; gives a token of it. */
  async account(namespace: string, verbs: readonly string[], lifeS = 3600): Promise<string> {
    const meta = { name: "e2d" };
    const rbac = `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}`;
    await this.ask("POST", "/api/v1/namespaces", { metadata: { name: namespace } });
    await this.ask("POST", `/api/v1/namespaces/${namespace}/serviceaccounts`, { metadata: meta });
    await this.ask("POST", `${rbac}/roles`, {
      metadata: meta,
      rules: [{ apiGroups: [""], resources: ["pods"], verbs }],
    });
    await this.ask("POST", `${rbac}/rolebindings`, {
      metadata: meta,
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "e2d" },
      subjects: [{ kind: "ServiceAccount", name: "e2d", namespace }],
    });
    return await this.token(namespace, lifeS);
  }

  async token(namespace: string, lifeS = 3600): Promise<string> {
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts/e2d/token`;
    const answer = await this.ask("POST", path, { spec: { expirationSeconds: lifeS } });
    return (answer as { status: { token: string } }).status.token;
  }

  /** A pod with an address, as the kubelet would have told; without one it is still pending. */
  async pod(namespace: string, name: string, labels: Record<string, string>, address?: string): Promise<void> {
    const pods = `/api/v1/namespaces/${namespace}/pods`;
    await this.ask("POST", pods, {
      metadata: { name, labels },
      spec: { containers: [{ name: "e2d", image: "e2d" }], nodeName: "n1" },
    });
    if (address !== undefined) await this.status(namespace, name, { phase: "Running", podIP: address });
  }

  async status(namespace: string, name: string, status: { phase: string; podIP?: string }): Promise<void> {
    const { podIP } = status;
    const full = podIP === undefined ? status : { ...status, podIPs: [{ ip: podIP }] };
    await this.ask("PATCH", `/api/v1/namespaces/${namespace}/pods/${name}/status`, { status: full });
  }

  async delete(namespace: string, name: string, graceS: number): Promise<void> {
    await this.ask("DELETE", `/api/v1/namespaces/${namespace}/pods/${name}`, { gracePeriodSeconds: graceS });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
    this.#admin.close();
    await this.#etcd[Symbol.asyncDispose]();
  }

  async #ready(): Promise<void> {
    await eventually("kube-apiserver", async () => {
      const response = await this.#admin.http(`${this.url}/readyz`, {
        headers: { authorization: `Bearer ${adminToken}` },
      });
      await response.body?.cancel();
      return response.ok;
    }, { timeoutMs: 90_000 });
  }

  async #stop(): Promise<void> {
    try {
      this.#process?.kill("SIGKILL");
    } catch { /* It has ended by itself. */ }
    await this.#process?.status;
  }
}

function spawn(etcd: PlainCluster, directory: string, port: number): Deno.ChildProcess {
  return new Deno.Command(part("kube-apiserver-1.37.2", "kube-apiserver"), {
    args: [
      `--etcd-servers=${etcd.members[0]!.clientUrl}`,
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
      "--authorization-mode=RBAC",
      "--disable-admission-plugins=ServiceAccount",
    ],
    stdout: "null",
    stderr: "null",
  }).spawn();
}
