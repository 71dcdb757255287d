/** The invariants of the state: each can be broken, and a new node breaks none. */
import { createNode, type NodeState } from "../../../lib/core/state/state.ts";
import { brokenInvariant, invariants } from "../../../lib/core/state/invariants.ts";
import type { PendingCommand } from "../../../lib/core/facts/command.ts";
import type { Plan } from "../../../lib/core/facts/plan.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { changed, data, facts, peer, settings } from "../facts.ts";

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

const present = [peer("b"), peer("c")];
const inFlight = (...ids: readonly number[]) => ({
  inFlight: new Map(ids.map((id, at) => [["local", "cluster"][at]!, { kind: "stopEtcd", id }])),
  nextId: 8,
});
const ending = { code: 1, reason: { code: "own_data", text: "" } };
const record = (change: Partial<NodeState["disk"]["record"]>) => ({
  disk: { record: { nonce: "n", pledges: [], ...change } },
});
const rival = { ...lineage, token: "rival" };
const problem = (code: string) => new Map([["x", { level: "warn", reason: { code, text: "" } }]]);

/** Changes of the state of a new node, by the invariant that each breaks, or keeps. */
// deno-lint-ignore no-explicit-any
type Changes = Record<string, readonly any[]>;

const broken: Changes = {
  "process: the boot precedes the watch, which precedes the last event": [
    { process: { watchingSinceMs: 5 } },
    { process: { bootedAtMs: 5, watchingSinceMs: 4, lastEventMs: 6 } },
  ],
  "process: a node that ends does not serve": [{ process: { ending } }],
  "disk: a pledge is recorded once": [record({ pledges: [pledge, pledge] as never })],
  "disk: started data is either present or lost": [record({ started, lost: started })],
  "disk: a rival is another life of the own lineage": [
    record({ started, rival: lineage }),
    record({ started, rival: { ...rival, id: "another line" } }),
    record({ rival }),
  ],
  "gossip: the rules see only known peers, and none of another cluster": [
    { gossip: { peers: [peer("b")] } },
    { gossip: { known: present, peers: [peer("d")] } },
    { gossip: { known: present, peers: [peer("b")], foreign: new Map([["b", 0]]) } },
  ],
  "gossip: a present peer is known once": [{ gossip: { known: [peer("b"), peer("b")] } }],
  "gossip: there is a text if and only if facts were published": [
    { gossip: { factsText: "{}" } },
    { gossip: { facts: facts("a") } },
  ],
  "gossip: without a name conflict there is no time of one": [{ gossip: { nameConflictSinceMs: 1 } }],
  "membership: no endpoint was probed after the last event": [
    { membership: { lastProbedAtMs: new Map([["http://b:2379", 1]]) } },
  ],
  "snapshots: without a store there is no lookup": [
    { snapshots: { lookupInFlight: true, lookupStartedMs: 0 } },
    { snapshots: { lookup: { kind: "absent" } } },
  ],
  "snapshots: a lookup in flight has a start": [
    { settings: { snapshots: true }, snapshots: { lookupInFlight: true } },
  ],
  "own etcd: a ready etcd has not exited since": [{ ownEtcd: { etcd: { kind: "ready", sinceMs: 0 }, exits: 1 } }],
  "own etcd: it has a leader, or it has none": [{ ownEtcd: { leaderSinceMs: 1, leaderlessSinceMs: 1 } }],
  "own etcd: a node that serves has data": [{ phase: "serving" }],
  "maintenance: a plan is requested only while no other plan is known": [
    { maintenance: { plan: plan("1"), requested: plan("2") } },
  ],
  "operator: each command has its own id": [{ operator: { commands: [command("1"), command("1")] } }],
  "operator: only the oldest command has started": [{
    operator: { commands: [command("1"), command("2", "probing")] },
  }],
  "operator: a writing command has its effect in flight, or the outcome": [
    { operator: { commands: [command("1", "writing")] } },
  ],
  "reports: the key of a problem is its code": [{ reports: { problems: problem("y") } }],
  "effects: each has its own id, below the next id": [{ effects: inFlight(8) }, { effects: inFlight(7, 7) }],
};

const kept: Changes = {
  "process: the boot precedes the watch, which precedes the last event": [
    { process: { bootedAtMs: 4, watchingSinceMs: 5, lastEventMs: 6 } },
  ],
  "process: a node that ends does not serve": [
    { phase: "leaving", process: { ending } },
    { phase: "stopped", process: { ending } },
    { phase: "failed", process: { ending } },
  ],
  "disk: a pledge is recorded once": [record({ pledges: [pledge, { ...pledge, token: "q" }] as never })],
  "disk: started data is either present or lost": [record({ started }), record({ lost: started })],
  "disk: a rival is another life of the own lineage": [record({ started, rival })],
  "gossip: the rules see only known peers, and none of another cluster": [
    { gossip: { known: present, peers: present.slice(1), foreign: new Map([["b", 0]]) } },
  ],
  "gossip: a present peer is known once": [{ gossip: { known: [peer("b"), peer("b", { state: "dead" }), peer("c")] } }],
  "gossip: there is a text if and only if facts were published": [{ gossip: { facts: facts("a"), factsText: "{}" } }],
  "gossip: without a name conflict there is no time of one": [
    { gossip: { nameConflicts: [{ name: "b", addresses: ["b:1", "b:2"] }], nameConflictSinceMs: 1 } },
  ],
  "membership: no endpoint was probed after the last event": [
    { membership: { lastProbedAtMs: new Map([["http://b:2379", 0]]) } },
  ],
  "snapshots: without a store there is no lookup": [
    {
      settings: { snapshots: true },
      snapshots: { lookupInFlight: true, lookupStartedMs: 0, lookup: { kind: "absent" } },
    },
  ],
  "own etcd: a ready etcd has not exited since": [
    { ownEtcd: { etcd: { kind: "ready", sinceMs: 0 }, exits: 0 } },
    { ownEtcd: { exits: 1 } },
  ],
  "own etcd: it has a leader, or it has none": [
    { ownEtcd: { leaderSinceMs: 1 } },
    { ownEtcd: { leaderlessSinceMs: 1 } },
  ],
  "own etcd: a node that serves has data": [{ phase: "serving", disk: { data: data("a", []) } }],
  "maintenance: a plan is requested only while no other plan is known": [
    { maintenance: { plan: plan("1") } },
    { maintenance: { requested: plan("1") } },
    { maintenance: { plan: plan("1"), requested: plan("1") } },
  ],
  "operator: only the oldest command has started": [{
    operator: { commands: [command("1", "probing"), command("2")] },
  }],
  "operator: a writing command has its effect in flight, or the outcome": [
    { operator: { commands: [command("1", "confirming")] } },
    { operator: { commands: [{ ...command("1", "writing"), written: {} }] } },
    {
      operator: { commands: [command("1", "writing")] },
      effects: { inFlight: new Map([["command", { kind: "writeHold", id: 1 }]]), nextId: 2 },
    },
  ],
  "reports: the key of a problem is its code": [{ reports: { problems: problem("x") } }],
  "effects: each has its own id, below the next id": [{ effects: inFlight(6, 7) }],
};

// deno-lint-ignore no-explicit-any
function stateWith({ phase = fresh.phase, settings = {}, ...groups }: any): NodeState {
  return { ...changed(fresh, groups), phase, settings: { ...fresh.settings, ...settings } } as NodeState;
}

Deno.test("a node that was just created breaks no invariant", () => assertEquals(brokenInvariant(fresh), undefined));

for (const sentence of Object.keys(invariants)) {
  Deno.test(`brokenInvariant() names: ${sentence}`, () => {
    assert(broken[sentence] !== undefined, "no state breaks it");
    for (const change of broken[sentence]) assertEquals(brokenInvariant(stateWith(change)), sentence);
    for (const change of kept[sentence] ?? []) assertEquals(brokenInvariant(stateWith(change)), undefined);
  });
}
