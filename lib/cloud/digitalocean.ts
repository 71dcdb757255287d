/** The part of the DigitalOcean API that discovery uses: droplets by tag, and the droplet that this node runs on. */
import * as v from "valibot";
import { type CloudPorts, requestJson } from "./request_json.ts";
import { metadataUrlDefault, requestMetadata } from "./request_metadata.ts";
import { allPages } from "./pages.ts";

export interface DigitalOceanConfig {
  token: string;
  apiUrl?: string;
  metadataUrl?: string;
}

export interface Droplet {
  id: number;
  /** `new`, `active`, `off` or `archive`. */
  status: string;
  privateAddress: string | undefined;
}

export interface OwnDroplet {
  id: number;
  tags: readonly string[];
  privateAddress: string | undefined;
}

/** The maximum of the API. */
const pageSize = 200;

const dropletsSchema = v.object({
  droplets: v.array(v.object({
    id: v.number(),
    status: v.string(),
    networks: v.object({
      v4: v.optional(v.array(v.object({ ip_address: v.string(), type: v.string() })), []),
    }),
  })),
  links: v.optional(v.object({ pages: v.optional(v.object({ next: v.optional(v.string()) })) })),
});

const metadataSchema = v.object({
  droplet_id: v.number(),
  tags: v.nullish(v.array(v.string()), []),
  interfaces: v.optional(
    v.object({
      private: v.optional(v.array(v.object({ ipv4: v.optional(v.object({ ip_address: v.string() })) })), []),
    }),
    {},
  ),
});

export class DigitalOcean {
  readonly #config: DigitalOceanConfig;
  readonly #ports: CloudPorts;

  constructor(config: DigitalOceanConfig, ports: CloudPorts) {
    this.#config = config;
    this.#ports = ports;
  }

  /** Needs no token. Throws E2dError `no_metadata_service`, and what `requestJson` throws. */
  async ownDroplet(signal: AbortSignal): Promise<OwnDroplet> {
    const url = new URL("/metadata/v1.json", this.#config.metadataUrl ?? metadataUrlDefault);
    const answer = await requestMetadata(
      // The reference documents the object, and on one page the object in a list.
      { cloud: "DigitalOcean", url, schema: v.union([metadataSchema, v.tuple([metadataSchema])]) },
      this.#ports,
      signal,
    );
    const own = Array.isArray(answer) ? answer[0] : answer;
    const privateAddress = own.interfaces.private.map(({ ipv4 }) => ipv4?.ip_address).find((ip) => ip !== undefined);
    return { id: own.droplet_id, tags: own.tags ?? [], privateAddress };
  }

  /** All droplets with this tag. Needs a token that may read droplets and tags. Throws what `requestJson` throws. */
  async droplets(tag: string, signal: AbortSignal): Promise<Droplet[]> {
    const { token, apiUrl = "https://api.digitalocean.com" } = this.#config;
    const action = `list the droplets with the tag "${tag}"`;
    const found = await allPages<v.InferOutput<typeof dropletsSchema>["droplets"][number], number>(
      action,
      async (page = 1) => {
        const url = new URL("/v2/droplets", apiUrl);
        url.search = `${new URLSearchParams({ tag_name: tag, per_page: `${pageSize}`, page: `${page}` })}`;
        const { droplets, links } = await requestJson(
          {
            action,
            url,
            headers: { authorization: `Bearer ${token}` },
            schema: dropletsSchema,
            permission: "droplet:read",
            credential: "the token of --do-access-token (E2D_DO_ACCESS_TOKEN)",
            secrets: [token],
          },
          this.#ports,
          signal,
        );
        // The page number is counted here: the token must not be sent to a URL from a response.
        return { items: droplets, next: links?.pages?.next === undefined ? undefined : page + 1 };
      },
    );
    return found.map(({ id, status, networks }) => ({
      id,
      status,
      privateAddress: networks.v4.find(({ type }) => type === "private")?.ip_address,
    }));
  }
}
