/** A real kube-apiserver with RBAC on a real etcd, both on loopback. Pods exist only as objects. */
import { KubeApiserver } from "../support/kube_apiserver.ts";
import { PlainCluster } from "./plain_cluster.ts";

export class KubeApi implements AsyncDisposable {
  readonly #etcd: PlainCluster;
  readonly #directory: string;
  #server: KubeApiserver;

  private constructor(etcd: PlainCluster, directory: string, server: KubeApiserver) {
    this.#etcd = etcd;
    this.#directory = directory;
    this.#server = server;
  }

  static async start(directory: string): Promise<KubeApi> {
    const etcd = await PlainCluster.start({ directory, size: 1 });
    try {
      return new KubeApi(etcd, directory, await startServer(etcd, directory));
    } catch (error) {
      await etcd[Symbol.asyncDispose]();
      throw error;
    }
  }

  get url(): string {
    return this.#server.url;
  }

  /** PEM of the CA of the server's certificate. */
  get authority(): string {
    return this.#server.authority;
  }

  /** Kills the server and starts it again on the same data. */
  async restart(): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
    this.#server = await startServer(this.#etcd, this.#directory, this.#server.port);
  }

  async ask(method: string, path: string, body?: unknown): Promise<unknown> {
    return await this.#server.ask(method, path, body);
  }

  /** A namespace with a service account that may use these verbs on pods; returns a token of it. */
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

  /** A pod with an address, as the kubelet reports it; without one it is pending. */
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
    await this.#server[Symbol.asyncDispose]();
    await this.#etcd[Symbol.asyncDispose]();
  }
}

function startServer(etcd: PlainCluster, directory: string, port?: number): Promise<KubeApiserver> {
  return KubeApiserver.start(directory, {
    etcdArgs: [`--etcd-servers=${etcd.members[0]!.clientUrl}`],
    authorization: "RBAC",
    ...(port === undefined ? {} : { port }),
  });
}
