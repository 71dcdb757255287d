/**
 * Clients of a Kubernetes API that never stop: writers that record acknowledged writes, and an informer like those of
 * controllers, which lists, watches, and lists again when its version is too old.
 */
import { type KubeApiserver, KubeError } from "../support/kube_apiserver.ts";
import { lost } from "../support/second_look.ts";
import { assertEquals } from "../support/assert.ts";
import { eventually } from "../support/fixtures.ts";

const configMaps = "/api/v1/namespaces/default/configmaps";

interface ConfigMap {
  metadata: { name: string; resourceVersion: string };
  data?: Record<string, string>;
}

interface ConfigMapList {
  metadata: { resourceVersion: string };
  items: ConfigMap[];
}

/** `revision` is the revision of etcd, which is the resourceVersion of Kubernetes. */
export interface Stored {
  readonly revision: number;
  readonly count: number;
}

const storedOf = ({ metadata, data }: ConfigMap): Stored => ({
  revision: Number(metadata.resourceVersion),
  count: Number(data?.count),
});

const configMap = (name: string, count: number) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name },
  data: { count: String(count) },
});

export async function create(api: KubeApiserver, name: string): Promise<Stored> {
  return storedOf(await api.ask<ConfigMap>("POST", configMaps, configMap(name, 1)));
}

/** With `fromCache` the server answers from memory, as for a new informer. */
export async function list(
  api: KubeApiserver,
  { fromCache = false } = {},
): Promise<{ revision: number; items: Map<string, Stored> }> {
  const query = fromCache ? "?resourceVersion=0" : "";
  const { metadata, items } = await api.ask<ConfigMapList>("GET", `${configMaps}${query}`);
  // The namespace also has one of Kubernetes itself.
  const counted = items.filter(({ data }) => data?.count !== undefined);
  return {
    revision: Number(metadata.resourceVersion),
    items: new Map(counted.map((item) => [item.metadata.name, storedOf(item)])),
  };
}

export class KubeWriters implements AsyncDisposable {
  /** The newest acknowledged write of each name. */
  readonly #newest = new Map<string, Stored>();
  /** Reads that returned less than was acknowledged before. */
  readonly #backward: { name: string; acknowledged: Stored; read: Stored | undefined }[] = [];
  readonly #api: KubeApiserver;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>[];
  #acknowledged = 0;
  #byKubectl = 0;
  /** Requests may fail, for example at a change of leader. */
  #lastFailure: unknown;

  /** `round` is the prefix of the names of their objects. */
  constructor(api: KubeApiserver, readonly round: string, count = 3) {
    this.#api = api;
    this.#running = [
      ...Array.from({ length: count }, (_, id) => this.#run(id)),
      this.#runKubectl(),
    ];
  }

  /** Resolves when writes of each kind have been acknowledged from now on. */
  async goOn(): Promise<void> {
    const [all, byKubectl] = [this.#acknowledged, this.#byKubectl];
    await eventually("writes that go on", () => {
      if (this.#acknowledged > all + 20 && this.#byKubectl > byKubectl) return true;
      throw this.#lastFailure;
    });
  }

  /** Resolves when no request is in flight any more. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
  }

  /** Asserts that the server has every acknowledged write, and that no read was older than the write before it. */
  async check(): Promise<void> {
    const { items } = await list(this.#api);
    const missing = [...this.#newest].filter(([name, { count }]) => (items.get(name)?.count ?? 0) < count);
    assertEquals(missing, [], `${lost}${missing.length} acknowledged writes: ${JSON.stringify(missing.slice(0, 10))}`);
    assertEquals(this.#backward, [], `${lost}reads behind writes`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** Creates, changes twice, and reads after each; the outcome of a failure is unknown, and its name is not used again. */
  async #run(id: number): Promise<void> {
    for (let number = 0; !this.#stop.signal.aborted; number++) {
      const name = `${this.round}-${id}-${number}`;
      try {
        await this.#write(name, () => this.#api.ask("POST", configMaps, configMap(name, 1)));
        for (const count of [2, 3]) {
          await pause(50);
          const data = { count: String(count) };
          await this.#write(name, () => this.#api.ask("PATCH", `${configMaps}/${name}`, { data }));
        }
      } catch (error) {
        this.#lastFailure = error;
      }
      await pause(100);
    }
  }

  async #runKubectl(): Promise<void> {
    for (let number = 0; !this.#stop.signal.aborted; number++) {
      const name = `${this.round}-kubectl-${number}`;
      const json = async (...args: string[]) =>
        JSON.parse(await this.#api.kubectl(...args, "--output=json")) as ConfigMap;
      try {
        await this.#write(
          name,
          () => json("create", "configmap", name, "--from-literal=count=1"),
          () => json("get", "configmap", name),
        );
        this.#byKubectl++;
      } catch (error) {
        this.#lastFailure = error;
      }
      await pause(500);
    }
  }

  async #write(
    name: string,
    write: () => Promise<ConfigMap>,
    read = () => this.#api.ask<ConfigMap>("GET", `${configMaps}/${name}`),
  ): Promise<void> {
    const acknowledged = storedOf(await write());
    this.#newest.set(name, acknowledged);
    this.#acknowledged++;
    let found: Stored | undefined;
    try {
      found = storedOf(await read());
    } catch (error) {
      const absent = error instanceof KubeError ? error.status === 404 : /NotFound/.test(String(error));
      if (!absent) throw error;
    }
    if (found === undefined || found.revision < acknowledged.revision || found.count < acknowledged.count) {
      this.#backward.push({ name, acknowledged, read: found });
    }
  }
}

type WatchEvent =
  | { type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK"; object: ConfigMap }
  | { type: "ERROR"; object: { code: number; message: string } };

/** Time for which the server keeps one watch. */
const watchS = 30;

/** Like that of client-go: it lists first from the server's cache, and after "too old" with a consistent read. */
export class Informer implements AsyncDisposable {
  /** The objects in its cache. */
  readonly items = new Map<string, Stored>();
  /** The newest revision that it received. */
  revision = 0;
  /** Revisions at which it listed; one more each time its own was too old. */
  readonly listed: number[] = [];
  readonly expired: { revision: number; message: string }[] = [];
  /** Violations: revisions that decrease, and unexpected errors other than "too old" and server failures. */
  readonly disorder: string[] = [];
  readonly #api: KubeApiserver;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(api: KubeApiserver) {
    this.#api = api;
    this.#running = this.#run();
  }

  /** Resolves when its cache equals the objects of the server. */
  async agrees(): Promise<void> {
    const { items } = await list(this.#api);
    const now = () => [...this.items].sort(([a], [b]) => a < b ? -1 : 1);
    const wanted = JSON.stringify([...items].sort(([a], [b]) => a < b ? -1 : 1));
    await eventually("an informer that has seen all", () => JSON.stringify(now()) === wanted);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    let listing = true;
    while (!this.#stop.signal.aborted) {
      try {
        if (listing) await this.#list();
        listing = false;
        await this.#watch();
      } catch (error) {
        if (error instanceof KubeError && error.status === 410) {
          this.expired.push({ revision: this.revision, message: error.message });
          listing = true;
        } else if (error instanceof KubeError && error.status < 500 && error.status !== 429) {
          this.disorder.push(error.message);
        }
      }
      // The watch ended normally, or the server does not answer now.
      await pause(200);
    }
  }

  async #list(): Promise<void> {
    const { revision, items } = await list(this.#api, { fromCache: this.listed.length === 0 });
    if (revision < this.revision) this.disorder.push(`listed at ${revision} after ${this.revision}`);
    this.items.clear();
    for (const [name, stored] of items) this.items.set(name, stored);
    this.revision = revision;
    this.listed.push(revision);
  }

  async #watch(): Promise<void> {
    const query = `?watch=1&allowWatchBookmarks=true&timeoutSeconds=${watchS}&resourceVersion=${this.revision}`;
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(2 * watchS * 1_000)]);
    const { body } = await this.#api.open("GET", `${configMaps}${query}`, { signal });
    let rest = "";
    for await (const text of body!.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) this.#take(JSON.parse(line) as WatchEvent);
    }
  }

  #take(event: WatchEvent): void {
    if (event.type === "ERROR") throw new KubeError(event.object.code, event.object.message);
    const { name, resourceVersion } = event.object.metadata;
    const revision = Number(resourceVersion);
    if (revision < this.revision) this.disorder.push(`${event.type} "${name}" at ${revision} after ${this.revision}`);
    this.revision = Math.max(this.revision, revision);
    switch (event.type) {
      case "ADDED":
      case "MODIFIED":
        if (event.object.data?.count !== undefined) this.items.set(name, storedOf(event.object));
        return;
      case "DELETED":
        this.items.delete(name);
        return;
      case "BOOKMARK":
        return;
      default:
        event satisfies never;
    }
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
