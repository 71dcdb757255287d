import { FakeCloud, type FakeInstance } from "./fake_cloud.ts";

const project = "etcd-lab";
const zones = ["europe-west3-a", "europe-west3-b", "europe-west3-c"];

/** instances.aggregatedList with filter and pages, instances.get, and the metadata server. */
export class FakeGce extends FakeCloud {
  tokenLifeS = 3599;
  /** False: returns every instance and ignores the filter. */
  filters = true;

  protected override isMetadata = (url: URL) => url.pathname.startsWith("/computeMetadata/");

  protected override metadata(url: URL, request: Request): Response | undefined {
    // The metadata server refuses requests without this header.
    if (request.headers.get("metadata-flavor") !== "Google") return new Response("Forbidden", { status: 403 });
    const { name, address } = this.own;
    const texts: Record<string, string | undefined> = {
      "project/project-id": project,
      "instance/name": name,
      "instance/zone": `projects/123456789/zones/${this.#zoneOf(name)}`,
      "instance/network-interfaces/0/ip": address,
      "instance/service-accounts/default/token": JSON.stringify({
        access_token: this.token,
        expires_in: this.tokenLifeS,
        token_type: "Bearer",
      }),
    };
    const text = texts[url.pathname.slice("/computeMetadata/v1/".length)];
    return text === undefined ? undefined : new Response(text, { headers: { "metadata-flavor": "Google" } });
  }

  protected override api(url: URL): Response | undefined {
    const base = `/compute/v1/projects/${project}`;
    const one = /^\/zones\/([^/]+)\/instances\/([^/]+)$/.exec(url.pathname.slice(base.length));
    if (one !== null) {
      const found = this.instances.find(({ name }) => name === one[2] && this.#zoneOf(name) === one[1]);
      return found === undefined ? undefined : Response.json(this.#instance(found));
    }
    if (url.pathname !== `${base}/aggregated/instances`) return undefined;
    const wanted = filterOf(url.searchParams.get("filter") ?? "");
    const max = Number(url.searchParams.get("maxResults") ?? 500);
    if (wanted === undefined || !(max >= 0 && max <= 500)) return this.failure(400, "Invalid value for field 'filter'");
    const found = this.instances.filter(({ tags }) =>
      !this.filters || wanted.every(([key, value]) => tags[key] === value)
    );
    const start = Number(url.searchParams.get("pageToken") ?? 0);
    const page = found.slice(start, start + max);
    // Every zone is in the answer, also those without instances.
    const items = Object.fromEntries(zones.map((zone) => {
      const instances = page.filter(({ name }) => this.#zoneOf(name) === zone).map((instance) =>
        this.#instance(instance)
      );
      const warning = {
        code: "NO_RESULTS_ON_PAGE",
        message: `There are no results for scope 'zones/${zone}' on this page.`,
        data: [{ key: "scope", value: `zones/${zone}` }],
      };
      return [`zones/${zone}`, instances.length > 0 ? { instances } : { warning }];
    }));
    const next = start + max < found.length ? { nextPageToken: `${start + max}` } : {};
    return Response.json({
      kind: "compute#instanceAggregatedList",
      id: `projects/${project}/aggregated/instances`,
      items,
      ...next,
      selfLink: url.href,
    });
  }

  protected override error(status: number, message: string): unknown {
    return { error: { code: status, message, errors: [{ message, domain: "global", reason: "x" }] } };
  }

  #zoneOf = (name: string) => zones[[...name].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) % zones.length]!;

  #instance({ name, address, publicAddress, stopped, tags }: FakeInstance): unknown {
    const zone = `https://www.googleapis.com/compute/v1/projects/${project}/zones/${this.#zoneOf(name)}`;
    return {
      kind: "compute#instance",
      id: "1234567890123456789",
      creationTimestamp: "2026-01-01T00:00:00.000-08:00",
      name,
      status: stopped ? "TERMINATED" : "RUNNING",
      zone,
      machineType: `${zone}/machineTypes/e2-small`,
      networkInterfaces: address === undefined ? [] : [{
        kind: "compute#networkInterface",
        name: "nic0",
        network: `https://www.googleapis.com/compute/v1/projects/${project}/global/networks/default`,
        networkIP: address,
        accessConfigs: [{
          kind: "compute#accessConfig",
          type: "ONE_TO_ONE_NAT",
          natIP: publicAddress ?? "203.0.113.1",
        }],
      }],
      ...Object.keys(tags).length > 0 ? { labels: tags } : {},
      labelFingerprint: "42WmSpB8rSM=",
    };
  }
}

/** Parses `(labels.a = "b") (labels.c = "d")`; undefined for any other text. */
function filterOf(filter: string): [string, string][] | undefined {
  const terms = [...filter.matchAll(/\(labels\.([\p{L}\p{N}_-]+) = "([^"]*)"\) ?/gu)];
  if (terms.map(([text]) => text).join("") !== filter) return undefined;
  return terms.map(([, key, value]) => [key!, value!]);
}
