/** Performs effects on the fakes in place of the manager: each effect takes a while, may fail, and has a result. */
import type { AnsweredEffect, Effect } from "../../lib/core/facts/effect.ts";
import type { DoneValue } from "../../lib/core/facts/event.ts";
import { Failed, resultOf } from "./effects.ts";
import { Refusal } from "./fake_etcd.ts";
import { defragments, endpointOf, inspectDisk, probeAt, probeRaftAt, snapshotLookup } from "./observe.ts";
import { isOfCommand } from "./operators.ts";
import type { Machine, World } from "./world.ts";

export function perform(world: World, machine: Machine, effect: Effect): void {
  const jitter = () => 2 + world.below(10);
  switch (effect.kind) {
    case "inspectData":
      return world.later(machine, jitter() + (machine.slow ? 200 : 0), () =>
        world.deliver(machine, {
          kind: "dataInspected",
          data: inspectDisk(machine),
          ...(machine.disk.record === undefined ? {} : { record: machine.disk.record }),
        }));
    case "probe":
      return probeEach(world, machine, effect);
    case "probeRaft":
      return world.later(
        machine,
        jitter(),
        () => world.deliver(machine, { kind: "raftProbed", probe: probeRaftAt(world, machine, effect.endpoint) }),
      );
    case "lookUpSnapshot":
      return world.later(
        machine,
        20 + world.below(100) + world.storeOf(machine.owner).delayMs,
        () => world.deliver(machine, { kind: "snapshotLookedUp", lookup: snapshotLookup(world, machine) }),
      );
    case "readPlan":
      return world.later(machine, jitter(), () => {
        const member = world.memberOf(machine.name);
        if (member === undefined || !world.etcds.linearizable(member)) return;
        const plan = world.plans.get(member.data.clusterId);
        world.deliver(machine, { kind: "plan", ...(plan === undefined ? {} : { plan }) });
      });
    case "keepPause":
      machine.disk.pauseMark = effect.mark;
      return;
    case "setStatus":
      machine.status = effect.status;
      return;
    case "shunPeers":
      return world.gossip.shun(machine, effect.names);
    case "publishFacts":
    case "abortSnapshot":
    case "journal":
      return;
    case "reply":
      return world.operators.reply(machine, effect);
    case "armTimer":
      return world.later(
        machine,
        Math.max(0, effect.atMs - world.nowMs),
        () => world.deliver(machine, { kind: "timer" }),
      );
    case "exit":
      world.trace(`${machine.name} exits with ${effect.code}: ${effect.reason.code}`);
      world.exited(machine, effect.code);
      return;
    default:
      answer(world, machine, effect);
  }
}

function probeEach(world: World, machine: Machine, effect: Extract<Effect, { kind: "probe" }>): void {
  const delayMs = isOfCommand(machine, effect) ? () => world.operators.delayMs() : () => 2 + world.below(10);
  for (const endpoint of effect.endpoints) {
    // A refused connection fails immediately, a cut one after the time-out.
    const target = endpointOf(world, endpoint);
    const cut = target !== undefined && (!world.connected(machine.name, target.node) || target.frozen);
    world.later(
      machine,
      cut ? 900 : delayMs(),
      () => world.deliver(machine, { kind: "probed", endpoint, probe: probeAt(world, machine, endpoint) }),
    );
  }
}

/** Runs the effect after its duration and always delivers its result. */
function answer(world: World, machine: Machine, effect: AnsweredEffect): void {
  const { id } = effect;
  world.trace(`${machine.name} does ${effect.kind}${describe(effect)}`);
  if (effect.kind === "defragment") return defragment(world, machine, effect);
  world.later(machine, durationMs(world, machine, effect), () => {
    let value: DoneValue;
    try {
      value = resultOf(world, machine, effect);
      if (machine.crashAfter === effect.kind) {
        machine.crashAfter = undefined;
        return world.kill(machine);
      }
    } catch (error) {
      if (!(error instanceof Refusal) && !(error instanceof Failed)) throw error;
      world.trace(`${machine.name} ${effect.kind} fails: ${error.code}`);
      return world.later(
        machine,
        1,
        () =>
          world.deliver(machine, { kind: "failed", id, code: error.code, message: `${effect.kind}: ${error.code}` }),
      );
    }
    world.later(machine, 1, () => world.deliver(machine, { kind: "done", id, value }));
  });
}

/** The member serves no read meanwhile; its file is smaller at the end, unless it was killed before. */
function defragment(world: World, machine: Machine, effect: Extract<AnsweredEffect, { kind: "defragment" }>): void {
  const member = endpointOf(world, effect.endpoint);
  const fail = (afterMs: number) =>
    world.later(
      machine,
      afterMs,
      () => world.deliver(machine, { kind: "failed", id: effect.id, code: "unavailable", message: "defragment" }),
    );
  if (member === undefined || member.frozen || !world.connected(machine.name, member.node)) return fail(100);
  for (const other of world.etcds.running.values()) {
    if (other !== member && other.data.clusterId === member.data.clusterId && defragments(world, other)) {
      world.fail(`${member.node} and ${other.node} defragment at once`);
    }
  }
  const target = world.machines.get(member.node)!;
  const forMs = 500 + world.below(4_000);
  const startedMs = member.startedMs;
  target.defrag = { startedMs, untilMs: world.nowMs + forMs };
  world.at(forMs, () => {
    if (world.memberOf(target.name)?.startedMs !== startedMs) return;
    target.freeBytes = 0;
    world.referee.defragmentations++;
  });
  world.later(machine, forMs + 1, () => {
    const id = effect.id;
    if (target.freeBytes === 0) world.deliver(machine, { kind: "done", id, value: { kind: "nothing" } });
    else world.deliver(machine, { kind: "failed", id, code: "unavailable", message: "defragment" });
  });
}

function describe(effect: AnsweredEffect): string {
  if ("memberId" in effect) return ` ${effect.memberId.slice(0, 4)}`;
  if (effect.kind === "startEtcd") return ` ${effect.start.state}`;
  return "";
}

function durationMs(
  world: World,
  machine: Machine,
  effect: Exclude<AnsweredEffect, { kind: "defragment" }>,
): number {
  const slow = machine.slow ? 400 : 0;
  switch (effect.kind) {
    case "writeRecord":
    case "quarantineData":
      return 3 + world.below(10) + slow;
    case "startEtcd":
      return 50 + world.below(150) + slow;
    case "stopEtcd":
      return 50 + world.below(100);
    case "prepareSource":
    case "exportSurvivor":
    case "restoreData":
      return 200 + world.below(800) + slow;
    case "takeSnapshot":
      return 100 + world.below(400);
    case "writePause":
    case "writeHold":
      return world.operators.delayMs();
    default:
      return 5 + world.below(40);
  }
}
