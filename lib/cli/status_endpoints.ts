/**
 * `e2d status --endpoints`: builds a report from the etcd members themselves, for when no e2d answers. Reads only, and
 * never fails because a single member is silent.
 */
import { type EtcdClient, openEtcd } from "../etcd/client/client.ts";
import type { EtcdTls } from "../etcd/client/channel.ts";
import { alarmTexts, type EtcdMember, type EtcdStatus } from "../facts/etcd.ts";
import { describeError, E2dError } from "../errors.ts";
import { byName, memberFacts, type MemberReport } from "../manager/status/report.ts";
import { systemClock } from "../sys/clock.ts";
import { enableGrpcTls } from "../sys/grpc/tls.ts";

/** The members as listed by the first endpoint that answers. */
export interface EndpointsReport {
  readonly clusterId: string;
  /** True if a linearizable read succeeded. */
  readonly quorum: boolean;
  /** True if there is a quorum, every member answers, and no alarm is raised. */
  readonly healthy: boolean;
  readonly members: readonly MemberReport[];
  /** One sentence per problem. */
  readonly reasons: readonly string[];
}

const callTimeoutMs = 3_000;

/** Throws E2dError `etcd_unreachable` if no endpoint answers. */
export async function queryEndpoints(
  { endpoints, tls }: { endpoints: readonly string[]; tls?: EtcdTls | undefined },
): Promise<EndpointsReport> {
  await enableGrpcTls();
  const client = await openEtcd({ endpoints, tls, clock: systemClock, callTimeoutMs });
  try {
    const { list, quorum } = await membersThrough(client);
    const answers = new Map(
      await Promise.all(list.map(async (member) => [member.id, await statusThrough(client, member)] as const)),
    );
    const received = [...answers.values()].filter((answer) => answer !== undefined);
    // If members disagree about the leader, the one with the highest raft term is right.
    const newest = received.filter(({ leaderId }) => leaderId !== undefined).sort((a, b) => b.raftTerm - a.raftTerm)[0];
    const raftIndex = Math.max(0, ...received.map((answer) => answer.raftIndex));
    const members = list.map((member): MemberReport => {
      const answer = answers.get(member.id);
      return {
        ...memberFacts(member, answer, { leaderId: newest?.leaderId, raftIndex }),
        reachable: answer !== undefined,
        ...(answer?.current ? { dataAgeMs: 0 } : {}),
        // Each member reports its own alarms.
        alarms: answer === undefined
          ? []
          : alarmTexts({ ...answer, alarms: answer.alarms.filter(({ memberId }) => memberId === member.id) }),
      };
    }).sort(byName);
    const reasons = [
      ...(quorum ? [] : ["no member serves a linearizable read: there is no quorum"]),
      ...members.filter(({ reachable }) => reachable === false).map(({ name, id }) =>
        `"${name || id}" does not answer`
      ),
      ...members.flatMap(({ name, alarms }) => alarms.map((alarm) => `"${name}" raises the alarm ${alarm}`)),
    ];
    const clusterId = received[0]?.clusterId ?? "";
    return { clusterId, quorum, healthy: reasons.length === 0, members, reasons };
  } finally {
    client.close();
  }
}

/** The current member list if there is a quorum, otherwise the list in the local store of one member. */
async function membersThrough(client: EtcdClient): Promise<{ list: EtcdMember[]; quorum: boolean }> {
  const failures: string[] = [];
  for (const linearizable of [true, false]) {
    for (const endpoint of client.endpoints) {
      try {
        // etcd 3.4 ignores `linearizable` and lists members from its local store: the read detects a missing quorum.
        if (linearizable) await client.ready(endpoint, { timeoutMs: callTimeoutMs });
        const list = await client.memberList(endpoint, { linearizable, timeoutMs: callTimeoutMs });
        return { list, quorum: linearizable };
      } catch (error) {
        failures.push(describeError(error));
      }
    }
  }
  throw new E2dError("etcd_unreachable", `Cannot query "${client.endpoints.join(",")}": ${failures.at(-1)}`, {
    hint: "pass the client URLs of running members, and with TLS --ca-cert, --client-cert and --client-key",
  });
}

/** Undefined if the member does not answer. `current`: the member served a linearizable read, so its data is current. */
async function statusThrough(
  client: EtcdClient,
  { clientUrls }: EtcdMember,
): Promise<EtcdStatus & { current: boolean } | undefined> {
  for (const url of clientUrls) {
    try {
      const status = await client.status(url, { timeoutMs: callTimeoutMs });
      const current = await client.ready(url, { timeoutMs: callTimeoutMs }).then(() => true, () => false);
      return { ...status, current };
    } catch {
      // The next URL may be reachable from this machine.
    }
  }
  return undefined;
}
