/** The invariants of the state: each can be broken, and a new node breaks none. */
import { createNode, type NodeState } from "../../lib/core/state/state.ts";
import { brokenInvariant, invariants } from "../../lib/core/state/invariants.ts";
import type { PendingCommand } from "../../lib/core/facts/command.ts";
import type { Plan } from "../../lib/core/facts/plan.ts";
import type { AnsweredEffect } from "../../lib/core/facts/effect.ts";
import { assertEquals } from "../support/assert.ts";
import { changed, peer, settings } from "./facts.ts";

const self = { name: "a", peerUrl: "http://a:2380", clientUrl: "http://a:2379", gossipAddr: "a:7980" };
const fresh = createNode(self, settings(), "seed", { monotonicMs: 0, wallMs: 0 });
const lineage = { id: "l", epoch: 1, token: "t" };
const started = { lineage, how: "joined", renounced: [] } as const;
const pledge = { digest: "d", token: "p", atMs: 0, initialMembers: [] };
const command = (id: string, step: PendingCommand["step"] = "new"): PendingCommand => ({
  id,
  command: { kind: "defrag", dryRun: true },
  step,
  askedMs: 0,
  awaited: [],
});
const plan = (id: string) => ({ id, purpose: "defrag", text: "", createdAtWallMs: 0, operations: [] }) as Plan;

// deno-lint-ignore no-explicit-any
const broken: Record<string, any> = {
  "process: it booted, then watches, then received the last event": { process: { watchingSinceMs: 5 } },
  "process: a node that ends serves no more": {
    process: { ending: { code: 1, reason: { code: "own_data", text: "" } } },
  },
  "disk: a pledge is recorded once": { disk: { record: { nonce: "n", pledges: [pledge, pledge] } } },
  "disk: data that was started is either here or lost": {
    disk: { record: { nonce: "n", pledges: [], started, lost: started } },
  },
  "disk: a rival is of the own lineage and another life": {
    disk: { record: { nonce: "n", pledges: [], started, rival: lineage } },
  },
  "gossip: the rules see only known peers, and none of another cluster": { gossip: { peers: [peer("b")] } },
  "gossip: a peer is known once": { gossip: { known: [peer("b"), peer("b")] } },
  "gossip: the text is that of the published facts": { gossip: { factsText: "{}" } },
  "gossip: the time of a name conflict is that of an existing one": { gossip: { nameConflictSinceMs: 1 } },
  "membership: no endpoint was probed after the last event": {
    membership: { lastProbedAtMs: new Map([["http://b:2379", 1]]) },
  },
  "snapshots: without a store nothing is looked up": { snapshots: { lookupInFlight: true, lookupStartedMs: 0 } },
  "snapshots: an answer is awaited only of a lookup": {
    settings: { snapshots: true },
    snapshots: { lookupInFlight: true },
  },
  "own etcd: one that is ready has not exited since": { ownEtcd: { etcd: { kind: "ready", sinceMs: 0 }, exits: 1 } },
  "own etcd: a node that serves has data": { phase: "serving" },
  "maintenance: a plan is requested only of a node that knows of none": {
    maintenance: { plan: plan("1"), requested: plan("2") },
  },
  "operator: each command has its own id": { operator: { commands: [command("1"), command("1")] } },
  "operator: only the oldest command has begun": { operator: { commands: [command("1"), command("2", "probing")] } },
  "operator: a command that writes has its effect in flight, or the outcome": {
    operator: { commands: [command("1", "writing")] },
  },
  "reports: a problem is kept by its own code": {
    reports: { problems: new Map([["x", { level: "warn", reason: { code: "y", text: "" } }]]) },
  },
  "effects: each has its own id, below the next one": {
    effects: { inFlight: new Map([["local", { kind: "stopEtcd", id: 7 } as unknown as AnsweredEffect]]), nextId: 7 },
  },
};

Deno.test("a node that was just created breaks no invariant", () => assertEquals(brokenInvariant(fresh), undefined));

for (const sentence of Object.keys(invariants)) {
  Deno.test(`brokenInvariant() names: ${sentence}`, () => {
    const { phase = fresh.phase, settings = {}, ...groups } = broken[sentence];
    const state = { ...changed(fresh, groups), phase, settings: { ...fresh.settings, ...settings } } as NodeState;
    assertEquals(brokenInvariant(state), sentence);
  });
}
