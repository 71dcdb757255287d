/** The contract over the methods of AWS, and what is their own. */
import { awsAutoscalingGroup } from "../../lib/discovery/aws_autoscaling_group.ts";
import { ec2Tags } from "../../lib/discovery/ec2_tags.ts";
import type { DiscoveryConfig, DiscoveryMethod, DiscoveryPorts } from "../../lib/discovery/method.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { FakeAws, fakeAwsGroup } from "../support/clouds/fake_aws.ts";
import { TestClock } from "../support/test_clock.ts";
import { TestLog } from "../support/test_log.ts";
import { instances, type Place, testDiscoveryMethod } from "./contract.ts";

const never = new AbortController().signal;
const tags = { env: "prod", cluster: "etcd*7", [fakeAwsGroup]: "etcd" };
const named = [{ key: "env", value: "prod" }, { key: "cluster", value: "etcd\\*7" }];

interface AwsPlace extends Place {
  cloud: FakeAws;
  /** Settles under virtual time. */
  ask(): Promise<string[]>;
}

function place(
  make: (config: DiscoveryConfig, ports: DiscoveryPorts) => DiscoveryMethod,
  environment: Record<string, string> = {},
): AwsPlace {
  const clock = new TestClock();
  const log = new TestLog();
  const cloud = new FakeAws(() => Date.UTC(2026, 0, 1) + clock.monotonicMs());
  const unused = () => {
    throw new Error("AWS needs no such port");
  };
  const ports: DiscoveryPorts = {
    clock,
    log,
    http: cloud.http,
    random: { float: () => 0.5, bytes: unused },
    files: { readText: () => Promise.resolve(undefined) } as unknown as DiscoveryPorts["files"],
    processes: {} as DiscoveryPorts["processes"],
    resolver: { services: unused, addresses: unused },
  };
  const config: DiscoveryConfig = {
    awsAccessKey: cloud.accessKeyId,
    awsSecretKey: cloud.token,
    environment: (name) => environment[name],
    endpoints: { metadataUrl: "http://metadata.test" },
  };
  const method = make(config, ports);
  return {
    cloud,
    clock,
    log,
    method,
    secret: cloud.token,
    fill(tagged, others = []) {
      cloud.self = tagged[0]!.name;
      cloud.instances = [
        ...tagged.map((one) => ({ ...one, tags })),
        ...others.map((one) => ({ ...one, tags: { env: "prod", cluster: "etcd-17" } })),
      ];
    },
    break(fault) {
      cloud.fault = fault as typeof cloud.fault;
    },
    async ask() {
      const outcome = await clock.settle(method.peers(never));
      if (outcome.status === "rejected") throw outcome.reason;
      return outcome.value.map(({ host }) => host);
    },
  };
}

const group = (environment = {}) => place((config, ports) => awsAutoscalingGroup(config, ports), environment);
const byTags = (given = named, environment = {}) =>
  place((config, ports) => ec2Tags(given, config, ports), environment);

const faults = {
  "metadata-unreachable": "no_metadata_service",
  "metadata-silent": "no_metadata_service",
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
const quick = ["metadata-unreachable", "metadata-silent"];

testDiscoveryMethod({ name: "aws-autoscaling-group", open: () => group(), faults, quick });
testDiscoveryMethod({ name: "ec2-tags", open: () => byTags(), faults, quick });
testDiscoveryMethod({ name: "ec2-tags (own tags)", open: () => byTags([]), faults, quick });

Deno.test("aws-autoscaling-group returns only instances in service", async () => {
  const { cloud, ask, fill } = group();
  fill(instances(4));
  cloud.lifecycle.set("node-2", "Pending:Wait").set("node-3", "Terminating");
  assertEquals((await ask()).sort(), ["10.0.0.1", "10.0.0.2"]);
});

Deno.test("aws-autoscaling-group reports an instance without a group, with the region", async () => {
  const { cloud, ask } = group();
  cloud.instances = instances(1);
  cloud.self = "node-0";
  const error = await assertE2dError("aws_no_group", ask);
  assert(error.message.includes(`"node-0"`) && error.message.includes(`"eu-central-1"`), error.message);
});

for (
  const [place, permission] of [[group, "autoscaling:DescribeAutoScalingInstances"], [
    byTags,
    "ec2:DescribeInstances",
  ]] as const
) {
  Deno.test(`a refusal names the action "${permission}" that is to be allowed`, async () => {
    const { cloud, ask, fill } = place();
    fill(instances(3));
    cloud.refusals.push({
      status: 403,
      code: "UnauthorizedOperation",
      message: "You are not authorized. Encoded authorization failure message: aaaabbbbcccc",
    });
    const error = await assertE2dError("cloud_forbidden", ask);
    assert(error.message.includes(`"${permission}" is not permitted`), error.message);
    assert(error.hint!.includes(permission));
    assert(!error.message.includes("aaaabbbb"), error.message);
  });
}

for (
  const [status, code] of [[503, "RequestLimitExceeded"], [400, "Throttling"], [500, "InternalError"], [
    503,
    "",
  ]] as const
) {
  Deno.test(`ec2-tags asks again after ${status} ${code}, later each time, and has its answer`, async () => {
    const { cloud, clock, ask, fill } = byTags();
    fill(instances(3));
    cloud.refusals.push({ status, code }, { status, code });
    assertEquals((await ask()).length, 3);
    // A quarter of a second and half a second at least.
    assert(clock.monotonicMs() >= 1_000, `${clock.monotonicMs()}`);
    cloud.refusals.push(...Array(4).fill({ status, code }));
    await assertE2dError(code === "" || code === "InternalError" ? "cloud_failed" : "cloud_throttled", ask);
  });
}

for (const skewMs of [-3_600_000, 7 * 86_400_000]) {
  Deno.test(`a clock that is ${skewMs} ms off is told from a wrong key: AWS's time is taken over, and said once`, async () => {
    const { cloud, clock, log, ask, fill } = byTags();
    fill(instances(3));
    clock.skewMs = skewMs;
    assertEquals((await ask()).length, 3);
    assertEquals((await ask()).length, 3);
    assertEquals(cloud.forms.length, 3);
    const said = log.lines.filter(({ level }) => level === "warn");
    assertEquals(said.length, 1);
    // AWS's header has whole seconds.
    assert(Math.abs(said[0]!.fields["secondsBehind"] as number + skewMs / 1000) <= 1);
  });
}

Deno.test("a refused key is not used a second time while the clock is right", async () => {
  const { cloud, ask, fill } = byTags();
  fill(instances(3));
  cloud.accessKeyId = "AKIDOTHER";
  await assertE2dError("cloud_unauthorized", ask);
  assertEquals(cloud.forms.length, 1);
});

Deno.test("ec2-tags: a given value may hold wildcards, an own one means itself", async () => {
  const given = byTags([{ key: "cluster", value: "etcd?*7" }]);
  given.fill(instances(2), instances(2, 10));
  assertEquals((await given.ask()).length, 4);
  const own = byTags([]);
  own.fill(instances(2), instances(2, 10));
  assertEquals((await own.ask()).length, 2);
});

Deno.test("ec2-tags without tags refuses to look for an instance that has none but AWS's", async () => {
  const { cloud, ask } = byTags([]);
  cloud.instances = instances(2).map((one) => ({ ...one, tags: { [fakeAwsGroup]: "x" } }));
  cloud.self = "node-0";
  await assertE2dError("discovery_no_tags", ask);
});

Deno.test("ec2-tags without tags reports that this instance is not in the account", async () => {
  const { cloud, ask } = byTags([]);
  cloud.self = "node-9";
  await assertE2dError("aws_no_instance", ask);
});

Deno.test("ec2-tags uses AWS_REGION outside of EC2, and the instance's region in EC2", async () => {
  const outside = byTags(named, { AWS_REGION: "eu-central-1" });
  outside.fill(instances(3));
  outside.break("metadata-silent");
  assertEquals((await outside.ask()).length, 3);
  const inside = byTags(named, { AWS_REGION: "us-east-2" });
  inside.fill(instances(3));
  assertEquals((await inside.ask()).length, 3);
});

Deno.test("a region that is not AWS's is refused before it becomes part of a host name", async () => {
  const { cloud, ask, fill } = byTags();
  fill(instances(3));
  cloud.region = "evil.example/";
  await assertE2dError("cloud_answer", ask);
  assertEquals(cloud.forms.length, 0);
});

Deno.test("AWS_ENDPOINT_URL and the variable of a service set the endpoint, and are refused when they are not URLs", async () => {
  const { cloud, ask, fill } = group({
    AWS_ENDPOINT_URL: "https://all.test/",
    AWS_ENDPOINT_URL_AUTO_SCALING: "https://groups.test/",
  });
  fill(instances(3));
  const asked = new Set<string>();
  const handle = cloud.handle.bind(cloud);
  cloud.handle = (request) => {
    asked.add(new URL(request.url).hostname);
    return handle(request);
  };
  await ask();
  assertEquals([...asked].sort(), ["all.test", "groups.test", "metadata.test"]);
  const wrong = byTags(named, { AWS_ENDPOINT_URL_EC2: "localhost:1" });
  wrong.fill(instances(1));
  await assertE2dError("aws_endpoint", wrong.ask);
});

Deno.test("a session with the metadata service that ended early is begun again", async () => {
  const { cloud, ask, fill } = byTags();
  fill(instances(3));
  cloud.sessionsRefused = 1;
  assertEquals((await ask()).length, 3);
});

Deno.test("ownAddress() of the AWS methods is the private one of the metadata service", async () => {
  for (const { method, fill } of [group(), byTags()]) {
    fill(instances(3));
    assertEquals(await method.ownAddress!(never), "10.0.0.1");
  }
});
