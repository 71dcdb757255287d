import { recoveryOutlook } from "../../lib/core/rules/recovery_outlook.ts";
import { rememberPeers } from "../../lib/core/watch/peers.ts";
import type { View } from "../../lib/core/facts/view.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { changed, data, facts, member, nowMs, peer, settings, silent, view } from "./facts.ts";
import { copyOf, createNode } from "../../lib/core/state/state.ts";
import { leaderlessReason } from "../../lib/core/phases/no_leader.ts";
import { Turn } from "../../lib/core/state/turn.ts";
import type { GossipPeer, PeerFacts } from "../../lib/core/facts/peer.ts";
import type { Settings } from "../../lib/core/facts/settings.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const timeoutMs = 600_000;
const held = (name: string): Partial<PeerFacts> => ({
  data: {
    kind: "held",
    clusterId: "c1",
    memberId: `id-${name}`,
    lineage: { id: "l", epoch: 1, token: "t" },
    revision: 0,
  },
});
const gone = (name: string, forMs: number, state: "dead" | "left" = "dead") =>
  peer(name, { state, sinceMs: nowMs - forMs });

/** Survivor c, without a leader since `leaderlessMs`, and two others that etcd has not reached for that long. */
function survivor(peers: readonly GossipPeer[], leaderlessMs: number, change: Partial<View> = {}): View {
  return view("c", {
    data: data("c", members),
    peers,
    leaderlessSinceMs: nowMs - leaderlessMs,
    endpoints: new Map(["a", "b"].map((name) => [`http://${name}:2379`, silent(nowMs - leaderlessMs)])),
    ...change,
  });
}

const text = (of: View) => {
  const outlook = recoveryOutlook(of);
  return outlook.kind === "at" ? `in ${(outlook.atMs - nowMs) / 1_000} s` : outlook.text;
};

Deno.test("recoveryOutlook() names a time only while nothing but time is missing", () => {
  assertEquals(text(survivor([gone("a", 60_000), gone("b", 30_000)], 60_000)), "in 570 s");
  assertEquals(text(survivor([gone("a", 60_000), gone("b", 60_000)], 60_000)), "in 540 s");
  // After a gap of this process its clocks begin anew.
  const paused = survivor([gone("a", 60_000), gone("b", 60_000)], 60_000, { watchingSinceMs: nowMs - 5_000 });
  assertEquals(text(paused), "in 595 s");
});

Deno.test("recoveryOutlook() tells what stops a recovery, also long after the time-out", () => {
  const late = 2 * timeoutMs;
  const both = [gone("a", late), gone("b", late)];
  const hung = peer("a", { facts: facts("a", held("a")) });
  assertEquals(
    text(survivor([hung, gone("b", late)], late)),
    '"a", "c" hold data and are a quorum once their etcd answers',
  );
  assertEquals(
    text(survivor([peer("a", { facts: facts("a", { data: { kind: "unknown" } }) }), gone("b", late)], late)),
    '"a" is there and did not report what data it holds',
  );
  assertEquals(text(survivor(both, late)), "1 of 3 nodes have gathered");
  const never: Settings = settings({ quorumLossTimeoutMs: "never" });
  assertEquals(text(survivor(both, late, { settings: never })), "--quorum-loss-timeout never");
  const hold = { sinceWallMs: 1_700_000_000_000 };
  assert(text(survivor(both, late, { settings: settings({ hold }) })).startsWith('held at "c"'));
  const mark = { clusterId: "c1", paused: true, version: 1 };
  assert(text(survivor(both, late, { pauseMark: mark })).startsWith('paused, as "c" has it'));
});

Deno.test("recoveryOutlook() names new addresses as what keeps a quorum of disks apart", () => {
  const at = (name: string, peerUrl?: string) =>
    peer(name, { facts: facts(name, held(name)), ...(peerUrl === undefined ? {} : { peerUrl }) });
  const away = (name: string) => at(name, `http://new-${name}:2380`);
  const self = { ...view("c").self, peerUrl: "http://new-c:2380" };
  const apart = recoveryOutlook(survivor([away("a"), away("b")], 60_000, { self }));
  assert(apart.kind === "blocked" && apart.needsOperator);
  assert(apart.text.startsWith('"a", "b", "c" hold data at other addresses'), apart.text);
  const former = (name: string) => `"${name}" from http://new-${name}:2380 to http://${name}:2380`;
  assert(apart.hint.includes(`back (${["a", "b", "c"].map(former).join("; ")}), or`), apart.hint);
  // Disks in other machines than their members'.
  const exchanged = [
    peer("a", { facts: facts("a", held("b")) }),
    peer("b", { facts: facts("b", held("c")), peerUrl: "http://x:2380" }),
  ];
  const swapped = recoveryOutlook(survivor(exchanged, 60_000, { self, data: data("a", members) }));
  assert(swapped.kind === "blocked" && swapped.needsOperator);
  assert(swapped.hint.includes('"b" from http://a:2380 to http://b:2380; "c" from http://x:2380'), swapped.hint);
  // Two at their addresses find each other.
  assertEquals(
    text(survivor([at("a"), away("b")], 60_000)),
    '"a", "b", "c" hold data and are a quorum once their etcd answers',
  );
});

function reason(peers: readonly GossipPeer[], leaderlessMs: number) {
  const self = view("c").self;
  const now = { monotonicMs: nowMs, wallMs: 1_700_000_000_000 };
  const draft = copyOf(changed(createNode(self, settings(), "seed", { monotonicMs: 0, wallMs: 0 }), {
    phase: "serving",
    disk: { data: data("c", members) },
    gossip: { peers, known: peers },
    ownEtcd: { leaderlessSinceMs: nowMs - leaderlessMs },
    membership: { endpoints: survivor(peers, leaderlessMs).endpoints },
    process: { watchingSinceMs: 0 },
  }));
  const turn = new Turn(draft, now);
  rememberPeers(turn);
  // Gossip forgets whoever is gone for 30 s.
  draft.gossip.peers = peers.filter(({ state, sinceMs }) => state === "alive" || nowMs - sinceMs < 30_000);
  turn.invalidateView();
  return leaderlessReason(turn);
}

Deno.test("an election is no alarm, nor are members that stopped in order; a quorum that stays away is one", () => {
  const dead = [gone("a", 60_000), gone("b", 60_000)];
  const code = (...given: Parameters<typeof reason>) => {
    const { level, reason: { code } } = reason(...given);
    return `${level} ${code}`;
  };
  assertEquals(code(dead, 9_000), "info electing");
  assertEquals(code(dead, 60_000), "warn no_quorum");
  const stopped = [gone("a", 60_000, "left"), gone("b", 30_000, "left")];
  assertEquals(code(stopped, 60_000), "info members_stopped");
  // One that stopped is not why the quorum is missing where another one died.
  assertEquals(code([gone("a", 60_000, "left"), gone("b", 60_000)], 60_000), "warn no_quorum");
  assertEquals(
    code([peer("a", { facts: facts("a", held("a")) }), gone("b", 60_000, "left")], 60_000),
    "warn no_quorum",
  );
  // Who stays away is missed.
  assertEquals(code([gone("a", 200_000, "left"), gone("b", 180_000, "left")], 200_000), "warn no_quorum");
  const { hint } = reason(dead, 60_000).reason;
  assert(hint?.includes("e2d hold") && hint.includes("22:22:20 UTC"), hint);
});
