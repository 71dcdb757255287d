/** Operator commands in the core: what is asked before an answer, and the one answer. */
import { addCommand, answerCommands, noteProbed, noteWritten } from "../../../lib/core/commands/commands.ts";
import { copyOf, createNode, type NodeState } from "../../../lib/core/state/state.ts";
import { Turn } from "../../../lib/core/state/turn.ts";
import type { EtcdAnswer } from "../../../lib/core/facts/cluster.ts";
import type { Command, CommandAnswer } from "../../../lib/core/facts/command.ts";
import type { Effect } from "../../../lib/core/facts/effect.ts";
import type { Event } from "../../../lib/core/facts/event.ts";
import { step } from "../../../lib/core/step.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { answer, answering, changed, data, member, settings, type StateChange } from "../facts.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const urls = members.map(({ clientUrls }) => clientUrls[0]!);
const [a] = urls as [string];
const self = { name: "a", peerUrl: members[0]!.peerUrls[0]!, clientUrl: a, gossipAddr: "a:7980" };
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
  assertEquals(served.replies()[1]?.answer, { kind: "done", text: "automatic action of the cluster is paused" });
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
    text: 'cancelled "defragment"; its finished operations are not reverted',
  });
  assertEquals(served.node.maintenance.plan, plan);
});

Deno.test("a hold is answered after the disk has it, and a release without a hold is refused", () => {
  const served = new Served();
  served.command("h1", { kind: "releaseHold", dryRun: false });
  assertEquals(served.replies()[0]?.answer, { kind: "refused", why: "this node has no hold" });
  served.command("h2", { kind: "hold", why: "disk", dryRun: false });
  const effect = served.written("writeHold");
  assertEquals(effect?.hold?.why, "disk");
  assertEquals(served.replies().length, 1);
  served.tell({ kind: "done", id: effect!.id, value: { kind: "nothing" } });
  assertEquals(served.replies()[1]?.answer.kind, "done");
});

/** A node whose commands alone advance, one turn after another. */
class Commanded {
  node: NodeState;
  effects: readonly Effect[] = [];
  wakeMs = Infinity;

  constructor(change: StateChange = {}) {
    const created = createNode(self, settings(), "seed", { monotonicMs: 0, wallMs: 0 });
    this.node = changed(created, { phase: "serving", disk: { data: data("a", members) } }, change);
    for (const url of urls) this.answers(url, 900);
  }

  turn(ms: number, act: (turn: Turn) => void = () => {}): readonly Effect[] {
    const turn = new Turn(copyOf(this.node), { monotonicMs: ms, wallMs: 7_000_000 + ms });
    act(turn);
    answerCommands(turn);
    [this.node, this.effects, this.wakeMs] = [turn.node, turn.effects, turn.wakeMs];
    return turn.effects;
  }

  asks(command: Command, ms = 1_000): readonly Effect[] {
    return this.turn(ms, (turn) => addCommand(turn, "id", command));
  }

  /** The endpoint answers, to a probe of that time. */
  answers(url: string, ms: number, change: Partial<EtcdAnswer> = {}): void {
    const name = members[urls.indexOf(url)]!.name;
    const endpoints = new Map(this.node.membership.endpoints).set(url, answering(of(name, change), ms));
    this.node = changed(this.node, { membership: { endpoints } });
  }

  probed(ms: number, ...endpoints: readonly string[]): readonly Effect[] {
    for (const url of endpoints) this.answers(url, ms);
    return this.turn(ms, (turn) => endpoints.forEach((url) => noteProbed(turn, url)));
  }

  written(ms: number, failure?: string): readonly Effect[] {
    return this.turn(ms, (turn) => noteWritten(turn, failure));
  }

  /** What became of the command: its answer, or the step that it is at. */
  get told(): string {
    const reply = this.effects.find((effect) => effect.kind === "reply");
    if (reply === undefined) return this.node.operator.commands.map(({ step }) => step).join(" ");
    const { answer } = reply;
    return `${answer.kind}: ${answer.kind === "refused" ? answer.why : answer.text}`;
  }
}

const free = { dbSizeBytes: 100 * 1_048_576, dbInUseBytes: 1_048_576 };
const under = { id: "x", purpose: "defrag", text: "defragment", createdAtWallMs: 0, operations: [] } as const;

Deno.test("a plan asks every member once, wakes after five seconds, and is requested when all have answered", () => {
  const at = new Commanded();
  assertEquals(at.asks({ kind: "scale", to: 1, dryRun: false }), [{ kind: "probe", endpoints: urls }]);
  assertEquals([at.told, at.wakeMs], ["probing", 6_000]);
  assertEquals([at.probed(1_100, a, urls[1]!), at.told, at.wakeMs], [[], "probing", 6_000]);
  at.probed(1_200, urls[2]!);
  assertEquals(at.told.startsWith("done: "), true, at.told);
  assertEquals(at.node.maintenance.requested?.id, "id");
  assertEquals(at.node.operator.commands, []);
});

Deno.test("a plan is decided five seconds after the members were asked, by those that answered", () => {
  const at = new Commanded();
  at.asks({ kind: "scale", to: 1, dryRun: true });
  at.probed(5_999, a, urls[1]!);
  assertEquals([at.told, at.wakeMs], ["probing", 6_000]);
  at.turn(6_000);
  assertEquals(at.told.startsWith("refused: "), true, at.told);
});

Deno.test("scale, upgrade and defrag each make their own plan; a dry run requests none", () => {
  const plan = (command: Command) => {
    const at = new Commanded();
    at.asks(command);
    for (const url of urls) at.answers(url, 1_100, { ...free, version: "3.6.14", clusterVersion: "3.6.0" });
    at.turn(1_100, (turn) => urls.forEach((url) => noteProbed(turn, url)));
    const reply = at.effects.find((effect) => effect.kind === "reply");
    const { answer } = reply!;
    return [answer.kind === "done" ? answer.plan?.purpose : answer.kind, at.node.maintenance.requested?.purpose];
  };
  assertEquals(plan({ kind: "scale", to: 1, dryRun: true }), ["scale", undefined]);
  assertEquals(plan({ kind: "upgrade", to: "3.7", dryRun: true }), ["upgrade", undefined]);
  assertEquals(plan({ kind: "defrag", dryRun: true }), ["defrag", undefined]);
  assertEquals(plan({ kind: "defrag", dryRun: false }), ["defrag", "defrag"]);
});

Deno.test("no plan is made by a node that does not serve, whose etcd is silent, or beside another plan", () => {
  const defrag = { kind: "defrag", dryRun: false } as const;
  const asked = (change: StateChange, silentSinceMs?: number) => {
    const at = new Commanded(change);
    at.asks(defrag, silentSinceMs ?? 1_000);
    return at.told;
  };
  assertEquals(asked({ phase: "restarting" }), "refused: this node does not serve");
  assertEquals(asked({}, 7_000), "refused: the etcd of this node does not answer");
  for (const maintenance of [{ plan: under }, { requested: under }]) {
    const at = new Commanded({ maintenance });
    at.asks(defrag);
    at.probed(1_100, ...urls);
    assertEquals(at.told, 'refused: the plan "defragment" is not done yet');
  }
  const lost = new Commanded();
  lost.asks(defrag);
  lost.turn(7_000);
  assertEquals(lost.told, "refused: the etcd of this node does not answer");
});

Deno.test("a pause and a resume ask the own etcd before they are written, and again before they are answered", () => {
  const steps = (kind: "pause" | "resume", dryRun: boolean) => {
    const at = new Commanded();
    const told: unknown[] = [at.asks({ kind, dryRun }), at.told];
    told.push(at.probed(1_100, a), at.told);
    if (!dryRun) {
      told.push(at.turn(1_200), at.told, at.written(1_300), at.told, at.wakeMs);
      told.push(at.probed(1_400, a).length, at.told);
    }
    return told;
  };
  const probe = { kind: "probe", endpoints: [a] };
  for (
    const [kind, text] of [["pause", "automatic action of the cluster is paused"], [
      "resume",
      "automatic action is resumed",
    ]] as const
  ) {
    const answer = { kind: "done", text };
    assertEquals(steps(kind, true), [
      [probe],
      "probing",
      [{ kind: "reply", commandId: "id", answer }],
      `done: ${text}`,
    ]);
    const write = { kind: "writePause", id: 1, paused: kind === "pause" };
    const written = [[write], "writing", [], "writing", [probe], "confirming", 6_300, 1, `done: ${text}`];
    assertEquals(steps(kind, false), [[probe], "probing", ...written]);
  }
});

Deno.test("a pause that etcd refuses, or that no member confirms, is answered with what became of it", () => {
  const at = new Commanded();
  at.asks({ kind: "pause", dryRun: false });
  at.probed(1_100, a);
  at.written(1_200, "another node changes it");
  assertEquals(at.told, "refused: another node changes it");
  const unconfirmed = new Commanded();
  unconfirmed.asks({ kind: "pause", dryRun: false });
  unconfirmed.probed(1_100, a);
  unconfirmed.written(1_200);
  unconfirmed.turn(6_199);
  assertEquals([unconfirmed.told, unconfirmed.wakeMs], ["confirming", 6_200]);
  unconfirmed.turn(6_200);
  assertEquals(unconfirmed.told, "done: automatic action of the cluster is paused", "etcd has it");
});

Deno.test("without a quorum a pause is refused, and a resume counts at this node where something is paused", () => {
  const paused = { operator: { pauseMark: { clusterId: "c1", paused: true, version: 4 } } };
  const asked = (kind: "pause" | "resume", change: StateChange, dryRun = false) => {
    const at = new Commanded(change);
    at.asks({ kind, dryRun });
    at.answers(a, 6_000, { linearizable: false });
    for (const url of urls.slice(1)) at.answers(url, 6_000, { linearizable: false });
    at.turn(6_000);
    return [at.told.split(",")[0], at.node.operator.pauseMark?.paused];
  };
  const goesOn = "done: bootstrap and disaster recovery are resumed at this node and the peers that gossip reaches. " +
    "The cluster has no quorum: if the quorum returns";
  const doubtful = new Commanded();
  doubtful.answers(a, 900, { linearizable: false });
  assertEquals(doubtful.asks({ kind: "pause", dryRun: false }), [{ kind: "probe", endpoints: [a] }], "it asks anew");
  assertEquals(asked("pause", {})[0], "refused: the etcd of this node confirmed no quorum within 5 s");
  assertEquals(asked("resume", {})[0], "refused: this node knows of no pause");
  assertEquals(asked("resume", paused), [goesOn, false]);
  assertEquals(asked("resume", paused, true), [goesOn, true]);
});

Deno.test("a hold and its release are answered once they are on disk; a dry run writes nothing", () => {
  const held = { settings: settings({ hold: { sinceWallMs: 1, why: "disk" } }) };
  const holds = "done: this node and all nodes that see it bootstrap, restore and recover no cluster until: " +
    "e2d hold --release";
  const released = "done: this node no longer holds bootstrap and disaster recovery";
  const told = (command: Command, change: StateChange = {}, failure?: string) => {
    const at = new Commanded(change);
    const effects = at.asks(command).filter(({ kind }) => kind !== "reply");
    if (effects.length === 0) return [at.told];
    at.turn(1_100);
    const waits = at.told;
    at.written(1_200, failure);
    return [effects[0], waits, at.told];
  };
  const sinceWallMs = 7_001_000;
  assertEquals(told({ kind: "hold", why: "disk", dryRun: false }), [
    { kind: "writeHold", id: 1, hold: { sinceWallMs, why: "disk" } },
    "writing",
    holds,
  ]);
  assertEquals(told({ kind: "hold", dryRun: false })[0], { kind: "writeHold", id: 1, hold: { sinceWallMs } });
  assertEquals(told({ kind: "hold", dryRun: false }, {}, "disk full")[2], "refused: disk full");
  assertEquals(told({ kind: "releaseHold", dryRun: false }, held), [{ kind: "writeHold", id: 1 }, "writing", released]);
  assertEquals(told({ kind: "releaseHold", dryRun: true }), ["refused: this node has no hold"]);
  assertEquals([told({ kind: "hold", dryRun: true }), told({ kind: "releaseHold", dryRun: true }, held)], [
    [holds],
    [released],
  ]);
  const at = new Commanded();
  at.asks({ kind: "hold", dryRun: true });
  const reply = at.effects.find((effect) => effect.kind === "reply");
  assertEquals(reply?.answer.kind === "done" && reply.answer.immediate, true);
});

Deno.test("a command waits for the slot that another effect is in", () => {
  const inFlight = new Map([["command" as const, { kind: "writeHold", id: 1 } as const]]);
  const at = new Commanded({ effects: { inFlight, nextId: 2 } });
  assertEquals([at.asks({ kind: "hold", dryRun: false }), at.told], [[], "new"]);
});

Deno.test("a cancel is answered once the plan is out of etcd, also when it is forgotten meanwhile", () => {
  const at = new Commanded({ maintenance: { plan: under } });
  assertEquals(at.asks({ kind: "cancel", dryRun: false }), [{ kind: "writePlan", id: 1 }]);
  at.turn(1_100);
  assertEquals(at.told, "writing");
  at.node = changed(at.node, { maintenance: { plan: undefined } });
  at.written(1_200);
  assertEquals(at.told, 'done: cancelled "defragment"; its finished operations are not reverted');
  const failed = new Commanded({ maintenance: { plan: under } });
  failed.asks({ kind: "cancel", dryRun: false });
  failed.written(1_200, "the plan changed");
  assertEquals(failed.told, "refused: the plan changed");
  const none = new Commanded();
  none.asks({ kind: "cancel", dryRun: false });
  assertEquals(none.told, "refused: no plan is running");
});

Deno.test("an approval is answered at once; without a command nothing is noted", () => {
  const at = new Commanded();
  at.asks({ kind: "approve", plan: "x", dryRun: false });
  assertEquals(at.told, "refused: no restore waits for an approval at this node");
  assertEquals([at.written(1_100), at.probed(1_100, a), at.node.operator.commands], [[], [], []]);
});

Deno.test("a command that comes in was not asked about yet, and awaits no answer", () => {
  const turn = new Turn(copyOf(new Commanded().node), { monotonicMs: 5, wallMs: 5 });
  const command = { kind: "defrag", dryRun: true } as const;
  addCommand(turn, "1", command);
  addCommand(turn, "2", command);
  const pending = { command, step: "new", askedMs: 0, awaited: [] };
  assertEquals(turn.node.operator.commands, [{ id: "1", ...pending }, { id: "2", ...pending }]);
});
