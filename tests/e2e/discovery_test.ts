/** Nodes without configured addresses: they discover their own address and their peers from moto and AWS's metadata mock. */
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { Moto, region, startMetadata } from "../contract/aws_stack.ts";
import type { AwsCredentials } from "../../lib/cloud/aws/credentials.ts";
import { NodeProcess } from "./node_process.ts";

// grpc-js closes its HTTP/2 sessions some time after the client.
const sanitize = { sanitizeResources: false, sanitizeOps: false };

interface Instance {
  id: string;
  address: string;
}

/** Instances, each with its own metadata service, on which e2d runs with the credentials of one user. */
class Fleet implements AsyncDisposable {
  readonly nodes = new Map<string, NodeProcess>();
  readonly #folder: string;
  readonly #moto: Moto;
  readonly #user: AwsCredentials;
  readonly #method: string;
  readonly #stack = new AsyncDisposableStack();

  constructor(folder: string, moto: Moto, user: AwsCredentials, method: string) {
    this.#folder = folder;
    this.#moto = moto;
    this.#user = user;
    this.#method = method;
  }

  async boot(instance: Instance): Promise<NodeProcess> {
    const metadata = this.#stack.use(await startMetadata(this.#folder, instance));
    const node = this.#stack.use(
      new NodeProcess({
        host: instance.address,
        findsHost: true,
        dataDir: `${this.#folder}/${instance.id}`,
        args: [
          `--name=${instance.id}`,
          "-n=3",
          `--peer-discovery=${this.#method}`,
          "--health-check-timeout=3s",
        ],
        environment: {
          AWS_ENDPOINT_URL: this.#moto.url,
          AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url,
          AWS_REGION: region,
          E2D_AWS_ACCESS_KEY: this.#user.accessKeyId,
          E2D_AWS_SECRET_KEY: this.#user.secretAccessKey,
        },
      }),
    );
    this.nodes.set(instance.id, node);
    return node;
  }

  /** Resolves when the first of these instances reports exactly them as voters. */
  async voters(ids: readonly string[]): Promise<void> {
    const node = this.nodes.get(ids[0]!)!;
    const client = await node.client();
    try {
      await node.eventually(`with voters ${ids}`, async () => {
        await client.ready(node.clientUrl, { timeoutMs: 1_000 });
        const members = await client.memberList(node.clientUrl, { timeoutMs: 1_000 });
        assertEquals(members.map(({ name, isLearner }) => isLearner ? `${name}?` : name).sort(), [...ids].sort());
      });
    } catch (error) {
      // The log of the missing instance shows the cause.
      const others = ids.slice(1).map((id) => `${id}:\n${this.nodes.get(id)?.lines.slice(-20).join("\n")}`);
      throw new Error(`${error}\n${others.join("\n")}`);
    }
  }

  /** Asserts that no log of any instance contains the secret. */
  checkLogs(): void {
    for (const node of this.nodes.values()) {
      assert(!node.lines.some((line) => line.includes(this.#user.secretAccessKey)), "a secret is in a log");
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }
}

Deno.test(
  "three instances of a group bootstrap a cluster, and the replacement of a terminated instance joins it",
  sanitize,
  async () => {
    await using directory = await temporaryDirectory();
    await using moto = await Moto.start();
    await moto.group("etcd", 3);
    const instances = await moto.members("etcd");
    const user = await moto.user("node", [
      "autoscaling:DescribeAutoScalingInstances",
      "autoscaling:DescribeAutoScalingGroups",
      "ec2:DescribeInstances",
    ]);
    await using fleet = new Fleet(directory.path, moto, user, "aws-autoscaling-group");
    await Promise.all(instances.map((instance) => fleet.boot(instance)));
    await fleet.voters(instances.map(({ id }) => id));
    const [first, second, lost] = instances as [Instance, Instance, Instance];
    const client = await fleet.nodes.get(first.id)!.client();
    await client.put("written", "before");

    fleet.nodes.get(lost.id)!.kill("SIGKILL");
    await moto.terminate(lost.id);
    const replacement = (await moto.members("etcd")).find(({ id }) => !instances.some((known) => known.id === id))!;
    await fleet.boot(replacement);
    await fleet.voters([first.id, second.id, replacement.id]);
    const node = fleet.nodes.get(replacement.id)!;
    await node.healthy();
    assertEquals(new TextDecoder().decode((await (await node.client()).get("written"))?.value), "before");
    fleet.checkLogs();
  },
);

Deno.test("three instances with the same tags bootstrap a cluster", sanitize, async () => {
  await using directory = await temporaryDirectory();
  await using moto = await Moto.start();
  const instances: Instance[] = [];
  for (const last of [1, 2, 3]) {
    const address = `127.9.2.${last}`;
    instances.push({ id: await moto.run(address, { cluster: "etcd", env: "prod" }), address });
  }
  await moto.run("127.9.2.4", { cluster: "etcd", env: "staging" });
  const user = await moto.user("node", ["ec2:DescribeInstances"]);
  await moto.checkAuthorization();
  await using fleet = new Fleet(directory.path, moto, user, "ec2-tags:cluster=etcd,env=prod");
  await Promise.all(instances.map((instance) => fleet.boot(instance)));
  await fleet.voters(instances.map(({ id }) => id));
  fleet.checkLogs();
});
