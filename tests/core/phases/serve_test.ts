import type { Effect } from "../../../lib/core/facts/effect.ts";
import { step } from "../../../lib/core/step.ts";
import { assertEquals } from "../../support/assert.ts";
import { alarm, answer, answering, changed, data, member, settings, type StateChange } from "../facts.ts";
import { createNode } from "../../../lib/core/state/state.ts";
import type { EtcdAnswer } from "../../../lib/core/facts/cluster.ts";

const members = [member("a")];
const now = { monotonicMs: 1_000, wallMs: 1_000_000 };
const lineage = { id: "l", epoch: 0, token: "t" };
const backup = { kind: "takeSnapshot", id: 7, format: "v2", lineage, lastRevision: 0 } as const;

/** a serves and takes a snapshot; what it does when its etcd answers so. */
function effects(change: Partial<EtcdAnswer>, node: StateChange = {}): string[] {
  const self = { name: "a", peerUrl: "http://a:2380", clientUrl: "http://a:2379", gossipAddr: "a:7980" };
  const before = changed(
    createNode(self, settings({ requiredSize: 1, gossip: false, snapshots: true }), "seed", now),
    {
      phase: "serving",
      disk: { data: data("a", members) },
      ownEtcd: { etcd: { kind: "ready", sinceMs: 0 } },
      membership: {
        clusterRecordVerified: true,
        endpoints: new Map([[self.clientUrl, answering(answer("a", members, change), now.monotonicMs)]]),
      },
      bootstrap: { volatileKeysCleared: true, hashesCompared: true },
      effects: { inFlight: new Map([["backup", backup]]) },
      maintenance: { planReadMs: now.monotonicMs },
    },
    node,
  );
  const wanted: readonly Effect["kind"][] = ["abortSnapshot", "reclaimSpace", "takeSnapshot", "clearVolatile"];
  return step(before, { kind: "timer" }, now).effects.map(({ kind }) => kind).filter((kind) =>
    wanted.includes(kind as Effect["kind"])
  );
}

Deno.test("a full database ends the snapshot that is being taken; room is made as soon as it has ended", () => {
  assertEquals(effects({}), []);
  assertEquals(effects({ alarms: [alarm("NOSPACE", "a")] }), ["abortSnapshot"]);
  const ended = {
    effects: { inFlight: new Map() },
    snapshots: { backup: { revision: 0, attemptedAtMs: now.monotonicMs, diverged: false } },
  };
  assertEquals(effects({ alarms: [alarm("NOSPACE", "a")] }, ended), ["reclaimSpace"]);
});

Deno.test("a node whose member leads no more ends its snapshot, too", () => {
  assertEquals(effects({ alarms: [alarm("NOSPACE", "b")], leaderId: "id-b" }), ["abortSnapshot"]);
});

Deno.test("a snapshot goes on while room was made a moment ago and there was none", () => {
  assertEquals(
    effects({ alarms: [alarm("NOSPACE", "a")] }, {
      effects: { backoffUntilMs: new Map([["care", now.monotonicMs + 60_000]]) },
    }),
    [],
  );
});

Deno.test("a restored cluster without space reclaims space before the volatile keys are cleared", () => {
  const started = { lineage: { id: "l", epoch: 2, token: "t" }, how: "restored", renounced: [] } as const;
  const restored: StateChange = {
    phase: "bootstrapping",
    bootstrap: { volatileKeysCleared: false },
    effects: { inFlight: new Map() },
    disk: { record: { nonce: "n", pledges: [], started } },
  };
  assertEquals(effects({ alarms: [alarm("NOSPACE", "a")] }, restored), ["reclaimSpace"]);
  assertEquals(effects({}, restored), ["clearVolatile"]);
  // Beside a follower the leader's node reclaims the space.
  assertEquals(effects({ alarms: [alarm("NOSPACE", "a")], leaderId: "id-b" }, restored), ["clearVolatile"]);
});
