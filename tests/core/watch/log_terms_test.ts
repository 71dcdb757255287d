import { noteTerms, readOwnLog, watchLogTerms } from "../../../lib/core/watch/log_terms.ts";
import { copyOf, createNode, type NodeState } from "../../../lib/core/state/state.ts";
import { Turn } from "../../../lib/core/state/turn.ts";
import type { EtcdAnswer } from "../../../lib/core/facts/cluster.ts";
import { assertEquals } from "../../support/assert.ts";
import {
  answer,
  answering,
  changed,
  data,
  facts,
  member,
  nowMs,
  peer,
  settings,
  type StateChange,
  view,
} from "../facts.ts";

const members = ["a", "b"].map((name) => member(name));
const now = { monotonicMs: nowMs, wallMs: nowMs };
const starts = (...of: readonly [term: number, index: number][]) => of.map(([term, index]) => ({ term, index }));

function serving(change: StateChange = {}, own: Partial<EtcdAnswer> = {}): NodeState {
  return changed(createNode(view("a").self, settings(), "seed", now), {
    phase: "serving",
    ownEtcd: { etcd: { kind: "ready", sinceMs: 0 } },
    disk: { data: data("a", members), recordPersisted: true },
    membership: { endpoints: new Map([["http://a:2379", answering(answer("a", members, { raftTerm: 3, ...own }))]]) },
  }, change);
}
const turnOf = (node: NodeState) => new Turn(copyOf(node), now);
const emitted = (turn: Turn) => turn.effects.map(({ kind }) => kind);

Deno.test("watchLogTerms() reads the own log once the cluster has committed an entry of a new term, every five seconds", () => {
  const reads = (change: StateChange = {}, own: Partial<EtcdAnswer> = {}) => {
    const turn = turnOf(serving(change, own));
    watchLogTerms(turn);
    return [emitted(turn), turn.node.disk.logReadCommitted];
  };
  assertEquals(reads({}, { raftIndex: 120 }), [["inspectData"], 120]);
  const known = { clusterId: "c1", starts: starts([2, 4], [3, 20]), committedIndex: 100 };
  assertEquals(reads({ disk: { logTerms: known } })[0], []);
  assertEquals(reads({ disk: { logTerms: { ...known, starts: starts([2, 4]) } } })[0], ["inspectData"]);
  assertEquals(reads({ disk: { termsReadMs: nowMs - 4_999 } })[0], []);
  assertEquals(reads({ disk: { termsReadMs: nowMs - 5_000 } })[0], ["inspectData"]);
  assertEquals(reads({}, { linearizable: false })[0], [], "perhaps no entry of that term is committed");
  assertEquals(reads({ ownEtcd: { etcd: { kind: "starting", sinceMs: 0 } } })[0], []);
});

Deno.test("noteTerms() takes what was committed before the log was read, and publishes earlier entries with it", () => {
  const found = { ...data("a", members, { raftIndex: 30 }), termStarts: starts([2, 9], [3, 20], [4, 31]) };
  const turn = turnOf(serving({ disk: { logReadCommitted: 25 } }));
  noteTerms(turn, found, true);
  assertEquals(turn.node.disk.logTerms, { clusterId: "c1", starts: starts([2, 9], [3, 20]), committedIndex: 25 });
  turn.node.disk.logReadCommitted = 40;
  noteTerms(turn, { ...found, termStarts: starts([4, 31]) }, true);
  assertEquals(turn.node.disk.logTerms, { clusterId: "c1", starts: starts([4, 31]), committedIndex: 40 });
  assertEquals(turn.node.disk.publishedTerms?.starts, starts([2, 9], [3, 20], [4, 31]));
  // At a start the database shows what was applied, and this is all that is known.
  noteTerms(turn, found, false);
  assertEquals(turn.node.disk.logTerms, { clusterId: "c1", starts: starts([2, 9], [3, 20]), committedIndex: 30 });
  assertEquals(turn.node.disk.publishedTerms?.starts, starts([2, 9], [3, 20]));
  noteTerms(turn, { kind: "absent" }, true);
  assertEquals(turn.node.disk.logTerms === undefined, false, "a check beside the running etcd");
  noteTerms(turn, { kind: "absent" }, false);
  assertEquals([turn.node.disk.logTerms, turn.node.disk.publishedTerms], [undefined, undefined]);
});

Deno.test("readOwnLog() counts what is committed when it asks", () => {
  const turn = turnOf(serving({}, { raftIndex: 130 }));
  readOwnLog(turn);
  assertEquals([emitted(turn), turn.node.disk.logReadCommitted], [["inspectData"], 130]);
});

Deno.test("watchLogTerms() reports a running member whose log differs from another one's, and ends the report", () => {
  const b = peer("b", { facts: facts("b", { logTerms: { clusterId: "c1", starts: starts([3, 15]) } }) });
  const logTerms = { clusterId: "c1", starts: starts([2, 4], [3, 20]), committedIndex: 100 };
  const turn = turnOf(serving({ disk: { logTerms }, gossip: { peers: [b], known: [b] } }));
  watchLogTerms(turn);
  const problem = turn.node.reports.problems.get("logs_differ");
  assertEquals([problem?.level, problem?.keepsReady], ["error", true]);
  assertEquals(
    problem?.reason.text.startsWith(
      'the members\' data differs: entry 15 of the raft log is of term 2 here and of term 3 at "b"',
    ),
    true,
  );
  turn.node.gossip.peers = [];
  turn.invalidateView();
  watchLogTerms(turn);
  assertEquals(turn.node.reports.problems.has("logs_differ"), false);
});
