/** The part of the Compute Engine API that discovery uses: instances by label, with the machine's service account. */
import * as v from "valibot";
import { isE2dError } from "../errors.ts";
import { type CloudPorts, requestJson } from "./request_json.ts";
import { metadataUrlDefault, requestMetadata } from "./request_metadata.ts";
import { CachedToken } from "./cached_token.ts";
import { allPages } from "./pages.ts";

export interface GceConfig {
  apiUrl?: string;
  metadataUrl?: string;
}

export interface GceInstance {
  name: string;
  /** `RUNNING`, `PROVISIONING`, `STAGING`, `STOPPING`, `TERMINATED` … */
  status: string;
  labels: Readonly<Record<string, string>>;
  privateAddress: string | undefined;
}

const pageSize = 500;

const instanceSchema = v.object({
  name: v.string(),
  status: v.string(),
  labels: v.optional(v.record(v.string(), v.string()), {}),
  networkInterfaces: v.optional(v.array(v.object({ networkIP: v.optional(v.string()) })), []),
});
const pageSchema = v.object({
  items: v.optional(v.record(v.string(), v.object({ instances: v.optional(v.array(instanceSchema), []) })), {}),
  nextPageToken: v.optional(v.string()),
});
const tokenSchema = v.object({ access_token: v.string(), expires_in: v.number() });
const pathPart = v.pipe(v.string(), v.trim(), v.regex(/^[A-Za-z0-9.:_-]{1,128}$/));

export class Gce {
  readonly #config: GceConfig;
  readonly #ports: CloudPorts;
  readonly #token: CachedToken;

  constructor(config: GceConfig, ports: CloudPorts) {
    this.#config = config;
    this.#ports = ports;
    this.#token = new CachedToken(ports.clock, async (signal) => {
      const path = "instance/service-accounts/default/token";
      const answer = await this.#metadata(path, tokenSchema, signal, JSON.parse);
      return { token: answer.access_token, lifetimeMs: answer.expires_in * 1000 };
    });
  }

  /** The address in the first network, from the metadata service. */
  async ownPrivateAddress(signal: AbortSignal): Promise<string | undefined> {
    return await this.#metadata("instance/network-interfaces/0/ip", v.pipe(v.string(), v.trim()), signal);
  }

  /** Labels of this instance, from the API: the metadata service does not have them. */
  async ownLabels(signal: AbortSignal): Promise<Readonly<Record<string, string>>> {
    const [project, zone, name] = await Promise.all([
      this.#project(signal),
      // projects/NUMBER/zones/ZONE
      this.#metadata(
        "instance/zone",
        v.pipe(v.string(), v.transform((path) => path.split("/").at(-1)!), pathPart),
        signal,
      ),
      this.#metadata("instance/name", pathPart, signal),
    ]);
    const path = `/compute/v1/projects/${project}/zones/${zone}/instances/${name}`;
    const permission = "compute.instances.get";
    return (await this.#request(`read the instance "${name}"`, path, {}, instanceSchema, permission, signal)).labels;
  }

  /** All instances of the project with all these labels, in any zone. Throws what `requestJson` throws. */
  async instances(labels: readonly { key: string; value: string }[], signal: AbortSignal): Promise<GceInstance[]> {
    const filter = labels.map(({ key, value }) => `(labels.${key} = "${value}")`).join(" ");
    const path = `/compute/v1/projects/${await this.#project(signal)}/aggregated/instances`;
    const action = "list the instances of the project";
    const found = await allPages<v.InferOutput<typeof instanceSchema>, string>(action, async (page) => {
      const query = { filter, maxResults: `${pageSize}`, ...page === undefined ? {} : { pageToken: page } };
      const { items, nextPageToken } = await this.#request(
        action,
        path,
        query,
        pageSchema,
        "compute.instances.list",
        signal,
      );
      return { items: Object.values(items).flatMap(({ instances }) => instances), next: nextPageToken || undefined };
    });
    // The filter language does not define whether an empty value matches an absent label.
    const matching = found.filter((one) => labels.every(({ key, value }) => one.labels[key] === value));
    return matching.map(({ name, status, labels, networkInterfaces }) => ({
      name,
      status,
      labels,
      privateAddress: networkInterfaces[0]?.networkIP,
    }));
  }

  #project(signal: AbortSignal): Promise<string> {
    return this.#metadata("project/project-id", pathPart, signal);
  }

  #metadata<Schema extends v.GenericSchema>(
    path: string,
    schema: Schema,
    signal: AbortSignal,
    parse: (text: string) => unknown = (text) => text,
  ) {
    const url = new URL(`/computeMetadata/v1/${path}`, this.#config.metadataUrl ?? metadataUrlDefault);
    const headers = { "metadata-flavor": "Google" };
    return requestMetadata({ cloud: "Google Compute Engine", url, headers, schema, parse }, this.#ports, signal);
  }

  async #request<Schema extends v.GenericSchema>(
    action: string,
    path: string,
    query: Record<string, string>,
    schema: Schema,
    permission: string,
    signal: AbortSignal,
  ) {
    const token = await this.#token.get(signal);
    const url = new URL(path, this.#config.apiUrl ?? "https://compute.googleapis.com");
    url.search = `${new URLSearchParams(query)}`;
    const question = {
      action,
      url,
      headers: { authorization: `Bearer ${token}` },
      schema,
      permission,
      credential: "the service account of this instance and its access scope (compute-ro)",
      secrets: [token],
    };
    try {
      return await requestJson(question, this.#ports, signal);
    } catch (error) {
      if (isE2dError(error, "cloud_unauthorized")) this.#token.invalidate();
      throw error;
    }
  }
}
