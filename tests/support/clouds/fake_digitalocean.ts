import { FakeCloud, type FakeInstance } from "./fake_cloud.ts";

/** GET /v2/droplets by tag name, with pages, and the metadata service. Tags are the keys. */
export class FakeDigitalOcean extends FakeCloud {
  /** The reference shows an object; one page of it shows a list of one. */
  metadataAsList = false;

  protected override isMetadata = (url: URL) => url.pathname.startsWith("/metadata/");

  protected override metadata(url: URL): Response | undefined {
    if (url.pathname !== "/metadata/v1.json") return undefined;
    const { name, address, publicAddress, tags } = this.own;
    const face = (ip: string, type: string) => ({
      ipv4: { ip_address: ip, netmask: "255.255.0.0", gateway: "10.0.0.1" },
      mac: "54:11:00:00:00:00",
      type,
    });
    const document = {
      droplet_id: this.#idOf(name),
      hostname: name,
      vendor_data: "#cloud-config",
      public_keys: [],
      region: "fra1",
      interfaces: {
        ...address === undefined ? {} : { private: [face(address, "private")] },
        public: [face(publicAddress ?? "203.0.113.1", "public")],
      },
      tags: Object.keys(tags).length > 0 ? Object.keys(tags) : null,
    };
    return Response.json(this.metadataAsList ? [document] : document);
  }

  protected override api(url: URL): Response | undefined {
    if (url.pathname !== "/v2/droplets") return undefined;
    const tag = url.searchParams.get("tag_name");
    const perPage = Number(url.searchParams.get("per_page") ?? 20);
    const page = Number(url.searchParams.get("page") ?? 1);
    if (!(perPage >= 1 && perPage <= 200) || !(page >= 1)) return this.failure(422, "per_page is out of range");
    const found = this.instances.filter(({ tags }) => tag === null || tag in tags);
    const last = Math.max(1, Math.ceil(found.length / perPage));
    const at = (number: number) => {
      const link = new URL(url);
      link.searchParams.set("page", `${number}`);
      return link.href;
    };
    const pages = {
      ...page > 1 ? { first: at(1), prev: at(page - 1) } : {},
      ...page < last ? { next: at(page + 1), last: at(last) } : {},
    };
    return Response.json({
      droplets: found.slice((page - 1) * perPage, page * perPage).map((one) => this.#droplet(one)),
      links: { pages },
      meta: { total: found.length },
    });
  }

  protected override error(status: number, message: string): unknown {
    const ids: Record<number, string> = { 401: "unauthorized", 403: "forbidden", 429: "too_many_requests" };
    return { id: ids[status] ?? "server_error", message, request_id: "4d9d8375-3c56-4925-a3e7-eb137fed17e9" };
  }

  /** Derived from the name, which an instance keeps. */
  #idOf = (name: string) => 1_000 + Number(/\d+$/.exec(name)?.[0] ?? 0);

  #droplet({ name, address, publicAddress, stopped, tags }: FakeInstance): unknown {
    const v4 = (ip: string, type: string) => ({ ip_address: ip, netmask: "255.255.0.0", gateway: "10.0.0.1", type });
    return {
      id: this.#idOf(name),
      name,
      memory: 1024,
      vcpus: 1,
      disk: 25,
      locked: false,
      status: stopped ? "off" : "active",
      kernel: null,
      created_at: "2026-01-01T00:00:00Z",
      features: ["private_networking"],
      backup_ids: [],
      next_backup_window: null,
      snapshot_ids: [],
      image: { id: 1, name: "12 x64", type: "base", distribution: "Debian", slug: "debian-12-x64", public: true },
      volume_ids: [],
      size: {
        slug: "s-1vcpu-1gb",
        memory: 1024,
        vcpus: 1,
        disk: 25,
        transfer: 1,
        price_monthly: 6,
        price_hourly: 0.009,
      },
      size_slug: "s-1vcpu-1gb",
      networks: {
        v4: [
          v4(publicAddress ?? "203.0.113.1", "public"),
          ...address === undefined ? [] : [v4(address, "private")],
        ],
        v6: [],
      },
      region: { name: "Frankfurt 1", slug: "fra1", features: [], available: true, sizes: [] },
      tags: Object.keys(tags),
      vpc_uuid: "760e09ef-dc84-11e8-981e-3cfdfeaae000",
    };
  }
}
