/**
 * The providers' own Go clients read the fakes of their clouds, against which the discovery methods are tested. A field
 * that the provider does not know, or that the fake lacks, fails here.
 */
import { FakeAzure } from "../support/clouds/fake_azure.ts";
import type { FakeCloud, FakeInstance } from "../support/clouds/fake_cloud.ts";
import { FakeDigitalOcean } from "../support/clouds/fake_digitalocean.ts";
import { FakeGce } from "../support/clouds/fake_gce.ts";
import { FakeHetzner } from "../support/clouds/fake_hetzner.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { partProgram } from "./part_program.ts";

interface Machine {
  name: string;
  status: string;
  private: string;
  tags: Record<string, string>;
}

async function readBy(client: string, url: string, args: string[]) {
  const { stdout, stderr, code } = await new Deno.Command(
    partProgram("cloud-clients-1.0.0", "cloud-clients", "cloud-clients"),
    {
      args: [client, url, ...args],
      stdin: "null",
      signal: AbortSignal.timeout(60_000),
    },
  ).output();
  const lines = new TextDecoder().decode(stdout).split("\n").filter((line) => line !== "");
  return {
    code,
    stderr: new TextDecoder().decode(stderr),
    machines: lines.map((line) => JSON.parse(line) as Machine).sort((a, b) => a.name < b.name ? -1 : 1),
  };
}

const cases: {
  client: string;
  cloud: () => FakeCloud;
  tags: Record<string, string>;
  args: string[];
  running: string;
  stopped: string;
  /** The error of the client for a refused token. */
  refused: RegExp;
}[] = [
  {
    client: "digitalocean",
    cloud: () => new FakeDigitalOcean(),
    tags: { etcd: "" },
    args: ["etcd"],
    running: "active",
    stopped: "off",
    refused: /401 .*unable to authenticate/s,
  },
  {
    client: "hetzner",
    cloud: () => new FakeHetzner(),
    tags: { cluster: "etcd-7", env: "prod" },
    args: ["cluster==etcd-7,env==prod"],
    running: "running",
    stopped: "off",
    refused: /unable to authenticate.*unauthorized/s,
  },
  {
    client: "gce",
    cloud: () => new FakeGce(),
    tags: { cluster: "etcd-7", env: "prod" },
    args: ["etcd-lab", '(labels.cluster = "etcd-7") (labels.env = "prod")'],
    running: "RUNNING",
    stopped: "TERMINATED",
    refused: /Error 401: unable to authenticate/,
  },
  {
    client: "azure",
    cloud: () => Object.assign(new FakeAzure(), { scaleSet: "pool-" }),
    tags: { cluster: "etcd-7" },
    args: ["8d10da13-8125-4ba9-a717-bf7490507b3d", "etcd-rg", "pool-"],
    running: "PowerState/running",
    stopped: "PowerState/deallocated",
    refused: /401.*InvalidAuthenticationToken/s,
  },
];

for (const { client, cloud, tags, args, running, stopped, refused } of cases) {
  Deno.test(`the Go client of ${client} reads the same machines from all pages of its fake as e2d`, async () => {
    const fake = cloud();
    const name = (at: number) => client === "azure" && at % 2 === 0 ? `pool-${at}` : `node-${at}`;
    fake.instances = Array.from({ length: 620 }, (_, at): FakeInstance => ({
      name: name(at),
      address: `10.0.${Math.floor(at / 250)}.${at % 250 + 1}`,
      stopped: at === 7,
      tags,
    }));
    await using server = fake.serve();
    const { code, stderr, machines } = await readBy(client, server.url, [fake.token, ...args]);
    assertEquals(code, 0, stderr);
    const expected = fake.instances.map(({ name, address, stopped: off }) => ({
      name,
      status: off ? stopped : running,
      private: address!,
      tags,
    }));
    assertEquals(machines, expected.sort((a, b) => a.name < b.name ? -1 : 1));
    assert(fake.requests.length >= 2, "there is more than one page");
  });

  Deno.test(`the Go client of ${client} understands a refusal of its fake`, async () => {
    const fake = cloud();
    await using server = fake.serve();
    const { code, stderr } = await readBy(client, server.url, ["another-token", ...args]);
    assertEquals(code, 1);
    assert(refused.test(stderr), stderr);
  });
}

Deno.test("the Go clients of the metadata services understand the fakes", async () => {
  const own: FakeInstance = { name: "node-5", address: "10.0.0.5", tags: { etcd: "" } };
  const ask = async (client: string, fake: FakeCloud) => {
    fake.instances = [own];
    fake.self = own.name;
    await using server = fake.serve();
    const { code, stderr, machines } = await readBy(client, server.url, []);
    assertEquals(code, 0, stderr);
    return machines[0]!;
  };
  const droplet = { name: "node-5", status: "1005", private: "10.0.0.5", tags: { etcd: "" } };
  assertEquals(await ask("metadata-do", new FakeDigitalOcean()), droplet);
  const server = await ask("metadata-hetzner", new FakeHetzner());
  assertEquals(server.status, "100005");
  assert(server.private.includes("- ip: 10.0.0.5"), server.private);
  const instance = await ask("metadata-gce", new FakeGce());
  assertEquals([instance.name, instance.private], ["node-5", "10.0.0.5"]);
  assert(/^etcd-lab europe-west3-[abc]$/.test(instance.status), instance.status);
});
