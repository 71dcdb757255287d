/** The part of the EC2 and Auto Scaling APIs that discovery uses: instances by tag or by group, and this instance. */
import * as v from "valibot";
import { E2dError, isE2dError } from "../../errors.ts";
import { awsCredentials } from "./credentials.ts";
import { type AwsCredentialSource, type AwsPorts, awsRegion } from "./credential_source.ts";
import { type AwsInstance, AwsMetadata } from "./metadata.ts";
import { AwsQuery, type AwsService } from "./query.ts";
import { xmlList } from "./xml.ts";
import { allPages } from "../pages.ts";

export interface AwsConfig {
  readonly accessKey?: string | undefined;
  readonly secretKey?: string | undefined;
  readonly roleSessionName?: string | undefined;
  readonly metadataUrl?: string | undefined;
}

export interface Ec2Instance {
  id: string;
  /** `pending`, `running`, `stopping`, `stopped` … */
  state: string;
  tags: readonly { key: string; value: string }[];
  privateAddress: string | undefined;
}

/** A page of a thousand instances is many megabytes of XML, which would block the event loop while it is parsed. */
const pageSize = 100;
/** EC2 allows 200 values in a filter. */
const filterValuesMax = 100;

const instanceSchema = v.object({
  instanceId: v.string(),
  instanceState: v.object({ name: v.string() }),
  privateIpAddress: v.optional(v.string()),
  tagSet: xmlList("item", v.object({ key: v.string(), value: v.optional(v.string(), "") })),
});
const instancesSchema = v.object({
  reservationSet: xmlList("item", v.object({ instancesSet: xmlList("item", instanceSchema) })),
  nextToken: v.optional(v.string()),
});
const ownGroupSchema = v.object({
  DescribeAutoScalingInstancesResult: v.object({
    AutoScalingInstances: xmlList("member", v.object({ AutoScalingGroupName: v.string() })),
  }),
});
const groupsSchema = v.object({
  DescribeAutoScalingGroupsResult: v.object({
    AutoScalingGroups: xmlList(
      "member",
      v.object({
        AutoScalingGroupName: v.string(),
        Instances: xmlList("member", v.object({ InstanceId: v.string(), LifecycleState: v.string() })),
      }),
    ),
    NextToken: v.optional(v.string()),
  }),
});

export class AwsEc2 {
  readonly #ports: AwsPorts;
  readonly #metadata: AwsMetadata;
  readonly #credentials: AwsCredentialSource;
  readonly #queries = new Map<string, AwsQuery>();
  #region: string | undefined;

  /** Throws E2dError `aws_credentials` or `aws_endpoint` for an invalid configuration. */
  constructor(config: AwsConfig, ports: AwsPorts) {
    this.#ports = ports;
    this.#metadata = new AwsMetadata(config.metadataUrl, ports);
    this.#credentials = awsCredentials(config, ports);
  }

  /** This instance. Throws E2dError `no_metadata_service`, and what `AwsMetadata.get` throws. */
  async ownInstance(signal: AbortSignal): Promise<AwsInstance> {
    const instance = await this.#metadata.instance(signal);
    this.#region = instance.region;
    return instance;
  }

  /**
   * The region for requests: the region of this instance, or AWS_REGION outside of EC2. In EC2 the variable is ignored:
   * it may name the region of the snapshots.
   */
  async region(signal: AbortSignal): Promise<string> {
    if (this.#region !== undefined) return this.#region;
    try {
      return (await this.ownInstance(signal)).region;
    } catch (error) {
      const named = awsRegion(this.#ports.environment, "");
      if (named === "" || !isE2dError(error, "no_metadata_service")) throw error;
      return named;
    }
  }

  /** All running instances that match the filters. Values may contain `*` and `?`. Throws as `AwsQuery.call`. */
  async runningInstances(
    filters: readonly { name: string; values: readonly string[] }[],
    signal: AbortSignal,
  ): Promise<Ec2Instance[]> {
    const query = this.#query("ec2", await this.region(signal));
    const parameters: Record<string, string> = { MaxResults: `${pageSize}` };
    [{ name: "instance-state-name", values: ["running"] }, ...filters].forEach(({ name, values }, filter) => {
      parameters[`Filter.${filter + 1}.Name`] = name;
      values.forEach((value, at) => parameters[`Filter.${filter + 1}.Value.${at + 1}`] = value);
    });
    return await allPages<Ec2Instance, string>("list the instances", async (page) => {
      const { reservationSet, nextToken } = await query.call(
        {
          action: "DescribeInstances",
          parameters: { ...parameters, ...page === undefined ? {} : { NextToken: page } },
          schema: instancesSchema,
        },
        signal,
      );
      const found = reservationSet.flatMap(({ instancesSet }) => instancesSet);
      return { items: found.map(instanceOf), next: nextToken || undefined };
    });
  }

  /** Running instances by their ids, without terminated ones. Throws as `AwsQuery.call`. */
  async runningInstancesOf(ids: readonly string[], signal: AbortSignal): Promise<Ec2Instance[]> {
    const found: Ec2Instance[] = [];
    for (let at = 0; at < ids.length; at += filterValuesMax) {
      // A filter instead of the parameter for ids: with the parameter one terminated instance fails the whole request.
      const filter = { name: "instance-id", values: ids.slice(at, at + filterValuesMax) };
      for (const instance of await this.runningInstances([filter], signal)) found.push(instance);
    }
    return found;
  }

  /** Ids of the instances in service in this instance's Auto Scaling group. Throws E2dError `aws_no_group`. */
  async groupInService(own: AwsInstance, signal: AbortSignal): Promise<string[]> {
    const query = this.#query("autoscaling", own.region);
    const { DescribeAutoScalingInstancesResult: answer } = await query.call(
      {
        action: "DescribeAutoScalingInstances",
        parameters: { "InstanceIds.member.1": own.instanceId },
        schema: ownGroupSchema,
      },
      signal,
    );
    const name = answer.AutoScalingInstances[0]?.AutoScalingGroupName;
    if (name === undefined) {
      throw new E2dError(
        "aws_no_group",
        `Cannot find the Auto Scaling group of the instance "${own.instanceId}": it is in no group in "${own.region}"`,
        { hint: "attach the instance to a group, or use --peer-discovery ec2-tags:KEY=VALUE" },
      );
    }
    const members = await allPages<{ InstanceId: string; LifecycleState: string }, string>(
      `list the instances of the group "${name}"`,
      async (page) => {
        const { DescribeAutoScalingGroupsResult: { AutoScalingGroups, NextToken } } = await query.call(
          {
            action: "DescribeAutoScalingGroups",
            parameters: { "AutoScalingGroupNames.member.1": name, ...page === undefined ? {} : { NextToken: page } },
            schema: groupsSchema,
          },
          signal,
        );
        return { items: AutoScalingGroups.flatMap(({ Instances }) => Instances), next: NextToken || undefined };
      },
    );
    return members.filter(({ LifecycleState }) => LifecycleState === "InService").map(({ InstanceId }) => InstanceId);
  }

  #query(service: AwsService, region: string): AwsQuery {
    const key = `${service} ${region}`;
    const query = this.#queries.get(key) ??
      new AwsQuery({ service, region, credentials: this.#credentials }, this.#ports);
    this.#queries.set(key, query);
    return query;
  }
}

function instanceOf(
  { instanceId, instanceState, tagSet, privateIpAddress }: v.InferOutput<typeof instanceSchema>,
): Ec2Instance {
  return { id: instanceId, state: instanceState.name, tags: tagSet, privateAddress: privateIpAddress || undefined };
}
