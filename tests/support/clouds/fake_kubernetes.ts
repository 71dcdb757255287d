/** Pods of one namespace in memory: lists in pages, single pods, and watches that continue from a version. */
import { FakeCloud } from "./fake_cloud.ts";

export interface FakePod {
  name: string;
  address?: string;
  labels: Readonly<Record<string, string>>;
  phase?: string;
  terminating?: boolean;
}

type Change = { type: string; version: number; pod: FakePod };

export class FakeKubernetes extends FakeCloud {
  readonly namespace = "databases";
  pods = new Map<string, FakePod>();
  #version = 100;
  readonly #changes: Change[] = [];
  readonly #watchers = new Set<{ send(line: unknown): void; end(): void; break(): void }>();
  /** The first version from which a watch may still continue. */
  oldest = 0;
  /** Verbs that the service account may not use. */
  readonly forbidden = new Set<string>();
  /** How often a page of a list is answered with 410. */
  pagesTooOld = 0;
  /** If set, requests with another token are refused first. */
  bearer: string | undefined;

  get watching(): number {
    return this.#watchers.size;
  }

  set(pod: FakePod): void {
    this.#publish({ type: this.pods.has(pod.name) ? "MODIFIED" : "ADDED", version: ++this.#version, pod });
    this.pods.set(pod.name, pod);
  }

  delete(name: string): void {
    const pod = this.pods.get(name)!;
    this.pods.delete(name);
    this.#publish({ type: "DELETED", version: ++this.#version, pod });
  }

  /** Changes before now are no longer available to watches. */
  compact(): void {
    this.oldest = ++this.#version;
  }

  bookmark(): void {
    const line = { type: "BOOKMARK", object: { kind: "Pod", metadata: { resourceVersion: `${++this.#version}` } } };
    for (const watcher of this.#watchers) watcher.send(line);
  }

  send(line: unknown): void {
    for (const watcher of this.#watchers) watcher.send(line);
  }

  endWatches(how: "end" | "break" = "end"): void {
    for (const watcher of [...this.#watchers]) watcher[how]();
    this.#watchers.clear();
  }

  protected isMetadata = () => false;
  protected metadata = () => undefined;
  protected error = (code: number, message: string) => ({ kind: "Status", status: "Failure", message, code });

  protected api(url: URL, request: Request): Response | undefined {
    const base = `/api/v1/namespaces/${this.namespace}/pods`;
    const query = url.searchParams;
    const verb = url.pathname !== base ? "get" : query.has("watch") ? "watch" : "list";
    if (this.forbidden.has(verb)) {
      return this.failure(403, `pods is forbidden: User "system:serviceaccount:x" cannot ${verb} resource "pods"`);
    }
    const labels = (query.get("labelSelector") ?? "").split(",").filter(Boolean).map((pair) => pair.split("="));
    const matches = (pod: FakePod) => labels.every(([key, value]) => pod.labels[key!] === value);
    if (verb === "get") {
      const pod = this.pods.get(decodeURIComponent(url.pathname.slice(base.length + 1)));
      return pod === undefined ? undefined : Response.json(objectOf(pod, this.#version));
    }
    if (verb === "watch") return this.#watch(Number(query.get("resourceVersion")), matches, request.signal);
    if (query.has("continue") && this.pagesTooOld-- > 0) {
      return this.failure(410, "The provided continue parameter is too old");
    }
    const [from, size] = [Number(query.get("continue") ?? 0), Number(query.get("limit") ?? 1e9)];
    const found = [...this.pods.values()].filter(matches);
    const next = from + size < found.length ? { continue: `${from + size}` } : {};
    return Response.json({
      kind: "PodList",
      metadata: { resourceVersion: `${this.#version}`, ...next },
      items: found.slice(from, from + size).map((pod) => objectOf(pod, this.#version)),
    });
  }

  #watch(version: number, matches: (pod: FakePod) => boolean, signal: AbortSignal): Response {
    const tooOld = { type: "ERROR", object: this.error(410, "too old resource version") };
    const encoder = new TextEncoder();
    const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
      start: (controller) => {
        const send = (line: unknown) => {
          const bytes = encoder.encode(`${JSON.stringify(line)}\n`);
          // Events need not arrive in one piece.
          controller.enqueue(bytes.slice(0, 7));
          controller.enqueue(bytes.slice(7));
        };
        if (version < this.oldest) {
          send(tooOld);
          return controller.close();
        }
        const watcher = {
          send: (line: unknown) => {
            const pod = (line as { pod?: FakePod }).pod;
            if (pod === undefined) send(line);
            else if (matches(pod)) {
              const { type, version } = line as Change;
              send({ type, object: objectOf(pod, version) });
            }
          },
          end: () => controller.close(),
          break: () => controller.error(new TypeError("error reading a body from connection")),
        };
        for (const change of this.#changes) if (change.version > version) watcher.send(change);
        this.#watchers.add(watcher);
        signal.addEventListener("abort", () => {
          if (this.#watchers.delete(watcher)) controller.error(signal.reason);
        });
      },
    });
    return new Response(body);
  }

  #publish(change: Change): void {
    this.#changes.push(change);
    for (const watcher of this.#watchers) watcher.send(change);
  }
}

function objectOf({ name, address, labels, phase = "Running", terminating }: FakePod, version: number) {
  return {
    kind: "Pod",
    metadata: {
      name,
      labels,
      resourceVersion: `${version}`,
      ...terminating ? { deletionTimestamp: "2026-01-01T00:00:00Z" } : {},
    },
    status: { phase, ...address === undefined ? {} : { podIP: address } },
  };
}
