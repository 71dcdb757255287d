import { FakeCloud, type FakeInstance } from "./fake_cloud.ts";

const subscription = "8d10da13-8125-4ba9-a717-bf7490507b3d";
const group = "etcd-rg";
const pageSize = 50;

/** Virtual machines, uniform scale sets and network interfaces of one resource group, and the metadata service. */
export class FakeAzure extends FakeCloud {
  /** Instances whose name begins with this are machines of the uniform scale set of that name. */
  scaleSet: string | undefined;
  /** Overrides the URL of the next page. */
  nextHost: string | undefined;
  identity = true;

  protected override isMetadata = (url: URL) => url.pathname.startsWith("/metadata/");

  protected override metadata(url: URL, request: Request): Response | undefined {
    if (request.headers.get("metadata") !== "true" || !url.searchParams.has("api-version")) {
      return Response.json({ error: "Bad request: Required metadata header not specified" }, { status: 400 });
    }
    const { name, address, publicAddress, tags } = this.own;
    if (url.pathname === "/metadata/identity/oauth2/token") {
      if (!this.identity) {
        return Response.json({ error: "invalid_request", error_description: "Identity not found" }, { status: 400 });
      }
      return Response.json({
        access_token: this.token,
        client_id: "",
        expires_in: "86399",
        expires_on: "1767312000",
        resource: url.searchParams.get("resource"),
        token_type: "Bearer",
      });
    }
    if (url.pathname !== "/metadata/instance") return undefined;
    return Response.json({
      compute: {
        azEnvironment: "AzurePublicCloud",
        location: "westeurope",
        name,
        resourceGroupName: group,
        subscriptionId: subscription,
        tagsList: Object.entries(tags).map(([key, value]) => ({ name: key, value })),
        vmId: "02aab8a4-74ef-476e-8182-f6d2ba4166a6",
      },
      network: {
        interface: [{
          ipv4: {
            ipAddress: [{ privateIpAddress: address ?? "", publicIpAddress: publicAddress ?? "203.0.113.1" }],
            subnet: [{ address: "10.0.0.0", prefix: "24" }],
          },
          ipv6: { ipAddress: [] },
          macAddress: "0011AAFFBB22",
        }],
      },
    });
  }

  protected override api(url: URL): Response | undefined {
    const prefix = `/subscriptions/${subscription}/resourceGroups/${group}/providers/`;
    // Azure compares paths without case, and its own Go client counts on that.
    if (!url.pathname.toLowerCase().startsWith(prefix.toLowerCase())) return undefined;
    if (!url.searchParams.has("api-version")) return this.failure(400, "The api-version query parameter is required");
    const path = url.pathname.slice(prefix.length).replace(/^microsoft\.compute\//i, "Microsoft.Compute/");
    const inSet = ({ name }: FakeInstance) => this.scaleSet !== undefined && name.startsWith(this.scaleSet);
    const single = this.instances.filter((one) => !inSet(one));
    const members = this.instances.filter(inSet);
    switch (path) {
      case "Microsoft.Compute/virtualMachines":
        return this.#page(url, single, (one) => [this.#machine(one, url)]);
      case "Microsoft.Network/networkInterfaces":
        return this.#page(url, single, (one) => this.#interfaces(one));
      case "Microsoft.Compute/virtualMachineScaleSets":
        return this.#page(url, members.slice(0, 1), ({ tags }) => [{
          id: `${prefix}Microsoft.Compute/virtualMachineScaleSets/${this.scaleSet}`,
          name: this.scaleSet,
          location: "westeurope",
          tags,
          properties: { orchestrationMode: "Uniform" },
        }]);
      case `Microsoft.Compute/virtualMachineScaleSets/${this.scaleSet}/virtualMachines`:
        return this.#page(url, members, (one) => [this.#machine(one, url)]);
      case `Microsoft.Compute/virtualMachineScaleSets/${this.scaleSet}/networkInterfaces`:
        return this.#page(url, members, (one) => this.#interfaces(one));
    }
    return undefined;
  }

  protected override error(status: number, message: string): unknown {
    return { error: { code: status === 401 ? "InvalidAuthenticationToken" : "AuthorizationFailed", message } };
  }

  #page(url: URL, all: FakeInstance[], show: (instance: FakeInstance) => unknown[]): Response {
    const start = Number(url.searchParams.get("$skiptoken") ?? 0);
    const next = new URL(url);
    next.searchParams.set("$skiptoken", `${start + pageSize}`);
    if (this.nextHost !== undefined) next.host = this.nextHost;
    return Response.json({
      value: all.slice(start, start + pageSize).flatMap(show),
      ...start + pageSize < all.length ? { nextLink: next.href } : {},
    });
  }

  #id({ name }: FakeInstance): string {
    const base = `/subscriptions/${subscription}/resourceGroups/${group}/providers/Microsoft.Compute`;
    return this.scaleSet !== undefined && name.startsWith(this.scaleSet)
      ? `${base}/virtualMachineScaleSets/${this.scaleSet}/virtualMachines/${name.slice(this.scaleSet.length)}`
      : `${base}/virtualMachines/${name}`;
  }

  #machine(instance: FakeInstance, url: URL): unknown {
    const power = instance.stopped ? "PowerState/deallocated" : "PowerState/running";
    const view = { instanceView: { statuses: [{ code: "ProvisioningState/succeeded" }, { code: power }] } };
    return {
      id: this.#id(instance),
      name: instance.name,
      type: "Microsoft.Compute/virtualMachines",
      location: "westeurope",
      tags: instance.tags,
      properties: {
        provisioningState: "Succeeded",
        ...url.searchParams.get("$expand") === "instanceView" ? view : {},
      },
    };
  }

  /** The id of the machine has different letter case here, as in Azure. */
  #interfaces(instance: FakeInstance): unknown[] {
    const face = (address: string, primary: boolean) => ({
      name: `${instance.name}-${primary}`,
      properties: {
        primary,
        virtualMachine: {
          id: this.#id(instance).replace(`resourceGroups/${group}`, `resourceGroups/${group.toUpperCase()}`),
        },
        ipConfigurations: [{ name: "ipconfig1", properties: { primary: true, privateIPAddress: address } }],
      },
    });
    return [
      ...instance.otherAddress === undefined ? [] : [face(instance.otherAddress, false)],
      ...instance.address === undefined ? [] : [face(instance.address, true)],
    ];
  }
}
