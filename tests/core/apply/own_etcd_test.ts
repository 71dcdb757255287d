import { etcdChanged, etcdExited, etcdGone, markLeaderless } from "../../../lib/core/apply/own_etcd.ts";
import { copyOf, createNode } from "../../../lib/core/state/state.ts";
import { Turn } from "../../../lib/core/state/turn.ts";
import type { EtcdProcess } from "../../../lib/core/facts/cluster.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { answer, answering, changed, data, member, nowMs, settings, type StateChange } from "../facts.ts";

const self = { name: "a", peerUrl: "http://a:2380", clientUrl: "http://a:2379", gossipAddr: "a:7980" };
const fresh = createNode(self, settings(), "seed", { monotonicMs: 0, wallMs: 0 });
const turnOf = (...changes: readonly StateChange[]) =>
  new Turn(copyOf(changed(fresh, ...changes)), { monotonicMs: nowMs, wallMs: 0 });

const of = (etcd: EtcdProcess): StateChange => ({ ownEtcd: { etcd } });
const stopped = { kind: "stopped" } as const;
const starting = { kind: "starting", sinceMs: 1 } as const;
const ready = { kind: "ready", sinceMs: 2 } as const;
const committing = {
  initialMembers: [],
  source: { kind: "empty" },
  lineage: { id: "l", epoch: 1, token: "t" },
  digest: "d",
  token: "t",
} as const;
const lines = ({ node }: Turn) =>
  node.reports.journal.map(({ level, outcome, reason: { code, text } }) => `${level} ${outcome} ${code}: ${text}`);

Deno.test("an etcd that starts has no leader from then on; a ready one does not start again", () => {
  const started = (etcd: EtcdProcess, leaderlessSinceMs?: number) => {
    const turn = turnOf({ ownEtcd: { etcd, leaderlessSinceMs, leaderSinceMs: 7 } });
    etcdChanged(turn, "starting");
    return [turn.node.ownEtcd.etcd, turn.node.ownEtcd.leaderlessSinceMs, turn.node.ownEtcd.leaderSinceMs];
  };
  assertEquals(started(stopped), [{ kind: "starting", sinceMs: nowMs }, nowMs, undefined]);
  assertEquals(started(starting, 5), [{ kind: "starting", sinceMs: nowMs }, 5, undefined]);
  assertEquals(started(ready), [ready, undefined, 7]);
});

Deno.test("an etcd that is ready ends the count of its exits, the report of them, and a bootstrap", () => {
  const problem = { level: "error", reason: { code: "etcd_dies", text: "it dies" } } as const;
  const turn = turnOf({
    ownEtcd: { etcd: starting, exits: 4 },
    reports: { problems: new Map([["etcd_dies", problem]]) },
    bootstrap: { committing },
  });
  etcdChanged(turn, "ready");
  const { node } = turn;
  assertEquals([node.ownEtcd.etcd, node.ownEtcd.exits], [{ kind: "ready", sinceMs: nowMs }, 0]);
  assertEquals([node.reports.problems.size, node.bootstrap.committing], [0, undefined]);
  etcdChanged(turn, "ready");
  const again = turnOf(of(ready));
  etcdChanged(again, "ready");
  assertEquals(again.node.ownEtcd.etcd, ready, "since when it was");
});

Deno.test("an etcd that stopped is forgotten: its data is looked at again, and nothing that it said counts", () => {
  const turn = turnOf({
    ownEtcd: { etcd: ready, leaderlessSinceMs: 3, leaderSinceMs: 2 },
    disk: { data: data("a", [member("a")]), logReadMs: 4 },
    maintenance: {
      plan: { id: "p", purpose: "defrag", text: "t", createdAtWallMs: 0, operations: [] },
      planReadMs: 5,
    },
    membership: {
      clusterRecordVerified: true,
      endpoints: new Map(["a", "b"].map((name) => [`http://${name}:2379`, answering(answer(name, []))])),
    },
  });
  etcdChanged(turn, "stopped");
  const { ownEtcd, disk, maintenance, membership } = turn.node;
  assertEquals([ownEtcd.etcd, ownEtcd.leaderlessSinceMs, ownEtcd.leaderSinceMs], [stopped, undefined, undefined]);
  assertEquals([disk.data.kind, disk.logReadMs], ["unknown", undefined]);
  assertEquals([maintenance.plan, maintenance.planReadMs], [undefined, undefined]);
  assertEquals([membership.clusterRecordVerified, [...membership.endpoints.keys()]], [false, ["http://b:2379"]]);
  assertEquals(turn.effects, [{ kind: "inspectData" }]);
});

Deno.test("a data-dir is not looked at while an effect on it is in flight: its end looks", () => {
  const turn = turnOf({ effects: { inFlight: new Map([["local", { kind: "stopEtcd", id: 1 }]]) } });
  etcdGone(turn);
  assertEquals(turn.effects, []);
});

Deno.test("an etcd that exits is started again after 1 s, each time after twice the time, at most a minute", () => {
  let node = changed(fresh, {
    bootstrap: { committing },
    membership: { added: "id" },
    disk: { data: data("a", [member("a")]) },
  });
  const restsMs: number[] = [];
  for (let at = 0; at < 8; at++) {
    const turn = new Turn(copyOf(node), { monotonicMs: nowMs, wallMs: 0 });
    etcdExited(turn, { kind: "etcdExited", code: 7, cause: "unknown" });
    node = turn.node;
    restsMs.push(node.effects.backoffUntilMs.get("local")! - nowMs);
  }
  assertEquals(restsMs, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
  assertEquals(node.ownEtcd.etcd, { kind: "exited", atMs: nowMs, code: 7, cause: "unknown", count: 8 });
  assertEquals([node.bootstrap.committing, node.membership.added], [undefined, undefined], "its identity is spent");
  assertEquals(node.disk.data.kind, "unknown");
});

Deno.test("the third exit in a row is a problem that names the cause, the last line and what helps", () => {
  const exits = (times: number, event: { cause?: string; lastLine?: string; hint?: string } = {}) => {
    const turn = turnOf({ ownEtcd: { exits: times - 1 } });
    etcdExited(turn, { kind: "etcdExited", code: 1, cause: "unknown", ...event });
    return turn;
  };
  const [exited, ...more] = lines(exits(2));
  assert(exited!.startsWith("error etcd exited etcd_exited: ") && exited!.endsWith(" with status 1 (unknown)"), exited);
  assertEquals(more, []);
  const problem = (turn: Turn) => turn.node.reports.problems.get("etcd_dies");
  assertEquals(problem(exits(2)), undefined);
  const text = "etcd exits at each start before it is ready";
  assertEquals(lines(exits(3)), [exited, `error problem etcd_dies: ${text}`]);
  const again = "; e2d starts it again at least once a minute and does not change the data-dir";
  assertEquals(problem(exits(3)), {
    level: "error",
    reason: { code: "etcd_dies", text, hint: `the last lines of etcd in the log of e2d contain the cause${again}` },
  });
  const known = problem(exits(3, { cause: "data_corrupt", lastLine: "crc mismatch", hint: "restore it" }));
  assertEquals(known?.reason, {
    code: "etcd_dies",
    text: `${text} (data_corrupt): crc mismatch`,
    hint: `restore it${again}`,
  });
});

Deno.test("markLeaderless() notes since when an etcd that runs has no leader", () => {
  const since = (etcd: EtcdProcess, leaderlessSinceMs?: number) => {
    const turn = turnOf({ ownEtcd: { etcd, leaderlessSinceMs } });
    markLeaderless(turn);
    return turn.node.ownEtcd.leaderlessSinceMs;
  };
  assertEquals([since(ready), since(starting), since(ready, 3), since(stopped)], [nowMs, nowMs, 3, undefined]);
});
