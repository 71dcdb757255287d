import { step } from "../../../lib/core/step.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { answer, data, member } from "../facts.ts";
import { changed } from "../facts.ts";
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
