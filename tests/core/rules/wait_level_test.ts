import { decideBootstrap } from "../../../lib/core/rules/bootstrap/commit.ts";
import type { JournalEntry } from "../../../lib/core/facts/effect.ts";
import type { Event } from "../../../lib/core/facts/event.ts";
import { bootstrapPlanOf, pledgeOf } from "../../../lib/core/rules/bootstrap/proposal.ts";
import { step } from "../../../lib/core/step.ts";
import { decideStart } from "../../../lib/core/rules/start/start.ts";
import type { View } from "../../../lib/core/facts/view.ts";
import { escalates, grades, lastingMs } from "../../../lib/core/rules/wait_level.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { changed, facts, found, goPeer, nowMs, peer, settings, view } from "../facts.ts";
import { copyOf, createNode, type NodeState } from "../../../lib/core/state/state.ts";
import { Turn } from "../../../lib/core/state/turn.ts";
import type { Reason } from "../../../lib/core/facts/reason.ts";
import type { Settings } from "../../../lib/core/facts/settings.ts";

const at = (monotonicMs: number) => ({ monotonicMs, wallMs: 1_000_000 + monotonicMs });
const self = { name: "a", peerUrl: "http://a:2380", clientUrl: "http://a:2379", gossipAddr: "a:7980" };

/** What a node logs that waits for this reason from the first of these moments to the last. */
function logged(code: string, set: Settings, ...moments: readonly number[]): string[] {
  let node: NodeState = createNode(self, set, "seed", at(0));
  return moments.flatMap((ms) => {
    const turn = new Turn(copyOf(node), at(ms));
    turn.waitFor({ code, text: "what is waited for" });
    node = turn.node;
    return turn.effects.flatMap((effect) => effect.kind === "journal" ? [`${ms / 1_000} ${effect.entry.level}`] : []);
  });
}

const moments = [0, 1_000, lastingMs - 1, lastingMs, lastingMs + 1, 10 * lastingMs];
const never = settings({ quorumLossTimeoutMs: "never" });

for (const [code, grade] of Object.entries(grades)) {
  Deno.test(`a wait for ${code} is reported as urgently as its grade has it: ${grade}`, () => {
    const lasting = ["0 info", "30 error"];
    switch (grade) {
      case "error":
      case "warn":
        assertEquals(logged(code, settings(), ...moments), [`0 ${grade}`]);
        return;
      case "lasting":
        assertEquals(logged(code, settings(), ...moments), lasting);
        assertEquals(logged(code, never, ...moments), lasting);
        return;
      case "lasting_without_timeout":
        assertEquals(logged(code, settings(), ...moments), ["0 info"]);
        assertEquals(logged(code, never, ...moments), lasting);
        return;
      default:
        grade satisfies never;
    }
  });
}

Deno.test("the grades of waits are those of the table in docs/decisions.md", async () => {
  const page = await Deno.readTextFile(new URL("../../../docs/decisions.md", import.meta.url));
  const documented = (row: string) => {
    const line = page.split("\n").find((each) => each.startsWith(`| ${row}`));
    return [...(line ?? "").matchAll(/`([a-z_]+)`/g)].map(([, code]) => code).sort();
  };
  const graded = (grade: string) => Object.keys(grades).filter((code) => grades[code] === grade).sort();
  assertEquals(documented("immediately"), graded("error"));
  assertEquals(documented("after 30 s of such waits"), graded("lasting"));
  assertEquals(documented("the same, only under"), graded("lasting_without_timeout"));
});

Deno.test("a wait that another node ends stays at INFO however long it lasts", () => {
  for (const code of ["too_few_peers", "standby", "peer_holds_data", "pledged"]) {
    assertEquals(logged(code, never, ...moments), ["0 info"]);
  }
});

const initialMembers = ["b", "x", "y"].map((name) => ({
  name,
  peerUrl: `http://${name}:2380`,
  nonce: `nonce-${name}`,
}));
const pledge = pledgeOf(bootstrapPlanOf(initialMembers, { kind: "empty" }, undefined), undefined);
const both = [peer("b"), peer("c")];
const silentSeed = settings({ seeds: ["a:7980", "b:7980", "c:7980", "d:7980"], quorumLossTimeoutMs: "never" });
const stored = { kind: "newest", hash: "h", revision: 9, takenAtWallMs: 0, verified: true, epochMax: 1 } as const;
const voters = ["a", "b", "x"].map((name) => ({ name, peerUrl: `http://${name}:2380` }));

const waits: Readonly<Record<string, Partial<View>>> = {
  snapshot_contradiction: { peers: [peer("b"), peer("c", { facts: facts("c", { snapshotLookup: "absent" }) })] },
  data_unreadable: { data: { kind: "unreadable", why: "EIO" } },
  mixed_restore: { peers: [goPeer("b"), peer("c")], settings: settings({ snapshots: true }), snapshotLookup: stored },
  mixed_too_many: { peers: [goPeer("b"), peer("c"), peer("d")] },
  peer_data_unusable: {
    peers: [peer("b"), peer("c", { facts: facts("c", { data: { kind: "unusable", why: "x" } }) })],
  },
  pledged_elsewhere: { peers: [peer("b", { facts: facts("b", { pledges: [pledge] }) }), peer("c")] },
  same_address_twice: { peers: [peer("b"), peer("c", { peerUrl: "http://b:2380" })] },
  size_contradiction: { peers: [peer("b"), peer("c", { facts: facts("c", { requiredSize: 5 }) })] },
  standby_unlisted: {
    settings: settings({ seeds: ["a:7980", "y:7980", "z:7980"] }),
    self: { ...self, name: "x", peerUrl: "http://x:2380" },
    peers: ["b", "c", "d", "y", "z"].map((name) => peer(name)),
  },
  too_many_silent: { peers: both, settings: settings({ seeds: ["d:7980", "e:7980"] }) },
  cluster_silent: {
    peers: ["b", "c"].map((name) => peer(name, { facts: facts(name, { snapshotLookup: found(stored) }) })),
    settings: settings({ snapshots: true, quorumLossTimeoutMs: "never" }),
    snapshotLookup: stored,
    lastCluster: { clusterId: "c1", voters, atMs: nowMs },
  },
  disks_awaited: { peers: both, settings: silentSeed },
};

function reasonOf(change: Partial<View>): Reason | undefined {
  const seen = view("a", change);
  const start = decideStart(seen);
  if (start.kind === "wait") return start.reason;
  const plan = decideBootstrap(seen, {});
  return plan.kind === "wait" ? plan.reason : undefined;
}

for (const [code, change] of Object.entries(waits)) {
  Deno.test(`the wait ${code} escalates and names the next step`, () => {
    const reason = reasonOf(change);
    assertEquals(reason?.code, code);
    assert(escalates(code, change.settings ?? settings()) && (reason?.hint ?? "") !== "");
  });
}

Deno.test("a node logs an ERROR for nodes with another -n after 30 s, keeps it in the status, and ends it with the cause", () => {
  let node: NodeState = changed(createNode(self, settings(), "seed", at(0)), {
    phase: "gathering",
    disk: { data: { kind: "absent" }, recordPersisted: true },
  });
  const told: JournalEntry[] = [];
  const gossip = (requiredSize: number): Event => ({
    kind: "gossip",
    joined: true,
    peers: ["b", "c"].map((name) => peer(name, { facts: facts(name, { requiredSize }) })),
  });
  const send = (event: Event, ms: number) => {
    const { node: next, effects } = step(node, event, at(ms));
    node = next;
    for (const effect of effects) if (effect.kind === "journal") told.push(effect.entry);
  };
  send(gossip(5), 0);
  for (let ms = 1_000; ms <= 60_000; ms += 1_000) send({ kind: "timer" }, ms);
  assertEquals(told.map(({ level, reason }) => `${level} ${reason.code}`), [
    "info size_contradiction",
    "error size_contradiction",
  ]);
  assertEquals([node.reports.waitingLevel, told[1]!.reason.hint], ["error", "start all nodes with the same -n"]);
  send(gossip(3), 61_000);
  assertEquals([node.reports.waitingFor?.code, node.reports.waitingLevel], ["views_settle", "info"]);
  // The next one has its own 30 s.
  send(gossip(5), 62_000);
  assertEquals(node.reports.waitingLevel, "info");
});
