/**
 * The part of the Kubernetes API that discovery uses: lists and watches pods by label, with the pod's service account.
 * The token, the namespace and the cluster's CA are read again for each request, because they change while a pod runs.
 */
import * as v from "valibot";
import { E2dError, isE2dError } from "../errors.ts";
import type { Clock, Files, Http, Random } from "../ports.ts";
import { connectionError, errorDetail, exchange, type HttpAnswer } from "./exchange.ts";
import { linesOf } from "./lines_of.ts";
import { allPages } from "./pages.ts";
import { ThrottledError } from "./throttled_error.ts";
import { withDeadline } from "./with_deadline.ts";
import { withRetries } from "./with_retries.ts";

export interface KubernetesPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly files: Pick<Files, "readText">;
  readonly http: Http;
  /** Creates a client that trusts these CAs (PEM). Absent: `http` is used, which trusts the system's CAs only. */
  readonly trustingHttp?: ((authorities: readonly string[]) => { http: Http; close(): void }) | undefined;
  readonly environment: (name: string) => string | undefined;
}

export interface Pod {
  name: string;
  labels: Readonly<Record<string, string>>;
  /** It has an address, has not ended and is not being deleted. */
  alive: boolean;
  address: string | undefined;
}

export interface PodList {
  pods: readonly Pod[];
  /** The resource version at which `watch` continues. */
  version: string;
}

export type PodEvent =
  | { kind: "present"; pod: Pod; version: string }
  | { kind: "gone"; name: string; version: string }
  | { kind: "bookmark"; version: string }
  /** The requested version is no longer available (410): list again. */
  | { kind: "too-old" };

const accountPath = "/var/run/secrets/kubernetes.io/serviceaccount";
const timeoutMs = 10_000;
const pageSize = 100;
/** The server ends a watch after `watchS`, which is not an error; e2d ends it after `watchMaxMs` if the server does not. */
const watchS = 240;
const watchMaxMs = 270_000;
const eventBytesMax = 4 * 1024 * 1024;

const podSchema = v.object({
  metadata: v.object({
    name: v.string(),
    resourceVersion: v.optional(v.string(), ""),
    labels: v.optional(v.record(v.string(), v.string()), {}),
    deletionTimestamp: v.nullish(v.string()),
  }),
  status: v.optional(v.object({ phase: v.optional(v.string()), podIP: v.optional(v.string()) }), {}),
});
const listSchema = v.object({
  metadata: v.object({ resourceVersion: v.string(), continue: v.optional(v.string()) }),
  items: v.array(podSchema),
});
const eventSchema = v.variant("type", [
  v.object({ type: v.picklist(["ADDED", "MODIFIED", "DELETED"]), object: podSchema }),
  v.object({ type: v.literal("BOOKMARK"), object: v.object({ metadata: v.object({ resourceVersion: v.string() }) }) }),
  v.object({
    type: v.literal("ERROR"),
    object: v.object({ code: v.optional(v.number()), message: v.optional(v.string(), "") }),
  }),
]);
const statusSchema = v.pipe(v.string(), v.parseJson(), v.object({ message: v.string() }));

interface Access {
  http: Http;
  token: string;
  namespace: string;
}

export class Kubernetes {
  readonly #origin: string;
  readonly #ports: KubernetesPorts;

  /** Throws E2dError `k8s_outside` outside of a pod, unless `apiUrl` is given. */
  constructor({ apiUrl }: { apiUrl?: string | undefined }, ports: KubernetesPorts) {
    this.#ports = ports;
    this.#origin = apiUrl ?? inClusterOrigin(ports.environment);
  }

  /** This pod. Throws what `list` throws, and E2dError `cloud_not_found`. */
  async ownPod(signal: AbortSignal): Promise<Pod> {
    const name = this.#ports.environment("POD_NAME") || this.#ports.environment("HOSTNAME");
    if (!name) {
      throw new E2dError("k8s_outside", "Cannot find this pod: neither POD_NAME nor HOSTNAME is set");
    }
    return await this.#withAccess(async (access) => {
      const path = `/${encodeURIComponent(name)}`;
      return podOf(await this.#request({ verb: "get", path, query: {}, schema: podSchema }, access, signal));
    });
  }

  /**
   * All pods of this pod's namespace with these labels. Throws E2dError `cloud_forbidden` (names verb and resource),
   * `cloud_unauthorized`, `cloud_throttled`, `cloud_failed`, `cloud_refused`, `k8s_account` when the service account is
   * not mounted, and what `exchange` throws.
   */
  async list(labels: readonly { key: string; value: string }[], signal: AbortSignal): Promise<PodList> {
    return await this.#withAccess(async (access) => {
      // All pages of a list show one resource version, which expires (410): then the list starts again.
      for (let again = 2;; again--) {
        try {
          return await this.#listOnce(selectorOf(labels), access, signal);
        } catch (error) {
          if (!isE2dError(error, "k8s_too_old") || again === 0) throw error;
        }
      }
    });
  }

  /**
   * Changes of these pods after `version`; ends when the server ends the watch or the connection breaks. Throws as `list`
   * does when the watch does not start, and E2dError `cloud_answer` for an invalid event.
   */
  async *watch(
    labels: readonly { key: string; value: string }[],
    version: string,
    signal: AbortSignal,
  ): AsyncGenerator<PodEvent> {
    const access = await this.#access();
    const over = new AbortController();
    const limited = AbortSignal.any([signal, over.signal]);
    this.#ports.clock.sleep(watchMaxMs, limited).then(() => over.abort(), () => {});
    try {
      const response = await this.#openWatch(selectorOf(labels), version, access, limited);
      const lines = linesOf(response.body, { bytesMax: eventBytesMax, what: "an event of the pods" });
      for (;;) {
        let line: IteratorResult<string>;
        try {
          line = await lines.next();
        } catch (error) {
          signal.throwIfAborted();
          if (isE2dError(error)) throw error;
          return;
        }
        if (line.done) return;
        yield this.#eventOf(line.value);
      }
    } finally {
      // Frees the connection of a response that is not read to its end, and the timer.
      over.abort();
      access.close();
    }
  }

  async #listOnce(labelSelector: string, access: Access, signal: AbortSignal): Promise<PodList> {
    let version = "";
    const pods = await allPages<Pod, string>("list the pods", async (page) => {
      const query = { labelSelector, limit: `${pageSize}`, ...page === undefined ? {} : { continue: page } };
      const { metadata, items } = await this.#request({ verb: "list", query, schema: listSchema }, access, signal);
      version = metadata.resourceVersion;
      return { items: items.map(podOf), next: metadata.continue || undefined };
    });
    return { pods, version };
  }

  async #openWatch(
    labelSelector: string,
    resourceVersion: string,
    access: Access,
    signal: AbortSignal,
  ): Promise<Response> {
    const query = {
      watch: "1",
      allowWatchBookmarks: "true",
      timeoutSeconds: `${watchS}`,
      labelSelector,
      resourceVersion,
    };
    const url = this.#url(access, "", query);
    const timeoutError = () => new E2dError("cloud_timeout", `Cannot watch the pods at "${url.origin}": no answer`);
    const deadline = { ms: timeoutMs, clock: this.#ports.clock, signal, timeoutError };
    // This deadline covers the head of the response; the body has its own.
    const response = await withDeadline(deadline, async () => {
      try {
        return await access.http(url, { headers: headersOf(access), redirect: "manual", signal });
      } catch (cause) {
        signal.throwIfAborted();
        throw connectionError(`Cannot watch the pods at "${url.origin}"`, cause);
      }
    });
    if (response.status === 200) return response;
    const text = await response.text().catch(() => "");
    throw this.#errorOf("watch", { status: response.status, headers: response.headers, text }, access);
  }

  #eventOf(line: string): PodEvent {
    const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), eventSchema), line);
    if (!parsed.success) {
      throw new E2dError("cloud_answer", "Cannot watch the pods: an event is truncated or malformed");
    }
    const event = parsed.output;
    switch (event.type) {
      case "ADDED":
      case "MODIFIED":
        return { kind: "present", pod: podOf(event.object), version: event.object.metadata.resourceVersion };
      case "DELETED": {
        const { name, resourceVersion } = event.object.metadata;
        return { kind: "gone", name, version: resourceVersion };
      }
      case "BOOKMARK":
        return { kind: "bookmark", version: event.object.metadata.resourceVersion };
      case "ERROR":
        if (event.object.code === 410) return { kind: "too-old" };
        throw new E2dError("cloud_failed", `Cannot watch the pods: ${errorDetail(event.object.message)}`);
      default:
        return event satisfies never;
    }
  }

  async #request<Schema extends v.GenericSchema>(
    { verb, path = "", query, schema }: {
      verb: "get" | "list";
      path?: string;
      query: Record<string, string>;
      schema: Schema;
    },
    access: Access,
    signal: AbortSignal,
  ): Promise<v.InferOutput<Schema>> {
    const action = `${verb} the pods of the namespace "${access.namespace}"`;
    const url = this.#url(access, path, query);
    const ports = { http: access.http, clock: this.#ports.clock };
    return await withRetries({ ...this.#ports, signal }, async () => {
      const answer = await exchange({ action, url, headers: headersOf(access), timeoutMs }, ports, signal);
      if (answer.status !== 200) throw this.#errorOf(verb, answer, access);
      const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), schema), answer.text);
      if (parsed.success) return parsed.output;
      throw new E2dError("cloud_answer", `Cannot ${action}: the response of "${url.origin}" is truncated or malformed`);
    });
  }

  #errorOf(
    verb: "get" | "list" | "watch",
    { status, headers, text }: HttpAnswer,
    { token, namespace }: Access,
  ): E2dError {
    const parsed = v.safeParse(statusSchema, text);
    const detail = parsed.success ? errorDetail(parsed.output.message, [token]) : "";
    const cannot = `Cannot ${verb} the pods of the namespace "${namespace}"`;
    const suffix = detail === "" ? "" : `: ${detail}`;
    switch (status) {
      case 401:
        return new E2dError(
          "cloud_unauthorized",
          `${cannot}: the token of the service account is refused (401)${suffix}`,
          {
            hint: "check that the service account exists, and that the clock of the node is right",
          },
        );
      case 403:
        return new E2dError(
          "cloud_forbidden",
          `${cannot}: the verb "${verb}" on the resource "pods" is not permitted (403)${suffix}`,
          { hint: `allow "${verb}" on "pods" in a Role of "${namespace}", and bind it to the pod's service account` },
        );
      case 404:
        return new E2dError("cloud_not_found", `${cannot}: the resource does not exist (404)${suffix}`);
      case 410:
        return new E2dError("k8s_too_old", `${cannot}: the resource version has expired (410)${suffix}`);
      case 429: {
        const seconds = Number(headers.get("retry-after") ?? NaN);
        return new ThrottledError(
          `${cannot}: the API server throttles requests (429)${suffix}`,
          seconds >= 0 ? seconds * 1000 : undefined,
        );
      }
      default:
        return status >= 500
          ? new E2dError("cloud_failed", `${cannot}: the API server reports an internal error (${status})${suffix}`)
          : new E2dError("cloud_refused", `${cannot}: the response status is ${status}${suffix}`);
    }
  }

  #url({ namespace }: Access, path: string, query: Record<string, string>): URL {
    const url = new URL(`/api/v1/namespaces/${encodeURIComponent(namespace)}/pods${path}`, this.#origin);
    url.search = `${new URLSearchParams(query)}`;
    return url;
  }

  async #withAccess<T>(work: (access: Access) => Promise<T>): Promise<T> {
    const access = await this.#access();
    try {
      return await work(access);
    } finally {
      access.close();
    }
  }

  async #access(): Promise<Access & { close(): void }> {
    const { files, http, trustingHttp } = this.#ports;
    const read = async (name: string) => {
      const text = (await files.readText(`${accountPath}/${name}`))?.trim();
      if (text) return text;
      throw new E2dError("k8s_account", `Cannot read "${accountPath}/${name}": the file does not exist`, {
        hint: "set serviceAccountName in the pod, and do not disable automountServiceAccountToken",
      });
    };
    const [token, namespace, authority] = [await read("token"), await read("namespace"), await read("ca.crt")];
    if (!/^[\x21-\x7e]+$/.test(token)) {
      throw new E2dError("k8s_account", `Cannot use "${accountPath}/token": it is not a token`);
    }
    return { token, namespace, ...trustingHttp?.([authority]) ?? { http, close() {} } };
  }
}

function inClusterOrigin(environment: KubernetesPorts["environment"]): string {
  const host = environment("KUBERNETES_SERVICE_HOST");
  const port = environment("KUBERNETES_SERVICE_PORT_HTTPS") || environment("KUBERNETES_SERVICE_PORT") || "443";
  const url = host ? URL.parse(`https://${host.includes(":") ? `[${host}]` : host}:${port}`) : null;
  if (url !== null) return url.origin;
  throw new E2dError("k8s_outside", "Cannot find the Kubernetes API: KUBERNETES_SERVICE_HOST is not set", {
    hint: "run e2d in a pod, or choose another method with --peer-discovery",
  });
}

function headersOf({ token }: Access): Record<string, string> {
  return { authorization: `Bearer ${token}`, accept: "application/json" };
}

const selectorOf = (labels: readonly { key: string; value: string }[]) =>
  labels.map(({ key, value }) => `${key}=${value}`).join(",");

function podOf({ metadata, status }: v.InferOutput<typeof podSchema>): Pod {
  const { name, labels, deletionTimestamp } = metadata;
  const { phase, podIP } = status;
  const ended = phase === "Failed" || phase === "Succeeded" || Boolean(deletionTimestamp);
  return { name, labels, address: podIP || undefined, alive: Boolean(podIP) && !ended };
}
