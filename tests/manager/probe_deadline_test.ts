/** Probes of members that are far away, on virtual time. */
import { type ProbedClient, probeEtcd } from "../../lib/etcd/client/probe.ts";
import { E2dError } from "../../lib/errors.ts";
import { ProbeDeadlines, probeTimeoutMaxMs, probeTimeoutMinMs } from "../../lib/manager/adapters/probe_deadline.ts";
import { assertEquals } from "../support/assert.ts";
import { answer, member } from "../core/facts.ts";
import { TestClock } from "../support/test_clock.ts";
import type { EtcdProbe } from "../../lib/core/facts/cluster.ts";

const members = ["a", "b", "c"].map((name) => member(name));

/** A follower that is `rttMs` away from everybody: its linearizable reads ask the leader first. */
function far(clock: TestClock, rttMs: number): ProbedClient {
  const after = async <T>(trips: number, timeoutMs: number | undefined, value: T): Promise<T> => {
    const tookMs = trips * rttMs;
    if (timeoutMs !== undefined && tookMs > timeoutMs) {
      await clock.sleep(timeoutMs);
      throw new E2dError("etcd_timeout", "no answer in time");
    }
    await clock.sleep(tookMs);
    return value;
  };
  const status = answer("b", members, { memberId: "id-b" });
  return {
    status: (_, { timeoutMs }) => after(1, timeoutMs, status as never),
    clusterVersion: (_, { timeoutMs }) => after(1, timeoutMs, "3.6.0"),
    txn: (_, { timeoutMs }) => after(2, timeoutMs, { ranges: [] } as never),
    memberList: (_, { timeoutMs }) => after(2, timeoutMs, [...members]),
  };
}

async function probes(rttMs: number, count: number): Promise<{ linearizable: boolean | undefined; tookMs: number }[]> {
  const clock = new TestClock();
  const deadlines = new ProbeDeadlines();
  const client = far(clock, rttMs);
  const outcomes: { linearizable: boolean | undefined; tookMs: number }[] = [];
  for (let at = 0; at < count; at++) {
    const startedMs = clock.monotonicMs();
    const probe = probeEtcd(client, "b", {
      record: { keys: [], read: () => ({ formerSizes: [] }) },
      timeoutMs: deadlines.timeoutMs("b"),
      clock,
    }) as Promise<EtcdProbe>;
    await clock.settle(probe);
    const tookMs = clock.monotonicMs() - startedMs;
    deadlines.note("b", await probe, tookMs);
    const found = await probe;
    outcomes.push({ linearizable: found.kind === "answer" ? found.linearizable : undefined, tookMs });
  }
  return outcomes;
}

Deno.test("a member with a round trip of 300 to 700 ms is seen with its quorum after a few probes, and remains so", async () => {
  for (const rttMs of [1, 150, 300, 500, 700]) {
    const outcomes = await probes(rttMs, 8);
    assertEquals(
      outcomes.slice(3).every(({ linearizable }) => linearizable),
      true,
      `${rttMs}: ${JSON.stringify(outcomes)}`,
    );
    assertEquals(outcomes.every(({ tookMs }) => tookMs <= probeTimeoutMaxMs), true);
  }
});

Deno.test("ProbeDeadlines limits a member that never answers to 1 s", () => {
  const deadlines = new ProbeDeadlines();
  const dead: EtcdProbe = { kind: "unreachable", code: "etcd_timeout" };
  const stuck = answer("b", members, { linearizable: false });
  for (let at = 0; at < 9; at++) deadlines.note("b", dead, deadlines.timeoutMs("b"));
  assertEquals(deadlines.timeoutMs("b"), probeTimeoutMinMs);
  for (let at = 0; at < 9; at++) deadlines.note("b", stuck, deadlines.timeoutMs("b"));
  assertEquals(deadlines.timeoutMs("b"), probeTimeoutMaxMs);
  deadlines.note("b", dead, 5);
  assertEquals(deadlines.timeoutMs("b"), probeTimeoutMinMs);
  // One without a leader says so at once, and more time would not help it.
  const { leaderId: _, ...leaderless } = stuck;
  for (let at = 0; at < 9; at++) deadlines.note("c", leaderless, 900);
  assertEquals(deadlines.timeoutMs("c"), probeTimeoutMinMs);
});

Deno.test("ProbeDeadlines waits longer for a slow own etcd, not for a stopped one", () => {
  const deadlines = new ProbeDeadlines("a");
  for (let at = 0; at < 9; at++) deadlines.note("a", { kind: "unreachable", code: "etcd_timeout" }, 1_000);
  assertEquals(deadlines.timeoutMs("a"), probeTimeoutMaxMs);
  deadlines.note("a", { kind: "unreachable", code: "etcd_unreachable" }, 5);
  assertEquals(deadlines.timeoutMs("a"), probeTimeoutMinMs);
});
