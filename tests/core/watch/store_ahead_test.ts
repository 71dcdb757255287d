import { noteOwnRead, noteStoredRevision, watchStoredRevision } from "../../../lib/core/watch/store_ahead.ts";
import { step } from "../../../lib/core/step.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { answer, answering, changed, data, member, nowMs, type StateChange } from "../facts.ts";
import { problemOf, turnOf } from "../turns.ts";
import { createNode, type NodeState } from "../../../lib/core/state/state.ts";
import type { Settings } from "../../../lib/core/facts/settings.ts";

const self = { name: "a", peerUrl: "http://a:2380", clientUrl: "http://a:2379", gossipAddr: "a:7980" };
const lineage = { id: "line", epoch: 1, token: "first" };
const members = [member("a")];

function serving(): {
  node: NodeState;
  look(revision: number, ms: number): void;
  read(revision: number, ms: number): void;
} {
  const settings = { requiredSize: 1, snapshots: true, snapshotIntervalMs: 60_000, seeds: [] as string[] } as unknown;
  const fresh = createNode(self, settings as Settings, "seed", { monotonicMs: 0, wallMs: 0 });
  const started = { lineage, how: "founded" as const, renounced: [], clusterId: "c1" };
  const world = {
    node: changed(fresh, {
      phase: "serving",
      ownEtcd: { etcd: { kind: "ready", sinceMs: 0 } },
      disk: { data: data("a", members), record: { ...fresh.disk.record, started } },
    }),
    look(revision: number, ms: number) {
      const newest = { hash: `h${revision}`, revision, takenAtWallMs: 0 };
      const lookup = { kind: "newest" as const, ...newest, lineage, verified: true, epochMax: 1 };
      const lives = [{ lineage, newest }];
      const event = { kind: "snapshotLookedUp" as const, lookup: { ...lookup, lives } };
      world.node = step(world.node, event, { monotonicMs: ms, wallMs: ms }).node;
    },
    read(revision: number, ms: number) {
      const probe = answer("a", members, { revision });
      const event = { kind: "probed" as const, endpoint: self.clientUrl, probe };
      world.node = step(world.node, event, { monotonicMs: ms, wallMs: ms }).node;
    },
  };
  return world;
}

Deno.test("a cluster that its own life in the store is ahead of reports it and stays ready, and saves the knowledge past its next snapshot", () => {
  const world = serving();
  const problem = () => world.node.reports.problems.get("store_ahead");
  world.read(7, 1);
  world.look(34, 2);
  assertEquals(problem(), undefined, "the answer is older than the look");
  for (const ms of [3, 4, 5]) world.read(7, ms);
  assertEquals([problem()?.level, problem()?.keepsReady], ["error", true]);
  assert(/revision 34 .* revision 7:/.test(problem()!.reason.text));
  world.look(8, 6);
  for (const ms of [7, 8, 9]) world.read(9, ms);
  assertEquals(problem()?.level, "error", "it saved once more, and the writes are still missing");
});

Deno.test("a snapshot that another node saved a moment ago is not ahead of a cluster that has read past it", () => {
  const world = serving();
  world.read(7, 1);
  world.look(34, 2);
  for (const ms of [3, 4]) world.read(7, ms);
  world.read(35, 5);
  assertEquals(world.node.reports.problems.has("store_ahead"), false);
});

const known = (epoch = 1): StateChange => ({
  disk: {
    data: data("a", members),
    record: { nonce: "n", pledges: [], started: { lineage: { ...lineage, epoch }, how: "founded", renounced: [] } },
  },
});
const newest = (revision: number) => ({
  kind: "newest" as const,
  hash: "h",
  revision,
  lineage,
  takenAtWallMs: 0,
  verified: true,
  epochMax: 1,
});

Deno.test("noteStoredRevision() keeps the highest revision of the own life that the store has shown", () => {
  const noted = (change: StateChange, revision: number, before?: [token: string, revision: number]) => {
    const storedAhead = before && { token: before[0], revision: before[1], reads: 4 };
    const turn = turnOf([change, { snapshots: { storedAhead } }]);
    noteStoredRevision(turn, newest(revision));
    const after = turn.node.snapshots.storedAhead;
    return after && [after.token, after.revision, after.reads];
  };
  assertEquals(noted(known(), 9), ["first", 9, 0]);
  assertEquals(noted(known(), 10, ["first", 9]), ["first", 10, 0]);
  assertEquals([noted(known(), 9, ["first", 9]), noted(known(), 8, ["first", 9])], [["first", 9, 4], ["first", 9, 4]]);
  assertEquals(noted(known(), 8, ["other", 9]), ["first", 8, 0], "of another life");
  assertEquals([noted(known(0), 9), noted({}, 9)], [undefined, undefined], "no life of the own is known");
  const turn = turnOf(known());
  noteStoredRevision(turn, { kind: "absent" });
  assertEquals(turn.node.snapshots.storedAhead, undefined);
  noteOwnRead(turn);
  assertEquals(turn.node.snapshots.storedAhead, undefined, "a read before any lookup counts for nothing");
});

Deno.test("watchStoredRevision() reports data behind the store after three reads, until it is ahead or of another life", () => {
  const told = (revision: number, change: StateChange = {}, reads = 3, token = "first") => {
    const problem = { level: "error", reason: { code: "store_ahead", text: "before" } } as const;
    const turns = [new Map(), new Map([["store_ahead", problem]])].map((problems) =>
      turnOf([
        known(),
        { phase: "serving", snapshots: { storedAhead: { token, revision: 9, reads } } },
        { membership: { endpoints: new Map([[self.clientUrl, answering(answer("a", members, { revision }))]]) } },
        { reports: { problems } },
        change,
      ])
    );
    return turns.map((turn) => {
      watchStoredRevision(turn);
      return problemOf(turn, "store_ahead")?.split(":").slice(0, 2).join(":");
    });
  };
  const behind = "error ready: the store holds revision 9 of this cluster's life, and its data is at revision 8";
  const [first, stands] = ["error: before", "error: before"];
  assertEquals(told(8), [behind, first], "what stands is not told again with each revision");
  assertEquals([told(9), told(10)], [[undefined, undefined], [undefined, undefined]]);
  const nothing = [undefined, stands];
  assertEquals(told(8, {}, 2), nothing);
  assertEquals(told(8, { phase: "restarting" }), nothing);
  assertEquals(told(8, { membership: { endpoints: new Map() } }), nothing);
  const unproven = answering(answer("a", members, { revision: 8, linearizable: false }));
  assertEquals(told(8, { membership: { endpoints: new Map([[self.clientUrl, unproven]]) } }), nothing);
  const old = answering(answer("a", members, { revision: 8 }), nowMs - 6_000);
  assertEquals(told(8, { membership: { endpoints: new Map([[self.clientUrl, old]]) } }), nothing);
  assertEquals(told(8, {}, 3, "other"), [undefined, undefined]);
  assertEquals(told(8, { snapshots: { storedAhead: undefined } }), [undefined, undefined]);
});
