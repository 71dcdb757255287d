/** The contract over the four clouds asked by plain fetch, and what is each one's own. */
import { azureTags } from "../../lib/discovery/azure_tags.ts";
import { doTags } from "../../lib/discovery/do_tags.ts";
import { gceLabels } from "../../lib/discovery/gce_labels.ts";
import { hetznerLabels } from "../../lib/discovery/hetzner_labels.ts";
import type { DiscoveryConfig, DiscoveryMethod, DiscoveryPorts } from "../../lib/discovery/method.ts";
import { describeError, isE2dError } from "../../lib/errors.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { FakeAzure } from "../support/clouds/fake_azure.ts";
import type { CloudFault, FakeCloud } from "../support/clouds/fake_cloud.ts";
import { FakeDigitalOcean } from "../support/clouds/fake_digitalocean.ts";
import { FakeGce } from "../support/clouds/fake_gce.ts";
import { FakeHetzner } from "../support/clouds/fake_hetzner.ts";
import { TestClock } from "../support/test_clock.ts";
import { TestLog } from "../support/test_log.ts";
import { instances, type Place, testDiscoveryMethod } from "./contract.ts";

const never = new AbortController().signal;
const tags = { env: "prod", cluster: "etcd-7" };
const named = Object.entries(tags).map(([key, value]) => ({ key, value }));

interface CloudPlace<Cloud extends FakeCloud> extends Place {
  cloud: Cloud;
}

function place<Cloud extends FakeCloud>(
  cloud: Cloud,
  make: (config: DiscoveryConfig, ports: DiscoveryPorts) => DiscoveryMethod,
): CloudPlace<Cloud> {
  const clock = new TestClock();
  const log = new TestLog();
  const config: DiscoveryConfig = {
    digitalOceanToken: cloud.token,
    environment: (name) => name === "HCLOUD_TOKEN" ? cloud.token : undefined,
    endpoints: { apiUrl: "https://api.test", metadataUrl: "http://metadata.test" },
  };
  const unused = () => {
    throw new Error("a cloud needs no such port");
  };
  const ports: DiscoveryPorts = {
    clock,
    log,
    http: cloud.http,
    random: { float: unused, bytes: unused },
    files: {} as DiscoveryPorts["files"],
    processes: {} as DiscoveryPorts["processes"],
    resolver: { services: unused, addresses: unused },
  };
  return {
    cloud,
    clock,
    log,
    method: make(config, ports),
    secret: cloud.token,
    fill(tagged, others = []) {
      cloud.self = tagged[0]!.name;
      cloud.instances = [
        ...tagged.map((one) => ({ ...one, tags })),
        ...others.map((one) => ({ ...one, tags: { env: "staging" } })),
      ];
    },
    break(fault) {
      cloud.fault = fault as CloudFault | undefined;
    },
  };
}

const digitalOcean = (given: readonly string[] = ["cluster"]) =>
  place(new FakeDigitalOcean(), (config, ports) => doTags(given, config, ports));
const hetzner = (given = named) => place(new FakeHetzner(), (config, ports) => hetznerLabels(given, config, ports));
const gce = (given = named) => place(new FakeGce(), (config, ports) => gceLabels(given, config, ports));
const azure = (given = named) => place(new FakeAzure(), (config, ports) => azureTags(given, config, ports));

const apiFaults: Partial<Record<CloudFault, string>> = {
  "api-unreachable": "cloud_unreachable",
  "api-silent": "cloud_timeout",
  "token-refused": "cloud_unauthorized",
  "no-permission": "cloud_forbidden",
  "throttled": "cloud_throttled",
  "server-error": "cloud_failed",
  "cut-answer": "cloud_answer",
  "garbled-answer": "cloud_answer",
  "other-shape": "cloud_answer",
  "endless-answer": "cloud_answer",
  "redirect": "cloud_refused",
};
const allFaults = {
  ...apiFaults,
  "metadata-unreachable": "no_metadata_service",
  "metadata-silent": "no_metadata_service",
} as Record<string, string>;
const quick = ["metadata-unreachable", "metadata-silent"];

testDiscoveryMethod({ name: "do-tags", open: () => digitalOcean(), faults: apiFaults as Record<string, string> });
testDiscoveryMethod({ name: "do-tags (own tags)", open: () => ownTags(digitalOcean([])), faults: allFaults, quick });
testDiscoveryMethod({ name: "hetzner-labels", open: () => hetzner(), faults: apiFaults as Record<string, string> });
testDiscoveryMethod({ name: "hetzner-labels (own labels)", open: () => hetzner([]), faults: allFaults, quick });
testDiscoveryMethod({ name: "gce-labels", open: () => gce(), faults: allFaults, quick });
testDiscoveryMethod({ name: "gce-labels (own labels)", open: () => gce([]), faults: allFaults, quick });
testDiscoveryMethod({ name: "azure-tags", open: () => azure(), faults: allFaults, quick });
testDiscoveryMethod({ name: "azure-tags (own tags)", open: () => azure([]), faults: allFaults, quick });
testDiscoveryMethod({
  name: "azure-tags (scale set)",
  open() {
    const opened = azure();
    opened.cloud.scaleSet = "node-";
    return { ...opened, fill: (tagged) => opened.fill(tagged) };
  },
  faults: apiFaults as Record<string, string>,
});

/** Any of the own tags counts in DigitalOcean: the other droplets must share none. */
function ownTags(opened: CloudPlace<FakeDigitalOcean>): Place {
  return {
    ...opened,
    fill(tagged, others = []) {
      opened.fill(tagged, others);
      opened.cloud.instances = opened.cloud.instances.map((one) =>
        one.tags === tags ? one : { ...one, tags: { else: "" } }
      );
    },
  };
}

Deno.test("do-tags returns droplets with any of the tags without duplicates, and requests a repeated tag once", async () => {
  const { cloud, method } = digitalOcean(["blue", "green", "blue"]);
  const [a, b, c, d] = instances(4);
  cloud.instances = [
    { ...a!, tags: { blue: "" } },
    { ...b!, tags: { green: "" } },
    { ...c!, tags: { blue: "", green: "" } },
    { ...d!, tags: { red: "" } },
  ];
  const found = await method.peers(never);
  assertEquals(found.map(({ host }) => host).sort(), [a, b, c].map((one) => one!.address!).sort());
  assertEquals(cloud.requests.length, 2);
});

Deno.test("do-tags reads the metadata as an object and as a list of one", async () => {
  const { cloud, method, fill } = digitalOcean([]);
  fill(instances(2));
  for (const asList of [false, true]) {
    cloud.metadataAsList = asList;
    assertEquals((await method.peers(never)).length, 2);
    assertEquals(await method.ownAddress!(never), instances(1)[0]!.address);
  }
});

Deno.test("a method without tags of its instance finds no peers instead of all machines", async () => {
  for (const opened of [digitalOcean([]), hetzner([]), gce([]), azure([])]) {
    opened.cloud.instances = instances(3);
    opened.cloud.self = "node-0";
    const error = await assertE2dError("discovery_no_tags", () => opened.method.peers(never));
    assert(error.hint!.includes(opened.method.name));
  }
});

Deno.test("own labels that Google and Azure set automatically are no tags of the cluster", async () => {
  for (const [opened, own] of [[gce([]), "goog-gke-node"], [azure([]), "hidden-title"]] as const) {
    opened.fill(instances(3));
    opened.cloud.instances[0] = { ...opened.cloud.instances[0]!, tags: { ...tags, [own]: "x" } };
    assertEquals((await opened.method.peers(never)).length, 3);
  }
});

Deno.test("do-tags and hetzner-labels refuse to start without a token, or with one no header can carry", async () => {
  const { cloud } = digitalOcean();
  for (const token of [undefined, "", "  ", "two words canary", "canary\nx: y"]) {
    const config = { digitalOceanToken: token, environment: () => token };
    for (
      const make of [() => doTags([], config, cloudPorts(cloud)), () => hetznerLabels([], config, cloudPorts(cloud))]
    ) {
      const error = await assertE2dError("cloud_token", make);
      assert(!describeError(error).includes("canary"));
      assert(/E2D_DO_ACCESS_TOKEN|HCLOUD_TOKEN/.test(error.hint!));
    }
  }
});

function cloudPorts(cloud: FakeCloud): DiscoveryPorts {
  return { http: cloud.http, clock: new TestClock(), log: new TestLog() } as unknown as DiscoveryPorts;
}

Deno.test("a refused permission names the action that is missing", async () => {
  const expected = [
    [digitalOcean(), "droplet:read"],
    [gce(), "compute.instances.list"],
    [gce([]), "compute.instances.get"],
    [azure(), "Microsoft.Compute/virtualMachine"],
  ] as const;
  for (const [opened, action] of expected) {
    opened.fill(instances(1));
    opened.break("no-permission");
    const error = await assertE2dError("cloud_forbidden", () => opened.method.peers(never));
    assert(error.message.includes(action) && error.hint!.includes(action), describeError(error));
  }
});

Deno.test("hetzner-labels takes the addresses of the one network all are in", async () => {
  const { cloud, method, fill } = hetzner();
  fill(instances(3));
  cloud.instances[1] = { ...cloud.instances[1]!, otherAddress: "172.16.0.9" };
  assertEquals((await method.peers(never)).map(({ host }) => host), instances(3).map(({ address }) => address));
  assertEquals(await method.ownAddress!(never), instances(1)[0]!.address);
});

Deno.test("azure-tags takes the primary interface, compares names of tags without case, and needs an identity", async () => {
  const { cloud, method, fill } = azure([{ key: "ENV", value: "prod" }]);
  fill(instances(2));
  cloud.instances[0] = { ...cloud.instances[0]!, otherAddress: "172.16.0.9" };
  assertEquals((await method.peers(never)).map(({ host }) => host), instances(2).map(({ address }) => address));
  const bare = azure();
  bare.fill(instances(1));
  bare.cloud.identity = false;
  const error = await assertE2dError("cloud_unauthorized", () => bare.method.peers(never));
  assert(error.message.includes("Identity not found") && error.hint!.includes("managed identity"));
});

Deno.test("azure-tags sends its token to no other host that a page names", async () => {
  const { cloud, method, fill } = azure();
  fill(instances(120));
  cloud.nextHost = "elsewhere.test";
  const error = await assertE2dError("cloud_answer", () => method.peers(never));
  assert(error.message.includes("elsewhere.test"));
  assert(!cloud.requests.some((request) => request.includes("skiptoken")));
});

Deno.test("gce-labels keeps a token until shortly before its end, whatever the clock on the wall says", async () => {
  const { cloud, clock, method, fill } = gce();
  fill(instances(1));
  const tokens = () => cloud.requests.filter((request) => request.endsWith("/token")).length;
  await method.peers(never);
  clock.skewMs = 86_400_000;
  await method.peers(never);
  assertEquals(tokens(), 1);
  await clock.advance(3_500_000, 500_000);
  await method.peers(never);
  assertEquals(tokens(), 2);
  // One that was withdrawn is not kept either.
  cloud.fault = "token-refused";
  await method.peers(never).catch((error) => assert(isE2dError(error, "cloud_unauthorized")));
  cloud.fault = undefined;
  await method.peers(never);
  assertEquals(tokens(), 3);
});

Deno.test("the own address is the private one of this instance, and never its public one", async () => {
  for (const opened of [digitalOcean(), hetzner(), gce(), azure()]) {
    opened.fill([...instances(1, 5), ...instances(2)]);
    assertEquals(await opened.method.ownAddress!(never), instances(1, 5)[0]!.address, opened.method.name);
  }
  for (const opened of [digitalOcean(), hetzner(), azure()]) {
    const { address: _, ...bare } = instances(1)[0]!;
    opened.fill([bare]);
    assertEquals(await opened.method.ownAddress!(never), undefined, opened.method.name);
  }
});

Deno.test("gce-labels takes an empty value for one that is there", async () => {
  const { cloud, method } = gce([{ key: "role", value: "" }]);
  const [a, b] = instances(2);
  cloud.instances = [{ ...a!, tags: { role: "" } }, { ...b!, tags: { other: "" } }];
  cloud.filters = false;
  assertEquals(await method.peers(never), [{ host: a!.address! }]);
});

Deno.test("an endless answer is given up at 16 MiB", async () => {
  const { cloud, method, fill } = digitalOcean();
  fill(instances(1));
  cloud.fault = "endless-answer";
  await assertE2dError("cloud_answer", () => method.peers(never));
  assertEquals(cloud.sentMiB, 17);
});
