/** The part of the Hetzner Cloud API that discovery uses: servers by label, and the server that this node runs on. */
import * as v from "valibot";
import { type CloudPorts, requestJson } from "./request_json.ts";
import { metadataUrlDefault, requestMetadata } from "./request_metadata.ts";
import { allPages } from "./pages.ts";

export interface HetznerConfig {
  token: string;
  apiUrl?: string;
  metadataUrl?: string;
}

export interface HetznerServer {
  id: number;
  /** `running`, `off`, `starting` … */
  status: string;
  labels: Readonly<Record<string, string>>;
  privateNets: readonly { network: number; address: string }[];
}

/** The maximum of the API. */
const pageSize = 50;

const serverSchema = v.object({
  id: v.number(),
  status: v.string(),
  labels: v.record(v.string(), v.string()),
  private_net: v.optional(v.array(v.object({ network: v.number(), ip: v.string() })), []),
});
const pageSchema = v.object({
  servers: v.array(serverSchema),
  meta: v.object({ pagination: v.object({ next_page: v.nullable(v.number()) }) }),
});

export class Hetzner {
  readonly #config: HetznerConfig;
  readonly #ports: CloudPorts;

  constructor(config: HetznerConfig, ports: CloudPorts) {
    this.#config = config;
    this.#ports = ports;
  }

  /** The id of this server. Needs no token. Throws E2dError `no_metadata_service`, and what `requestJson` throws. */
  async ownId(signal: AbortSignal): Promise<number> {
    const schema = v.pipe(v.string(), v.trim(), v.regex(/^\d{1,15}$/), v.transform(Number));
    return await this.#metadata("instance-id", schema, signal);
  }

  /** The address in the first private network; undefined without a private network. */
  async ownPrivateAddress(signal: AbortSignal): Promise<string | undefined> {
    const text = await this.#metadata("private-networks", v.string(), signal);
    // A YAML list with one map per network: the field `ip` is on a line of its own.
    return /^\s*(?:-\s+)?ip:\s*["']?([0-9a-fA-F.:]+)["']?\s*$/m.exec(text)?.[1];
  }

  async server(id: number, signal: AbortSignal): Promise<HetznerServer> {
    const schema = v.object({ server: serverSchema });
    return serverOf((await this.#request(`read the server ${id}`, `/v1/servers/${id}`, {}, schema, signal)).server);
  }

  /** All servers with all these labels. Throws what `requestJson` throws. */
  async servers(labels: readonly { key: string; value: string }[], signal: AbortSignal): Promise<HetznerServer[]> {
    const selector = labels.map(({ key, value }) => `${key}==${value}`).join(",");
    const action = `list the servers with the labels "${selector}"`;
    const found = await allPages<v.InferOutput<typeof serverSchema>, number>(action, async (page = 1) => {
      const query = { label_selector: selector, per_page: `${pageSize}`, page: `${page}` };
      const { servers, meta } = await this.#request(action, "/v1/servers", query, pageSchema, signal);
      return { items: servers, next: meta.pagination.next_page ?? undefined };
    });
    return found.map(serverOf);
  }

  #metadata<Schema extends v.GenericSchema>(path: string, schema: Schema, signal: AbortSignal) {
    const url = new URL(`/hetzner/v1/metadata/${path}`, this.#config.metadataUrl ?? metadataUrlDefault);
    return requestMetadata({ cloud: "Hetzner", url, schema, parse: (text) => text }, this.#ports, signal);
  }

  #request<Schema extends v.GenericSchema>(
    action: string,
    path: string,
    query: Record<string, string>,
    schema: Schema,
    signal: AbortSignal,
  ) {
    const { token, apiUrl = "https://api.hetzner.cloud" } = this.#config;
    const url = new URL(path, apiUrl);
    url.search = `${new URLSearchParams(query)}`;
    return requestJson(
      {
        action,
        url,
        headers: { authorization: `Bearer ${token}` },
        schema,
        permission: "read access to the project",
        credential: "the token in HCLOUD_TOKEN",
        secrets: [token],
      },
      this.#ports,
      signal,
    );
  }
}

function serverOf({ id, status, labels, private_net }: v.InferOutput<typeof serverSchema>): HetznerServer {
  return { id, status, labels, privateNets: private_net.map(({ network, ip }) => ({ network, address: ip })) };
}
