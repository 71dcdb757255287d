import { heartbeatMs, step } from "../../lib/core/step.ts";
import type { Event } from "../../lib/core/facts/event.ts";
import { assertEquals } from "../support/assert.ts";
import { answer, answering, changed, data, member, nowMs, peer, silent, type StateChange } from "./facts.ts";
import { fresh, nowWallMs } from "./turns.ts";

/** The turn of a node that was heard a moment ago. */
function after(change: StateChange, ms = 0, event: Event = { kind: "timer" }) {
  const node = changed(fresh, { process: { lastEventMs: nowMs } }, change);
  return step(node, event, { monotonicMs: nowMs + ms, wallMs: nowWallMs });
}

Deno.test("a node that stopped or failed does nothing any more", () => {
  for (const phase of ["stopped", "failed"] as const) {
    const node = changed(fresh, { phase });
    const next = step(node, { kind: "boot" }, { monotonicMs: nowMs, wallMs: nowWallMs });
    assertEquals([next.node === node, next.effects], [true, []]);
  }
});

Deno.test("a gap between two events is a WARN, and no time before its end counts", () => {
  const watched = (ms: number) => {
    const { node } = after({}, ms);
    return [
      node.process.watchingSinceMs,
      node.process.lastEventMs - nowMs,
      node.reports.journal.map(({ level, outcome }) => `${level} ${outcome}`),
    ];
  };
  assertEquals(heartbeatMs, 1_000);
  assertEquals(watched(3_500), [0, 3_500, []]);
  assertEquals(watched(3_501), [nowMs + 3_501, 3_501, ["warn paused"]]);
  const [entry] = after({}, 4_000).node.reports.journal;
  assertEquals([entry?.reason.code, entry?.reason.text.split(",")[0]], [
    "was_paused",
    "this process was paused for 4000 ms: its failure timers restart",
  ]);
});

Deno.test("facts are published when they change, each time with the next number", () => {
  const first = after({});
  const published = (effects: typeof first.effects) =>
    effects.flatMap((effect) => effect.kind === "publishFacts" ? [[effect.facts.sequence, effect.facts.phase]] : []);
  assertEquals(published(first.effects), [[1, "booting"]]);
  assertEquals(first.node.gossip.facts?.sequence, 1);
  const same = step(first.node, { kind: "timer" }, { monotonicMs: nowMs + 1, wallMs: nowWallMs });
  assertEquals([published(same.effects), same.node.gossip.facts], [[], first.node.gossip.facts]);
  const data = { kind: "absent" } as const;
  const next = step(same.node, { kind: "dataInspected", data }, { monotonicMs: nowMs + 2, wallMs: nowWallMs });
  assertEquals(published(next.effects), [[2, "gathering"]]);
});

Deno.test("the timer comes within a second, after a millisecond at least, and is armed anew only for an earlier time", () => {
  const armed = (timerAtMs: number | undefined, change: StateChange = {}) => {
    const event = { kind: "gossip", joined: false, peers: [] } as const;
    const { node, effects } = after({ process: { lastEventMs: nowMs, timerAtMs }, ...change }, 0, event);
    const effect = effects.find((each) => each.kind === "armTimer");
    return [effect?.kind === "armTimer" && effect.atMs - nowMs, (node.process.timerAtMs ?? 0) - nowMs];
  };
  assertEquals(armed(undefined), [1_000, 1_000]);
  assertEquals([armed(nowMs + 999), armed(nowMs + 1_000)], [[false, 999], [false, 1_000]]);
  assertEquals(armed(nowMs + 1_001), [1_000, 1_000]);
  assertEquals([armed(nowMs), armed(nowMs + 1)], [[1_000, 1_000], [false, 1]], "one that has come is armed anew");
  const conflicted = { gossip: { nameConflicts: [], nameConflictSinceMs: undefined } };
  assertEquals(armed(undefined, conflicted), [1_000, 1_000]);
});

Deno.test("a node that ends arms no timer", () => {
  const ending = { code: 0, reason: { code: "asked_to_stop", text: "t" } };
  const { node, effects } = after({ phase: "leaving", process: { lastEventMs: nowMs, ending } });
  assertEquals([node.phase, effects.some(({ kind }) => kind === "armTimer")], ["stopped", false]);
  const failed = after({ phase: "leaving", process: { lastEventMs: nowMs, ending: { ...ending, code: 1 } } });
  assertEquals([failed.node.phase, failed.effects.some(({ kind }) => kind === "armTimer")], ["failed", false]);
});

Deno.test("peers are remembered when gossip tells of them, and seen by the rules of the same turn", () => {
  const { node } = after({}, 0, { kind: "gossip", joined: true, peers: [peer("b")] });
  assertEquals([[...node.gossip.rememberedPeers.keys()], node.gossip.peers.length], [["b"], 1]);
});

Deno.test("a node that serves reports silent voters and keys that do not fit in the turn that shows them", () => {
  const members = ["a", "b", "c"].map((name) => member(name));
  const mismatch = { kind: "differs", address: "x:7980", evidence: "answer" } as const;
  const { node } = after({
    phase: "serving",
    ownEtcd: { etcd: { kind: "ready", sinceMs: 0 } },
    disk: { data: data("a", members) },
    gossip: { gossipKeys: { fingerprint: "f", mismatches: [mismatch] } },
    membership: {
      clusterRecordVerified: true,
      memberSinceMs: new Map(members.map(({ id }) => [id, 0])),
      endpoints: new Map([
        ["http://a:2379", answering(answer("a", members))],
        ["http://b:2379", answering(answer("b", members))],
        ["http://c:2379", silent(0)],
      ]),
    },
  });
  assertEquals([...node.reports.problems.keys()].sort(), ["gossip_key_differs", "voter_silent"]);
});
