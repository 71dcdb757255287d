import { FakeCloud, type FakeInstance } from "./fake_cloud.ts";

const network = 4711;
const otherNetwork = 4710;

/** GET /v1/servers by label selector, with pages, one server, and the metadata service. */
export class FakeHetzner extends FakeCloud {
  protected override isMetadata = (url: URL) => url.pathname.startsWith("/hetzner/");

  protected override metadata(url: URL): Response | undefined {
    const { name, address } = this.own;
    switch (url.pathname) {
      case "/hetzner/v1/metadata/instance-id":
        return new Response(`${this.#idOf(name)}`);
      case "/hetzner/v1/metadata/private-networks":
        return new Response(
          address === undefined
            ? "[]\n"
            : `- ip: ${address}\n  alias_ips: []\n  interface_num: 1\n  mac_address: 86:00:00:00:00:01\n` +
              `  network_id: ${network}\n  network_name: etcd\n  network: 10.0.0.0/8\n  subnet: 10.0.0.0/16\n  gateway: 10.0.0.1\n`,
        );
    }
    return undefined;
  }

  protected override api(url: URL): Response | undefined {
    const one = /^\/v1\/servers\/(\d+)$/.exec(url.pathname)?.[1];
    if (one !== undefined) {
      const found = this.instances.find(({ name }) => this.#idOf(name) === Number(one));
      return found === undefined ? undefined : Response.json({ server: this.#server(found) });
    }
    if (url.pathname !== "/v1/servers") return undefined;
    const perPage = Number(url.searchParams.get("per_page") ?? 25);
    const page = Number(url.searchParams.get("page") ?? 1);
    if (!(perPage >= 1 && perPage <= 50)) return this.failure(400, "invalid input in field 'per_page'");
    const selector = url.searchParams.get("label_selector") ?? "";
    const wanted = selector === "" ? [] : selector.split(",").map((term) => term.split("==") as [string, string?]);
    if (wanted.some(([, value]) => value === undefined)) return this.failure(400, "invalid input in 'label_selector'");
    const found = this.instances.filter(({ tags }) => wanted.every(([key, value]) => tags[key] === value));
    const last = Math.max(1, Math.ceil(found.length / perPage));
    return Response.json({
      servers: found.slice((page - 1) * perPage, page * perPage).map((server) => this.#server(server)),
      meta: {
        pagination: {
          page,
          per_page: perPage,
          previous_page: page > 1 ? page - 1 : null,
          next_page: page < last ? page + 1 : null,
          last_page: last,
          total_entries: found.length,
        },
      },
    });
  }

  protected override error(status: number, message: string): unknown {
    const codes: Record<number, string> = { 401: "unauthorized", 403: "forbidden", 429: "rate_limit_exceeded" };
    return { error: { code: codes[status] ?? "service_error", message, details: null } };
  }

  /** Derived from the name, which an instance keeps. */
  #idOf = (name: string) => 100_000 + Number(/\d+$/.exec(name)?.[0] ?? 0);

  #server({ name, address, otherAddress, publicAddress, stopped, tags }: FakeInstance): unknown {
    const net = (ip: string, id: number) => ({ network: id, ip, alias_ips: [], mac_address: "86:00:00:00:00:01" });
    return {
      id: this.#idOf(name),
      name,
      status: stopped ? "off" : "running",
      created: "2026-01-01T00:00:00+00:00",
      public_net: {
        ipv4: { id: 1, ip: publicAddress ?? "203.0.113.1", blocked: false, dns_ptr: "static.example.com" },
        ipv6: null,
        floating_ips: [],
        firewalls: [],
      },
      private_net: [
        ...otherAddress === undefined ? [] : [net(otherAddress, otherNetwork)],
        ...address === undefined ? [] : [net(address, network)],
      ],
      server_type: { id: 1, name: "cx22", description: "CX22", cores: 2, memory: 4, disk: 40, prices: [] },
      image: null,
      iso: null,
      rescue_enabled: false,
      locked: false,
      backup_window: null,
      outgoing_traffic: 0,
      ingoing_traffic: 0,
      included_traffic: 0,
      protection: { delete: false, rebuild: false },
      labels: tags,
      volumes: [],
      load_balancers: [],
      primary_disk_size: 40,
    };
  }
}
