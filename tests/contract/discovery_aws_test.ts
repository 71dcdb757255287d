/** The AWS discovery methods and credential sources, against moto with authorization and AWS's mock of IMDSv2. */
import { type AwsCredentials, awsCredentials } from "../../lib/cloud/aws/credentials.ts";
import { AwsQuery } from "../../lib/cloud/aws/query.ts";
import { awsAutoscalingGroup } from "../../lib/discovery/aws_autoscaling_group.ts";
import { ec2Tags } from "../../lib/discovery/ec2_tags.ts";
import type { DiscoveryConfig, DiscoveryPorts } from "../../lib/discovery/method.ts";
import * as v from "valibot";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { Moto, realPorts, region, startMetadata } from "./aws_stack.ts";

const never = new AbortController().signal;
const tags = { cluster: "etcd", env: "prod" };
const named = Object.entries(tags).map(([key, value]) => ({ key, value }));
const needed = {
  "aws-autoscaling-group": [
    "autoscaling:DescribeAutoScalingInstances",
    "autoscaling:DescribeAutoScalingGroups",
    "ec2:DescribeInstances",
  ],
  "ec2-tags": ["ec2:DescribeInstances"],
};

/** The arguments of a method on an instance; with credentials as by flags if given. */
function setting(environment: Record<string, string>, credentials?: AwsCredentials) {
  const ports = realPorts(environment);
  const config: DiscoveryConfig = {
    environment: ports.environment,
    awsAccessKey: credentials?.accessKeyId,
    awsSecretKey: credentials?.secretAccessKey,
  };
  return { config, ports: ports as unknown as DiscoveryPorts, log: ports.log };
}

const hosts = (peers: readonly { host: string }[]) => peers.map(({ host }) => host).sort();

Deno.test("ec2-tags finds the running instances over several pages with one permission", async () => {
  await using directory = await temporaryDirectory();
  await using moto = await Moto.start();
  const cluster: { id: string; address: string }[] = [];
  for (let at = 1; at <= 5; at++) {
    const address = `127.0.8.${at}`;
    cluster.push({ id: await moto.run(address, { ...tags, Name: "node" }), address });
  }
  await moto.run("127.0.8.77", { ...tags, env: "staging" });
  // Enough for a second page.
  await Promise.all(Array.from({ length: 110 }, (_, at) => moto.run(`127.0.9.${at + 1}`, { ...tags, env: "load" })));
  const user = await moto.user("finder", needed["ec2-tags"]);
  await moto.terminate(cluster[4]!.id);
  await using metadata = await startMetadata(directory.path, cluster[0]!);
  await moto.checkAuthorization();

  const environment = { AWS_ENDPOINT_URL: moto.url, AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url };
  const { config, ports } = setting(environment, user);
  const alive = cluster.slice(0, 4).map(({ address }) => address);
  assertEquals(hosts(await ec2Tags(named, config, ports).peers(never)), alive);
  assertEquals(hosts(await ec2Tags([], config, ports).peers(never)), alive);
  assertEquals(await ec2Tags([], config, ports).ownAddress!(never), "127.0.8.1");
  const load = await ec2Tags([{ key: "env", value: "lo*" }], config, ports).peers(never);
  assertEquals(load.length, 110);
  assertEquals(await ec2Tags([{ key: "cluster", value: "none" }], config, ports).peers(never), []);
});

Deno.test("aws-autoscaling-group finds the group of its instance, and the replacement of a terminated instance", async () => {
  await using directory = await temporaryDirectory();
  await using moto = await Moto.start();
  await moto.group("etcd", 3);
  const before = await moto.members("etcd");
  assert(before.every(({ address }) => address.startsWith("127.9.1.")), JSON.stringify(before));
  const user = await moto.user("finder", needed["aws-autoscaling-group"]);
  await using metadata = await startMetadata(directory.path, before[0]!);
  const environment = { AWS_ENDPOINT_URL: moto.url, AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url };
  const { config, ports } = setting(environment, user);
  const method = awsAutoscalingGroup(config, ports);
  assertEquals(hosts(await method.peers(never)), before.map(({ address }) => address).sort());

  await moto.terminate(before[2]!.id);
  const after = await moto.members("etcd");
  await moto.checkAuthorization();
  assertEquals(after.length, 3);
  assertEquals(hosts(await method.peers(never)), after.map(({ address }) => address).sort());
  assert(!after.some(({ id }) => id === before[2]!.id));
});

Deno.test("AWS methods name the missing action of a refusal, and report a wrong key separately", async () => {
  await using directory = await temporaryDirectory();
  await using moto = await Moto.start();
  await moto.group("etcd", 1);
  const [own] = await moto.members("etcd");
  const nothing = await moto.user("nothing", ["s3:GetObject"]);
  const half = await moto.user("half", ["autoscaling:*"]);
  await using metadata = await startMetadata(directory.path, own!);
  await moto.checkAuthorization();
  const environment = { AWS_ENDPOINT_URL: moto.url, AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url };
  const ask = (credentials: AwsCredentials, which: typeof awsAutoscalingGroup) => async () => {
    const { config, ports } = setting(environment, credentials);
    await which(config, ports).peers(never);
  };
  const byTags: typeof awsAutoscalingGroup = (config, ports) => ec2Tags(named, config, ports);

  for (
    const [credentials, method, action] of [
      [nothing, awsAutoscalingGroup, "autoscaling:DescribeAutoScalingInstances"],
      [half, awsAutoscalingGroup, "ec2:DescribeInstances"],
      [nothing, byTags, "ec2:DescribeInstances"],
    ] as const
  ) {
    const error = await assertE2dError("cloud_forbidden", ask(credentials, method));
    assert(error.message.includes(`"${action}" is not permitted`), error.message);
  }
  const wrongSecret = { ...nothing, secretAccessKey: "A".repeat(40) };
  for (const wrong of [wrongSecret, { ...nothing, accessKeyId: "AKIAUNKNOWNUNKNOWN12" }]) {
    const error = await assertE2dError("cloud_unauthorized", ask(wrong, byTags));
    assert(!error.message.includes(wrong.secretAccessKey), error.message);
  }
});

Deno.test("aws-autoscaling-group in another region than the group reports that the instance is in no group", async () => {
  await using directory = await temporaryDirectory();
  await using moto = await Moto.start();
  await moto.group("etcd", 1);
  const [own] = await moto.members("etcd");
  await using metadata = await startMetadata(directory.path, { ...own!, region: "us-west-2" });
  const environment = { AWS_ENDPOINT_URL: moto.url, AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url };
  const { config, ports } = setting(environment, { accessKeyId: "a", secretAccessKey: "b" });
  const error = await assertE2dError("aws_no_group", () => awsAutoscalingGroup(config, ports).peers(never));
  assert(error.message.includes(`"us-west-2"`), error.message);
});

Deno.test("awsCredentials() reads the role of the instance with IMDSv2, and discovery works with it", async () => {
  await using directory = await temporaryDirectory();
  await using moto = await Moto.start();
  const arn = await moto.role("node-role", [...needed["ec2-tags"], "iam:GetInstanceProfile", "sts:AssumeRole"]);
  const id = await moto.run("127.0.8.1", tags);
  const credentials = await sessionOf(moto, arn);
  const expiresAt = new Date(Date.now() + 3_600_000);
  const role = { name: "node-role", credentials, expiresAt };
  await using metadata = await startMetadata(directory.path, { id, address: "127.0.8.1", role });
  await moto.checkAuthorization();
  const environment = {
    AWS_ENDPOINT_URL: moto.url,
    AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url,
    HOME: directory.path,
  };
  const { config, ports, log } = setting(environment);
  const { expiresAtMs, ...found } = await awsCredentials({}, realPorts(environment))();
  const { expiresAtMs: _, ...given } = credentials;
  assertEquals(found, given);
  assertEquals(expiresAtMs, Math.floor(expiresAt.getTime() / 1000) * 1000);
  assertEquals(hosts(await ec2Tags(named, config, ports).peers(never)), ["127.0.8.1"]);

  const session = await awsCredentials({ roleSessionName: "node-1" }, realPorts(environment))();
  assert(session.accessKeyId !== credentials.accessKeyId);
  const query = new AwsQuery(
    { service: "sts", region, credentials: () => Promise.resolve(session) },
    realPorts(environment),
  );
  const schema = v.object({ GetCallerIdentityResult: v.object({ Arn: v.string() }) });
  const answer = await query.call({ action: "GetCallerIdentity", parameters: {}, schema }, never);
  assert(answer.GetCallerIdentityResult.Arn.endsWith("/node-1"), answer.GetCallerIdentityResult.Arn);
  assert(!log.text.includes(credentials.secretAccessKey));
});

Deno.test("awsCredentials() assumes the role of a profile with keys and with a web identity", async () => {
  await using directory = await temporaryDirectory();
  await using moto = await Moto.start();
  const arn = await moto.role("backup", ["ec2:DescribeInstances"]);
  const user = await moto.user("operator", ["sts:AssumeRole"]);
  const path = directory.path;
  await Deno.writeTextFile(
    `${path}/config`,
    `[profile backup]\nrole_arn = ${arn}\nsource_profile = operator\nregion = ${region}\n`,
  );
  await Deno.writeTextFile(
    `${path}/credentials`,
    `[operator]\naws_access_key_id = ${user.accessKeyId}\naws_secret_access_key = ${user.secretAccessKey}\n`,
  );
  await Deno.writeTextFile(`${path}/token`, "a.web.token\n");
  const byProfile = {
    AWS_ENDPOINT_URL: moto.url,
    AWS_PROFILE: "backup",
    AWS_CONFIG_FILE: `${path}/config`,
    AWS_SHARED_CREDENTIALS_FILE: `${path}/credentials`,
  };
  const byToken = { AWS_ENDPOINT_URL: moto.url, AWS_WEB_IDENTITY_TOKEN_FILE: `${path}/token`, AWS_ROLE_ARN: arn };
  // With authorization enabled moto does not answer unsigned requests.
  const withToken = await awsCredentials({}, realPorts(byToken))();
  await moto.checkAuthorization();
  const withKeys = await awsCredentials({}, realPorts(byProfile))();
  for (const credentials of [withToken, withKeys]) {
    assert(credentials.expiresAtMs! > Date.now() && credentials.sessionToken);
    await moto.call("ec2", "DescribeInstances", {}, credentials);
    await assertE2dError("cloud_forbidden", () => moto.call("ec2", "DescribeSubnets", {}, credentials));
  }
});

Deno.test("AWS methods without a metadata service report it immediately", async () => {
  const { config, ports } = setting({ AWS_EC2_METADATA_SERVICE_ENDPOINT: "http://127.0.0.1:1" });
  for (
    const method of [awsAutoscalingGroup(config, ports), ec2Tags([], config, ports), ec2Tags(named, config, ports)]
  ) {
    const error = await assertE2dError("no_metadata_service", () => method.peers(never));
    assert(error.message.includes("127.0.0.1:1"), error.message);
  }
});

/** The credentials that EC2 gives to an instance: moto has no such service, so its root user assumes the role. */
async function sessionOf(moto: Moto, arn: string): Promise<AwsCredentials> {
  const answer = await moto.call("sts", "AssumeRole", { RoleArn: arn, RoleSessionName: "i-instance" });
  const schema = v.object({
    AssumeRoleResult: v.object({
      Credentials: v.object({ AccessKeyId: v.string(), SecretAccessKey: v.string(), SessionToken: v.string() }),
    }),
  });
  const { Credentials } = v.parse(schema, answer).AssumeRoleResult;
  return {
    accessKeyId: Credentials.AccessKeyId,
    secretAccessKey: Credentials.SecretAccessKey,
    sessionToken: Credentials.SessionToken,
  };
}
