/**
 * The part of the Azure API that discovery uses: machines of this machine's resource group by tag, with its managed
 * identity. Machines of uniform scale sets are not listed as virtual machines; they are listed with their set, whose
 * tags they inherit.
 */
import * as v from "valibot";
import { E2dError, isE2dError } from "../errors.ts";
import { type CloudPorts, requestJson } from "./request_json.ts";
import { metadataUrlDefault, requestMetadata } from "./request_metadata.ts";
import { CachedToken } from "./cached_token.ts";
import { allPages } from "./pages.ts";

export interface AzureConfig {
  apiUrl?: string;
  metadataUrl?: string;
}

export interface AzureMachine {
  id: string;
  tags: Readonly<Record<string, string>>;
  /** `running`, `starting`, `stopped`, `deallocated` …; undefined: Azure does not report it. */
  power: string | undefined;
  privateAddress: string | undefined;
}

export interface OwnMachine {
  subscription: string;
  resourceGroup: string;
  environment: string;
  tags: readonly { key: string; value: string }[];
  privateAddress: string | undefined;
}

const computeVersion = "2024-11-01";
const networkVersion = "2024-05-01";
/** The newest version under which the interfaces of a scale set are documented. */
const scaleSetNetworkVersion = "2018-10-01";

/** The endpoint of Azure Resource Manager in each Azure cloud. */
const managementUrls: Readonly<Record<string, string>> = {
  AzurePublicCloud: "https://management.azure.com",
  AzureUSGovernmentCloud: "https://management.usgovcloudapi.net",
  AzureChinaCloud: "https://management.chinacloudapi.cn",
};

const pathPart = v.pipe(v.string(), v.regex(/^[\p{L}\p{N}._()-]{1,90}$/u));
const ownSchema = v.object({
  compute: v.object({
    subscriptionId: pathPart,
    resourceGroupName: pathPart,
    azEnvironment: v.optional(v.string(), "AzurePublicCloud"),
    tagsList: v.optional(v.array(v.object({ name: v.string(), value: v.string() })), []),
  }),
  network: v.optional(v.object({
    interface: v.array(v.object({
      ipv4: v.optional(v.object({ ipAddress: v.array(v.object({ privateIpAddress: v.string() })) })),
    })),
  })),
});
/** `expires_in` is text in Azure and a number in Azure Arc. */
const tokenSchema = v.object({
  access_token: v.string(),
  expires_in: v.pipe(v.union([v.string(), v.number()]), v.transform(Number), v.number(), v.finite()),
});

const tagsSchema = v.nullish(v.record(v.string(), v.string()));
const machineSchema = v.object({
  id: v.string(),
  tags: tagsSchema,
  properties: v.object({
    instanceView: v.optional(v.object({ statuses: v.optional(v.array(v.object({ code: v.string() })), []) })),
  }),
});
const interfaceSchema = v.object({
  properties: v.object({
    primary: v.optional(v.boolean()),
    virtualMachine: v.nullish(v.object({ id: v.string() })),
    ipConfigurations: v.optional(
      v.array(v.object({
        properties: v.object({ primary: v.optional(v.boolean()), privateIPAddress: v.optional(v.string()) }),
      })),
      [],
    ),
  }),
});
const scaleSetSchema = v.object({
  name: pathPart,
  tags: tagsSchema,
  properties: v.optional(v.object({ orchestrationMode: v.optional(v.string()) })),
});

/** Azure compares tag names case-insensitively and tag values case-sensitively. */
export function hasAzureTags(
  tags: Readonly<Record<string, string>>,
  wanted: readonly { key: string; value: string }[],
): boolean {
  const found = new Map(Object.entries(tags).map(([key, value]) => [key.toLowerCase(), value]));
  return wanted.every(({ key, value }) => found.get(key.toLowerCase()) === value);
}

export class Azure {
  readonly #config: AzureConfig;
  readonly #ports: CloudPorts;
  #managementUrl = managementUrls["AzurePublicCloud"]!;
  readonly #token: CachedToken;

  constructor(config: AzureConfig, ports: CloudPorts) {
    this.#config = config;
    this.#ports = ports;
    this.#token = new CachedToken(ports.clock, (signal) => this.#fetchToken(signal));
  }

  /** Throws E2dError `no_metadata_service`, and what `requestJson` throws. */
  async ownMachine(signal: AbortSignal): Promise<OwnMachine> {
    const { compute, network } = await this.#metadata("instance", { "api-version": "2021-02-01" }, ownSchema, signal);
    const addresses = network?.interface.flatMap(({ ipv4 }) => ipv4?.ipAddress ?? []) ?? [];
    return {
      subscription: compute.subscriptionId,
      resourceGroup: compute.resourceGroupName,
      environment: compute.azEnvironment,
      tags: compute.tagsList.map(({ name, value }) => ({ key: name, value })),
      privateAddress: addresses.map(({ privateIpAddress }) => privateIpAddress).find((address) => address !== ""),
    };
  }

  /** All machines with all these tags in the resource group of `own`. Throws what `requestJson` throws. */
  async machines(
    own: OwnMachine,
    wanted: readonly { key: string; value: string }[],
    signal: AbortSignal,
  ): Promise<AzureMachine[]> {
    const url = this.#config.apiUrl ?? managementUrls[own.environment];
    if (url === undefined) {
      throw new E2dError(
        "cloud_refused",
        `Cannot find the endpoint of Azure: the Azure cloud "${own.environment}" is unknown`,
      );
    }
    this.#managementUrl = url;
    const group = `/subscriptions/${own.subscription}/resourceGroups/${
      encodeURIComponent(own.resourceGroup)
    }/providers`;
    const compute = `${group}/Microsoft.Compute`;
    const [machines, sets] = await Promise.all([
      this.#list("virtualMachines", `${compute}/virtualMachines`, expanded, machineSchema, signal),
      this.#list(
        "virtualMachineScaleSets",
        `${compute}/virtualMachineScaleSets`,
        { "api-version": computeVersion },
        scaleSetSchema,
        signal,
      ),
    ]);
    const matching = machines.filter(({ tags }) => hasAzureTags(tags ?? {}, wanted));
    const found: AzureMachine[] = [];
    if (matching.length > 0) {
      const path = `${group}/Microsoft.Network/networkInterfaces`;
      const query = { "api-version": networkVersion };
      const interfaces = await this.#list("networkInterfaces", path, query, interfaceSchema, signal);
      const addresses = addressesOf(interfaces);
      for (const machine of matching) found.push(machineOf(machine, addresses, {}));
    }
    for (const { name, tags, properties } of sets) {
      // The machines of a flexible set are listed as virtual machines.
      if (properties?.orchestrationMode === "Flexible" || !hasAzureTags(tags ?? {}, wanted)) continue;
      const path = `${compute}/virtualMachineScaleSets/${name}`;
      found.push(...await this.#machinesOfSet(path, tags ?? {}, signal));
    }
    return found;
  }

  /** A machine without tags of its own has the tags of its set. */
  async #machinesOfSet(path: string, tags: Readonly<Record<string, string>>, signal: AbortSignal) {
    const query = { "api-version": scaleSetNetworkVersion };
    const [members, interfaces] = await Promise.all([
      this.#list("virtualMachineScaleSets/virtualMachines", `${path}/virtualMachines`, expanded, machineSchema, signal),
      this.#list(
        "virtualMachineScaleSets/networkInterfaces",
        `${path}/networkInterfaces`,
        query,
        interfaceSchema,
        signal,
      ),
    ]);
    const addresses = addressesOf(interfaces);
    return members.map((member) => machineOf(member, addresses, tags));
  }

  async #fetchToken(signal: AbortSignal) {
    // The resource is the management endpoint of the Azure cloud that this machine runs in.
    const query = { "api-version": "2018-02-01", resource: `${new URL(this.#managementUrl).origin}/` };
    try {
      const answer = await this.#metadata("identity/oauth2/token", query, tokenSchema, signal);
      return { token: answer.access_token, lifetimeMs: answer.expires_in * 1000 };
    } catch (error) {
      if (!isE2dError(error, "cloud_refused")) throw error;
      throw new E2dError("cloud_unauthorized", `Cannot get a token from Azure: ${error.message}`, {
        hint: "assign a managed identity with the role Reader on the resource group to this machine",
      });
    }
  }

  #metadata<Schema extends v.GenericSchema>(
    path: string,
    query: Record<string, string>,
    schema: Schema,
    signal: AbortSignal,
  ) {
    const url = new URL(`/metadata/${path}`, this.#config.metadataUrl ?? metadataUrlDefault);
    url.search = `${new URLSearchParams(query)}`;
    return requestMetadata({ cloud: "Azure", url, headers: { metadata: "true" }, schema }, this.#ports, signal);
  }

  /** All pages of one kind of resource, such as `virtualMachines`. */
  async #list<Schema extends v.GenericSchema>(
    kind: string,
    path: string,
    query: Record<string, string>,
    schema: Schema,
    signal: AbortSignal,
  ): Promise<v.InferOutput<Schema>[]> {
    const action = `list ${kind} of the resource group`;
    const provider = kind === "networkInterfaces" ? "Microsoft.Network" : "Microsoft.Compute";
    const first = new URL(path, this.#managementUrl);
    first.search = `${new URLSearchParams(query)}`;
    const pageSchema = v.object({ value: v.array(schema), nextLink: v.nullish(v.string()) });
    return await allPages<v.InferOutput<Schema>, string>(action, async (page) => {
      const url = page === undefined ? first : new URL(page);
      if (url.origin !== first.origin) {
        throw new E2dError("cloud_answer", `Cannot ${action}: the next page is on another host, "${url.host}"`);
      }
      const token = await this.#token.get(signal);
      const question = {
        action,
        url,
        headers: { authorization: `Bearer ${token}` },
        schema: pageSchema,
        permission: `${provider}/${kind}/read`,
        credential: "the managed identity of this machine (role Reader on its resource group)",
        secrets: [token],
      };
      try {
        const answer = await requestJson(question, this.#ports, signal) as v.InferOutput<typeof pageSchema>;
        return { items: answer.value, next: answer.nextLink || undefined };
      } catch (error) {
        if (isE2dError(error, "cloud_unauthorized")) this.#token.invalidate();
        throw error;
      }
    });
  }
}

const expanded = { "api-version": computeVersion, "$expand": "instanceView" };

type Machine = v.InferOutput<typeof machineSchema>;

function machineOf(
  { id, tags, properties }: Machine,
  addresses: ReadonlyMap<string, string>,
  inherited: Readonly<Record<string, string>>,
): AzureMachine {
  const power = properties.instanceView?.statuses.find(({ code }) => code.startsWith("PowerState/"))?.code;
  return {
    id,
    tags: tags ?? inherited,
    power: power?.slice("PowerState/".length),
    privateAddress: addresses.get(id.toLowerCase()),
  };
}

/** The primary address of each machine by its id in lower case: Azure varies the case of one id. */
function addressesOf(interfaces: readonly v.InferOutput<typeof interfaceSchema>[]): Map<string, string> {
  const addresses = new Map<string, string>();
  for (const { properties } of interfaces) {
    const machine = properties.virtualMachine?.id.toLowerCase();
    const configurations = properties.ipConfigurations.map((configuration) => configuration.properties);
    const address = (configurations.find(({ primary }) => primary) ?? configurations[0])?.privateIPAddress;
    if (machine === undefined || address === undefined) continue;
    if (properties.primary !== false || !addresses.has(machine)) addresses.set(machine, address);
  }
  return addresses;
}
