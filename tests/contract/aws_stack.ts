/**
 * AWS on loopback: moto for EC2, Auto Scaling, IAM and STS, which checks signatures and policies, and Amazon's own mock
 * of the metadata service, only with sessions. End-to-end tests of discovery use it too.
 */
import * as v from "valibot";
import { AwsQuery, type AwsService } from "../../lib/cloud/aws/query.ts";
import type { AwsCredentials, AwsPorts } from "../../lib/cloud/aws/credentials.ts";
import { xmlList } from "../../lib/cloud/aws/xml.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { eventually, freePorts } from "../support/fixtures.ts";
import { part } from "../support/parts.ts";
import { TestLog } from "../support/test_log.ts";

export const region = "eu-central-1";
export const accountId = "123456789012";
const never = new AbortController().signal;

/** Real time and network, with the environment of the test. */
export function realPorts(environment: Readonly<Record<string, string>>): AwsPorts & { log: TestLog } {
  return {
    http: (url, init) => fetch(url, init),
    clock: systemClock,
    random: { float: Math.random, bytes: (length) => crypto.getRandomValues(new Uint8Array(length)) },
    files: {
      readText: (path: string) => Deno.readTextFile(path).catch(() => undefined),
    } as unknown as AwsPorts["files"],
    log: new TestLog(),
    environment: (name) => environment[name],
  };
}

class Program implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;

  constructor(path: string, args: string[], env: Record<string, string> = {}) {
    this.#child = new Deno.Command(path, { args, env, stdout: "null", stderr: "null" }).spawn();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch { /* It has already ended. */ }
    await this.#child.status;
  }
}

/** One account in moto. */
export class Moto implements AsyncDisposable {
  readonly url: string;
  readonly #program: Program;
  readonly #root: AwsCredentials = { accessKeyId: "root", secretAccessKey: "root" };

  private constructor(port: number) {
    this.url = `http://127.0.0.1:${port}`;
    this.#program = new Program(part("moto-5.2.5", "moto_server"), ["-H", "127.0.0.1", "-p", `${port}`]);
  }

  static async start(): Promise<Moto> {
    const moto = new Moto(freePorts(1)[0]!);
    await eventually("moto", async () => {
      const response = await fetch(`${moto.url}/moto-api/`);
      await response.body?.cancel();
      return response.ok;
    });
    return moto;
  }

  /** Any request with any credentials; returns the parsed answer. */
  async call(
    service: AwsService,
    action: string,
    parameters: Record<string, string>,
    credentials: AwsCredentials = this.#root,
  ): Promise<Record<string, unknown>> {
    const ports = realPorts({ AWS_ENDPOINT_URL: this.url });
    const query = new AwsQuery({ service, region, credentials: () => Promise.resolve(credentials) }, ports);
    return await query.call({ action, parameters, schema: v.record(v.string(), v.unknown()) }, never);
  }

  /** From now on moto checks keys, signatures and policies, also of requests that set up the test. */
  async checkAuthorization(): Promise<void> {
    const response = await fetch(`${this.url}/moto-api/reset-auth`, {
      method: "POST",
      headers: { "content-type": "text/plain" },
      body: "0",
    });
    if (!response.ok) throw new Error(`moto: ${response.status} ${await response.text()}`);
    await response.body?.cancel();
  }

  /** A user who may do these actions. */
  async user(name: string, actions: readonly string[]): Promise<AwsCredentials> {
    await this.call("iam", "CreateUser", { UserName: name });
    if (actions.length > 0) {
      const parameters = { UserName: name, PolicyName: "p", PolicyDocument: policy(actions) };
      await this.call("iam", "PutUserPolicy", parameters);
    }
    const answer = await this.call("iam", "CreateAccessKey", { UserName: name });
    const schema = v.object({
      CreateAccessKeyResult: v.object({
        AccessKey: v.object({ AccessKeyId: v.string(), SecretAccessKey: v.string() }),
      }),
    });
    const { AccessKeyId, SecretAccessKey } = v.parse(schema, answer).CreateAccessKeyResult.AccessKey;
    return { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey };
  }

  /** A role of EC2 instances that may do these actions, and its instance profile of the same name; returns the ARN. */
  async role(name: string, actions: readonly string[]): Promise<string> {
    const trust = JSON.stringify({
      Version: "2012-10-17",
      Statement: [{ Effect: "Allow", Principal: { Service: "ec2.amazonaws.com", AWS: "*" }, Action: "sts:AssumeRole" }],
    });
    await this.call("iam", "CreateRole", { RoleName: name, Path: "/team/", AssumeRolePolicyDocument: trust });
    const parameters = { RoleName: name, PolicyName: "p", PolicyDocument: policy(actions) };
    await this.call("iam", "PutRolePolicy", parameters);
    await this.call("iam", "CreateInstanceProfile", { InstanceProfileName: name });
    await this.call("iam", "AddRoleToInstanceProfile", { InstanceProfileName: name, RoleName: name });
    return `arn:aws:iam::${accountId}:role/team/${name}`;
  }

  /** One instance at a given address, which may be a loopback address; returns its id. */
  async run(address: string, tags: Readonly<Record<string, string>>): Promise<string> {
    const parameters: Record<string, string> = {
      ImageId: "ami-12c6146b",
      MinCount: "1",
      MaxCount: "1",
      PrivateIpAddress: address,
      "TagSpecification.1.ResourceType": "instance",
    };
    Object.entries(tags).forEach(([key, value], at) => {
      parameters[`TagSpecification.1.Tag.${at + 1}.Key`] = key;
      parameters[`TagSpecification.1.Tag.${at + 1}.Value`] = value;
    });
    const schema = v.object({ instancesSet: xmlList("item", v.object({ instanceId: v.string() })) });
    return v.parse(schema, await this.call("ec2", "RunInstances", parameters)).instancesSet[0]!.instanceId;
  }

  async terminate(id: string): Promise<void> {
    await this.call("ec2", "TerminateInstances", { "InstanceId.1": id });
  }

  /** A group of `size` instances on loopback addresses of 127.9.1.0/24, which moto chooses. */
  async group(name: string, size: number): Promise<void> {
    const vpc = v.object({ vpc: v.object({ vpcId: v.string() }) });
    const { vpcId } = v.parse(vpc, await this.call("ec2", "CreateVpc", { CidrBlock: "127.9.0.0/16" })).vpc;
    const subnet = v.object({ subnet: v.object({ subnetId: v.string() }) });
    const made = await this.call("ec2", "CreateSubnet", { VpcId: vpcId, CidrBlock: "127.9.1.0/24" });
    const { subnetId } = v.parse(subnet, made).subnet;
    await this.call("autoscaling", "CreateLaunchConfiguration", {
      LaunchConfigurationName: name,
      ImageId: "ami-12c6146b",
      InstanceType: "t3.small",
    });
    await this.call("autoscaling", "CreateAutoScalingGroup", {
      AutoScalingGroupName: name,
      LaunchConfigurationName: name,
      MinSize: `${size}`,
      MaxSize: `${size}`,
      DesiredCapacity: `${size}`,
      VPCZoneIdentifier: subnetId,
    });
  }

  /** The instances of a group, in service or not. */
  async members(name: string): Promise<{ id: string; address: string }[]> {
    const groups = v.object({
      DescribeAutoScalingGroupsResult: v.object({
        AutoScalingGroups: xmlList(
          "member",
          v.object({ Instances: xmlList("member", v.object({ InstanceId: v.string() })) }),
        ),
      }),
    });
    const found = v.parse(
      groups,
      await this.call("autoscaling", "DescribeAutoScalingGroups", { "AutoScalingGroupNames.member.1": name }),
    );
    const ids = found.DescribeAutoScalingGroupsResult.AutoScalingGroups[0]!.Instances.map((one) => one.InstanceId);
    const parameters = Object.fromEntries(ids.map((id, at) => [`InstanceId.${at + 1}`, id]));
    const instance = v.object({ instanceId: v.string(), privateIpAddress: v.string() });
    const schema = v.object({ reservationSet: xmlList("item", v.object({ instancesSet: xmlList("item", instance) })) });
    const answer = v.parse(schema, await this.call("ec2", "DescribeInstances", parameters));
    return answer.reservationSet.flatMap(({ instancesSet }) => instancesSet).map((one) => ({
      id: one.instanceId,
      address: one.privateIpAddress,
    }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
  }
}

/** The metadata service of one instance. */
export async function startMetadata(
  directory: string,
  instance: {
    id: string;
    address: string;
    region?: string;
    role?: { name: string; credentials: AwsCredentials; expiresAt: Date };
  },
): Promise<{ url: string } & AsyncDisposable> {
  const { id, address, role } = instance;
  const base = "/latest/meta-data/iam";
  const config = {
    metadata: {
      paths: { "iam-security-credentials": `${base}/security-credentials/${role?.name ?? "none"}` },
      values: {
        "instance-id": id,
        ...role === undefined ? {} : {
          "iam-info": {
            Code: "Success",
            InstanceProfileArn: `arn:aws:iam::${accountId}:instance-profile/${role.name}`,
          },
          "iam-security-credentials-role": role.name,
          "iam-security-credentials": {
            Code: "Success",
            Type: "AWS-HMAC",
            AccessKeyId: role.credentials.accessKeyId,
            SecretAccessKey: role.credentials.secretAccessKey,
            Token: role.credentials.sessionToken,
            Expiration: role.expiresAt.toISOString().replace(/\.\d{3}/, ""),
          },
        },
      },
    },
    dynamic: {
      values: {
        "instance-identity-document": {
          accountId,
          instanceId: id,
          region: instance.region ?? region,
          privateIp: address,
        },
      },
    },
  };
  const [port] = freePorts(1);
  const file = `${directory}/metadata-${id}.json`;
  await Deno.writeTextFile(file, JSON.stringify(config));
  const program = new Program(
    part("ec2-metadata-mock-1.13.0", "ec2-metadata-mock"),
    ["-n", "127.0.0.1", "-p", `${port}`, "--imdsv2", "-c", file],
    { HOME: directory },
  );
  const url = `http://127.0.0.1:${port}`;
  await eventually("the metadata service", async () => {
    const response = await fetch(`${url}/latest/meta-data/`);
    await response.body?.cancel();
    // A request without a session is refused.
    return response.status === 401;
  });
  return { url, [Symbol.asyncDispose]: () => program[Symbol.asyncDispose]() };
}

function policy(actions: readonly string[]): string {
  return JSON.stringify({
    Version: "2012-10-17",
    Statement: [{ Effect: "Allow", Action: actions, Resource: "*" }],
  });
}
