/** Operator commands in the core: what is asked before an answer, and the one answer. */
import { createNode, type NodeState } from "../../../lib/core/state/state.ts";
import type { Command, CommandAnswer } from "../../../lib/core/facts/command.ts";
import type { Effect } from "../../../lib/core/facts/effect.ts";
import type { Event } from "../../../lib/core/facts/event.ts";
import { step } from "../../../lib/core/step.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { answer, answering, data, member, settings } from "../facts.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const urls = members.map(({ clientUrls }) => clientUrls[0]!);
const [a] = urls as [string];
const of = (name: string, change = {}) => answer(name, members, { recordedSize: 3, ...change });

/** A serving node, and what its last events brought about. */
class Served {
  node: NodeState;
  nowMs = 1_000;
  effects: readonly Effect[] = [];
  readonly #replies: { id: string; answer: CommandAnswer }[] = [];

  /** A copy, so that a check of it says nothing of later ones. */
  replies = () => [...this.#replies];

  constructor() {
    const self = { name: "a", peerUrl: members[0]!.peerUrls[0]!, clientUrl: a, gossipAddr: "a:7980" };
    const created = createNode(self, settings(), "seed", { monotonicMs: 0, wallMs: 0 });
    this.node = {
      ...created,
      phase: "serving",
      disk: { ...created.disk, data: data("a", members), recordPersisted: true },
      ownEtcd: { ...created.ownEtcd, etcd: { kind: "ready", sinceMs: 0 } },
      membership: {
        ...created.membership,
        clusterRecordVerified: true,
        endpoints: new Map(members.map(({ name, clientUrls }) => [clientUrls[0]!, answering(of(name), 1_000)])),
      },
    } as NodeState;
  }

  tell(event: Event, afterMs = 1): void {
    this.nowMs += afterMs;
    const { node, effects } = step(this.node, event, { monotonicMs: this.nowMs, wallMs: this.nowMs });
    this.node = node;
    this.effects = effects;
    for (const effect of effects) {
      if (effect.kind === "reply") this.#replies.push({ id: effect.commandId, answer: effect.answer });
    }
  }

  command(id: string, command: Command): void {
    this.tell({ kind: "command", id, command });
  }

  probed(endpoint: string, change = {}): void {
    const { name } = members[urls.indexOf(endpoint)]!;
    this.tell({ kind: "probed", endpoint, probe: of(name, change), askedMs: this.nowMs });
  }

  /** The request of the effect of this kind that is in flight. */
  written<K extends Effect["kind"]>(kind: K): Extract<Effect, { kind: K }> | undefined {
    return this.effects.find((effect): effect is Extract<Effect, { kind: K }> => effect.kind === kind);
  }
}

Deno.test("a plan is made of answers that every member gave after the command", () => {
  const served = new Served();
  served.command("p1", { kind: "defrag", dryRun: true });
  assert(served.effects.some((effect) => effect.kind === "probe" && effect.endpoints.length === 3));
  const free = { dbSizeBytes: 100 * 1_048_576, dbInUseBytes: 1_048_576 };
  // One that was asked before the command says nothing of now.
  served.tell({ kind: "probed", endpoint: urls[2]!, probe: of("c"), askedMs: 500 });
  served.probed(a, free);
  served.probed(urls[1]!, free);
  assertEquals(served.replies(), []);
  served.probed(urls[2]!, free);
  const [reply] = served.replies();
  assert(
    reply?.id === "p1" && reply.answer.kind === "done" && reply.answer.plan?.id === "p1",
    JSON.stringify(served.replies()),
  );
  assertEquals(served.node.maintenance.requested, undefined);
});

Deno.test("a member that does not answer delays a plan by five seconds at most, and the plan is then refused", () => {
  const served = new Served();
  served.command("p1", { kind: "scale", to: 5, dryRun: false });
  for (let second = 0; second < 6 && served.replies().length === 0; second++) {
    served.probed(a);
    served.probed(urls[1]!);
    served.tell({ kind: "timer" }, 998);
  }
  assert(served.nowMs >= 6_000 && served.nowMs < 8_000, `${served.nowMs}`);
  assertEquals(served.replies().map(({ id, answer }) => [id, answer.kind]), [["p1", "refused"]]);
});

Deno.test("commands are answered in their order, each once", () => {
  const served = new Served();
  served.command("first", { kind: "pause", dryRun: true });
  served.command("second", { kind: "cancel", dryRun: false });
  assertEquals(served.replies(), []);
  served.probed(a);
  assertEquals(served.replies().map(({ id, answer }) => [id, answer.kind]), [["first", "done"], ["second", "refused"]]);
  served.probed(a);
  assertEquals(served.replies().length, 2);
});

Deno.test("a pause is answered after etcd has it and the own member shows it; a failure is the answer", () => {
  const served = new Served();
  served.command("p1", { kind: "pause", dryRun: false });
  served.probed(a);
  const first = served.written("writePause");
  assertEquals(first?.paused, true);
  served.tell({ kind: "failed", id: first!.id, code: "pause_changed", message: "another node changes it" });
  assertEquals(served.replies(), [{ id: "p1", answer: { kind: "refused", why: "another node changes it" } }]);
  assertEquals(served.node.effects.failing.size, 0);

  served.command("p2", { kind: "pause", dryRun: false });
  served.probed(a);
  served.tell({ kind: "done", id: served.written("writePause")!.id, value: { kind: "nothing" } });
  assertEquals(served.replies().length, 1);
  served.probed(a, { pause: { paused: true, version: 1 } });
  assertEquals(served.replies()[1]?.answer, { kind: "done", text: "all automatic action of the cluster pauses" });
  assertEquals(served.node.settings.paused, true);
});

Deno.test("a probe without a linearizable read decides no command: the next probes do, for five seconds", () => {
  const served = new Served();
  served.command("p1", { kind: "pause", dryRun: true });
  served.probed(a, { linearizable: false });
  assertEquals(served.replies(), []);
  served.probed(a);
  assertEquals(served.replies().map(({ answer }) => answer.kind), ["done"]);

  served.command("p2", { kind: "pause", dryRun: true });
  for (let second = 0; second < 4; second++) {
    served.probed(a, { linearizable: false });
    served.tell({ kind: "timer" }, 998);
  }
  assertEquals(served.replies().length, 1);
  served.tell({ kind: "timer" }, 1_100);
  const answer = served.replies()[1]?.answer;
  assert(answer?.kind === "refused" && answer.why.includes("no quorum within 5 s"), JSON.stringify(answer));

  served.command("p3", { kind: "scale", to: 1, dryRun: true });
  for (const url of urls) served.probed(url, url === a ? { linearizable: false } : {});
  assertEquals(served.replies().length, 2);
  served.probed(a);
  assertEquals(served.replies()[2]?.answer.kind, "done");
});

Deno.test("a cancel takes the plan out of etcd before it is answered, and a dry run leaves it there", () => {
  const served = new Served();
  const plan = { id: "x", purpose: "defrag", text: "defragment", createdAtWallMs: 0, operations: [] } as const;
  served.node = { ...served.node, maintenance: { ...served.node.maintenance, plan, planReadMs: 1_000 } };
  served.command("c1", { kind: "cancel", dryRun: true });
  assertEquals(served.replies()[0]?.answer, {
    kind: "done",
    text: '"defragment" is given up; what was done of it stays',
  });
  assertEquals(served.node.maintenance.plan, plan);
});

Deno.test("a hold is answered after the disk has it, and a release without a hold is refused", () => {
  const served = new Served();
  served.command("h1", { kind: "releaseHold", dryRun: false });
  assertEquals(served.replies()[0]?.answer, { kind: "refused", why: "this node is not held" });
  served.command("h2", { kind: "hold", why: "disk", dryRun: false });
  const effect = served.written("writeHold");
  assertEquals(effect?.hold?.why, "disk");
  assertEquals(served.replies().length, 1);
  served.tell({ kind: "done", id: effect!.id, value: { kind: "nothing" } });
  assertEquals(served.replies()[1]?.answer.kind, "done");
});
