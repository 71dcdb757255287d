import { followStops, note, resumeHere } from "../../../lib/core/watch/stops.ts";
import type { PauseMark } from "../../../lib/core/facts/node_record.ts";
import type { EtcdAnswer } from "../../../lib/core/facts/cluster.ts";
import type { GossipPeer } from "../../../lib/core/facts/peer.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, answering, data, facts, member, peer, settings, type StateChange } from "../facts.ts";
import { linesOf, problemOf, requestsOf, self, turnOf } from "../turns.ts";

const members = [member("a"), member("b")];
const mark = (paused: boolean, version: number, clusterId = "c1"): PauseMark => ({ clusterId, paused, version });
const knows = (pauseMark: PauseMark | undefined): StateChange => ({ operator: { pauseMark } });
const own: StateChange = { disk: { data: data("a", members) } };
const tells = (...peers: GossipPeer[]): StateChange => ({ gossip: { peers, known: peers } });
const marked = (name: string, pause: PauseMark) => peer(name, { facts: facts(name, { pause }) });
const answered = (change: Partial<EtcdAnswer>): StateChange => ({
  membership: { endpoints: new Map([[self.clientUrl, answering(answer("a", members, change))]]) },
});

/** What is known of the pause after the turn, what is written to disk, and whether the rules see a pause. */
function followed(...changes: readonly StateChange[]) {
  const turn = turnOf(changes);
  followStops(turn);
  const kept = requestsOf(turn).flatMap((effect) => effect.kind === "keepPause" ? [effect.mark] : []);
  return [turn.node.operator.pauseMark, kept, turn.view.settings.paused];
}

Deno.test("followStops() takes the word of a cluster that answers, and of no peer beside it", () => {
  const [resumed, paused] = [mark(false, 2), mark(true, 3)];
  const etcd = answered({ pause: { paused: false, version: 2 } });
  assertEquals(followed(etcd, knows(paused)), [resumed, [resumed], false]);
  assertEquals(followed(own, etcd, tells(marked("b", mark(true, 9)))), [resumed, [resumed], false]);
  assertEquals(followed(answered({ pause: { paused: true, version: 3 } })), [paused, [paused], true]);
  const { pause: _, ...unread } = answer("a", members);
  const unknown = { membership: { endpoints: new Map([[self.clientUrl, answering(unread)]]) } };
  const isPaused = { settings: settings({ paused: true }) };
  assertEquals(followed(unknown, tells(marked("b", mark(true, 9)))), [undefined, [], false]);
  assertEquals(followed(own, unknown, tells(marked("b", mark(true, 9)))), [undefined, [], false]);
  assertEquals(followed(unknown, isPaused), [undefined, [], true], "what was known lasts until it is read");
});

Deno.test("followStops() without a cluster takes the newest mark of the own cluster from its peers", () => {
  const heard = (before: PauseMark | undefined, ...marks: PauseMark[]) =>
    followed(own, knows(before), tells(...marks.map((each, at) => marked(`p${at}`, each)), peer("x")))[0];
  assertEquals(heard(undefined, mark(true, 1)), mark(true, 1));
  assertEquals(heard(mark(true, 2), mark(false, 3), mark(true, 1)), mark(false, 3));
  assertEquals(heard(mark(true, 2), mark(false, 2)), mark(false, 2), "a resume without a quorum");
  assertEquals([heard(mark(true, 2), mark(true, 2)), heard(mark(false, 2), mark(true, 2))], [
    mark(true, 2),
    mark(false, 2),
  ]);
  assertEquals(heard(mark(true, 5, "c0"), mark(true, 1)), mark(true, 1), "its own mark is of another cluster");
  assertEquals(heard(undefined, mark(true, 1, "c2")), undefined);
  // Without data the cluster of the own mark is the own one.
  const empty = (before: PauseMark | undefined) => followed(knows(before), tells(marked("b", mark(false, 9))))[0];
  assertEquals([empty(mark(true, 2)), empty(undefined), empty(mark(true, 2, "c2"))], [
    mark(false, 9),
    undefined,
    mark(true, 2, "c2"),
  ]);
});

Deno.test("followStops() journals each begin of a pause as a WARN and each end as an INFO", () => {
  const told = (paused: boolean, version: number, before: boolean) => {
    const turn = turnOf([answered({ pause: { paused, version } }), { settings: settings({ paused: before }) }]);
    followStops(turn);
    return linesOf(turn);
  };
  assertEquals(told(true, 1, false), ["warn paused asked_by_operator: automatic action is paused"]);
  assertEquals(told(false, 2, true), ["info resumed asked_by_operator: automatic action is resumed"]);
  assertEquals([told(true, 1, true), told(false, 2, false)], [[], []]);
});

Deno.test("followStops() reports a hold here or at a peer while it lasts", () => {
  const hold = { sinceWallMs: 0 };
  const held = (...changes: StateChange[]) => {
    const turn = turnOf(changes);
    followStops(turn);
    return problemOf(turn, "held")?.split(" since")[0];
  };
  assertEquals(held({ settings: settings({ hold }) }), 'warn: held at "a"');
  assertEquals(held(tells(peer("b", { facts: facts("b", { hold }) }))), 'warn: held at "b"');
  const problem = { level: "warn", reason: { code: "held", text: "before" } } as const;
  assertEquals(held({ reports: { problems: new Map([["held", problem]]) } }), undefined);
});

Deno.test("resumeHere() resumes the mark that stops this node, and does nothing where none does", () => {
  const resumed = (...changes: StateChange[]) => {
    const turn = turnOf(changes);
    resumeHere(turn);
    return [turn.node.operator.pauseMark, requestsOf(turn).length];
  };
  assertEquals(resumed(knows(mark(true, 4))), [mark(false, 4), 1]);
  assertEquals(resumed(own, tells(marked("b", mark(true, 6)))), [mark(false, 6), 1]);
  assertEquals(resumed(knows(mark(false, 4))), [mark(false, 4), 0]);
});

Deno.test("note() writes each change to disk, and nothing of a cluster that was never paused", () => {
  const noted = (before: PauseMark | undefined, after: PauseMark) => {
    const turn = turnOf(knows(before));
    const seen = turn.view;
    note(turn, after);
    return [turn.node.operator.pauseMark, requestsOf(turn), turn.view !== seen];
  };
  const kept = (after: PauseMark) => [after, [{ kind: "keepPause", mark: after }], true];
  assertEquals(noted(undefined, mark(false, 0)), [mark(false, 0), [], true]);
  assertEquals(noted(undefined, mark(false, 1)), kept(mark(false, 1)));
  assertEquals(noted(undefined, mark(true, 0)), kept(mark(true, 0)));
  assertEquals(noted(mark(true, 1), mark(false, 0)), kept(mark(false, 0)));
  assertEquals(noted(mark(true, 1), mark(true, 1)), [mark(true, 1), [], false]);
  for (const change of [mark(true, 2), mark(false, 1), mark(true, 1, "c2")]) {
    assertEquals(noted(mark(true, 1), change), kept(change));
  }
});
