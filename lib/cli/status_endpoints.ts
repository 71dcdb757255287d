/** `e2d status --endpoints`: what the members of etcd say themselves, where no e2d can be asked. */
import { type EtcdClient, openEtcd } from "../etcd/client.ts";
import type { EtcdTls } from "../etcd/client_channel.ts";
import type { EtcdMemberInfo, EtcdStatus } from "../etcd/client_status.ts";
import { describeError, E2dError } from "../errors.ts";
import { byName, memberFacts, type MemberReport } from "../manager/status_report.ts";
import { systemClock } from "../sys/clock.ts";
import { enableGrpcTls } from "../sys/grpc_tls.ts";

/** The members as seen through one of them. */
export interface EndpointsReport {
  readonly clusterId: string;
  /** A linearizable read has succeeded. */
  readonly quorum: boolean;
  /** There is a quorum, every member serves, and no alarm is raised. */
  readonly healthy: boolean;
  readonly members: readonly MemberReport[];
  /** What is wrong, in words. */
  readonly reasons: readonly string[];
}

const askTimeoutMs = 3_000;

/** Throws E2dError `etcd_unreachable` when none of the endpoints answers. */
export async function askEndpoints(
  { endpoints, tls }: { endpoints: readonly string[]; tls?: EtcdTls | undefined },
): Promise<EndpointsReport> {
  await enableGrpcTls();
  const client = await openEtcd({ endpoints, tls, clock: systemClock, callTimeoutMs: askTimeoutMs });
  try {
    const { list, quorum } = await membersThrough(client);
    const answers = new Map(
      await Promise.all(list.map(async (member) => [member.id, await statusThrough(client, member)] as const)),
    );
    const heard = [...answers.values()].filter((answer) => answer !== undefined);
    // Of two that differ the one with the later term knows better.
    const leading = heard.filter(({ leaderId }) => leaderId !== undefined).sort((a, b) => b.raftTerm - a.raftTerm)[0];
    const raftIndex = Math.max(0, ...heard.map((answer) => answer.raftIndex));
    const members = list.map((member): MemberReport => {
      const answer = answers.get(member.id);
      return {
        ...memberFacts(member, answer, { leaderId: leading?.leaderId, raftIndex }),
        reachable: answer !== undefined,
        ...(answer?.current ? { dataAgeMs: 0 } : {}),
        // Those of others are told by them.
        alarms: (answer?.alarms ?? []).filter((alarm) => !alarm.includes(" of ")),
      };
    }).sort(byName);
    const reasons = [
      ...(quorum ? [] : ["no member serves a linearizable read: there is no quorum"]),
      ...members.filter(({ reachable }) => reachable === false).map(({ name, id }) =>
        `"${name || id}" does not answer`
      ),
      ...members.flatMap(({ name, alarms }) => alarms.map((alarm) => `"${name}" raises the alarm ${alarm}`)),
    ];
    const clusterId = heard[0]?.clusterId ?? "";
    return { clusterId, quorum, healthy: reasons.length === 0, members, reasons };
  } finally {
    client.close();
  }
}

/** As of now where there is a quorum, else as one member remembers it. */
async function membersThrough(client: EtcdClient): Promise<{ list: EtcdMemberInfo[]; quorum: boolean }> {
  const failures: string[] = [];
  for (const linearizable of [true, false]) {
    for (const endpoint of client.endpoints) {
      try {
        // etcd 3.4 lists members from its own store whatever is asked: the read tells whether there is a quorum.
        if (linearizable) await client.ready(endpoint, { timeoutMs: askTimeoutMs });
        const list = await client.memberList(endpoint, { linearizable, timeoutMs: askTimeoutMs });
        return { list, quorum: linearizable };
      } catch (error) {
        failures.push(describeError(error));
      }
    }
  }
  throw new E2dError("etcd_unreachable", `Cannot ask "${client.endpoints.join(",")}": ${failures.at(-1)}`, {
    hint: "give the client URLs of members that run, and with TLS --ca-cert, --client-cert and --client-key",
  });
}

/** undefined: it does not answer. `current`: it has all that was committed, as a linearizable read proves. */
async function statusThrough(
  client: EtcdClient,
  { clientUrls }: EtcdMemberInfo,
): Promise<EtcdStatus & { current: boolean } | undefined> {
  for (const url of clientUrls) {
    try {
      const status = await client.status(url, { timeoutMs: askTimeoutMs });
      const current = await client.ready(url, { timeoutMs: askTimeoutMs }).then(() => true, () => false);
      return { ...status, current };
    } catch {
      // The next address may be one that is reached from here.
    }
  }
  return undefined;
}
