/**
 * Operator commands: each arrives as a `command` event and ends with one `reply` effect. A command is decided from answers
 * of members to probes that follow it, and waits at most `probeBoundMs` for them. Commands are answered one after
 * another in the order of their arrival.
 */
import { withoutUndefined } from "../../without_undefined.ts";
import type { Command, CommandAnswer, PendingCommand } from "../facts/command.ts";
import type { EtcdAnswer } from "../facts/cluster.ts";
import { freshAnswer } from "../evidence/members.ts";
import { defragWhenAsked, planDefrag } from "../plans/defrag.ts";
import { planScale } from "../plans/scale.ts";
import { planUpgrade } from "../plans/upgrade.ts";
import { pauseState } from "../rules/stops.ts";
import type { Turn } from "../state/turn.ts";
import { resumeHere } from "../watch/stops.ts";
import { approve } from "./approve.ts";

/** Above the time limit of one probe (four seconds); a silent member delays a reply no longer than this. */
const probeBoundMs = 5_000;

/** Either the reply, or the command with its next step. */
type Progress = CommandAnswer | PendingCommand;

type Pending<K extends Command["kind"]> = PendingCommand & { readonly command: Extract<Command, { kind: K }> };

const refused = (why: string): CommandAnswer => ({ kind: "refused", why });
const isAnswer = (progress: Progress): progress is CommandAnswer => "kind" in progress;

export function addCommand({ node }: Turn, id: string, command: Command): void {
  const pending: PendingCommand = { id, command, step: "new", askedMs: 0, awaited: [] };
  node.operator.commands = [...node.operator.commands, pending];
}

/** Replies to the commands that are ready. Called in each turn, after the event and before the rules. */
export function answerCommands(turn: Turn): void {
  const { operator } = turn.node;
  for (let next = operator.commands[0]; next !== undefined; next = operator.commands[0]) {
    const progress = advance(turn, next);
    const others = operator.commands.slice(1);
    if (!isAnswer(progress)) {
      operator.commands = [progress, ...others];
      return;
    }
    operator.commands = others;
    turn.emit({ kind: "reply", commandId: next.id, answer: progress });
  }
}

/** Notes the answer of an endpoint. `askedMs`: when its probe was sent; undefined: now. */
export function noteProbed({ node, now }: Turn, endpoint: string, askedMs = now.monotonicMs): void {
  const [first, ...others] = node.operator.commands;
  if (first === undefined || askedMs < first.askedMs) return;
  node.operator.commands = [{ ...first, awaited: first.awaited.filter((each) => each !== endpoint) }, ...others];
}

/** Notes that the effect in the slot `command` was done, or failed with this message. */
export function noteWritten({ node }: Turn, failure?: string): void {
  const [first, ...others] = node.operator.commands;
  if (first === undefined) return;
  node.operator.commands = [{ ...first, written: failure === undefined ? {} : { failure } }, ...others];
}

function advance(turn: Turn, pending: PendingCommand): Progress {
  const { kind } = pending.command;
  switch (kind) {
    case "scale":
    case "upgrade":
    case "defrag":
      return advancePlan(turn, pending as Pending<typeof kind>);
    case "pause":
    case "resume":
      return advancePause(turn, pending);
    case "hold":
    case "releaseHold":
      return advanceHold(turn, pending as Pending<typeof kind>);
    case "cancel":
      return advanceCancel(turn, pending);
    case "approve":
      return approve(turn, (pending as Pending<typeof kind>).command.plan);
    default:
      return kind satisfies never;
  }
}

function ownAnswer({ node, now }: Turn): EtcdAnswer | undefined {
  return freshAnswer(node.membership.endpoints.get(node.self.clientUrl), now.monotonicMs);
}

function probe(turn: Turn, pending: PendingCommand, step: "probing" | "confirming", endpoints: readonly string[]) {
  turn.emit({ kind: "probe", endpoints });
  turn.wakeIn(probeBoundMs);
  return { ...pending, step, awaited: endpoints, askedMs: turn.now.monotonicMs };
}

/**
 * True while answers are missing. A read that takes longer than its probe leaves the quorum unknown: the command waits for
 * the next probes of the own etcd to confirm it, up to `probeBoundMs`.
 */
function isProbing(turn: Turn, { step, awaited, askedMs }: PendingCommand): boolean {
  if (step !== "probing" && step !== "confirming") return false;
  if (awaited.length === 0 && ownAnswer(turn)?.linearizable === true) return false;
  turn.wakeAt(askedMs + probeBoundMs);
  return turn.now.monotonicMs < askedMs + probeBoundMs;
}

const noAnswer = refused("the etcd of this node does not answer");

function advancePlan(turn: Turn, pending: Pending<"scale" | "upgrade" | "defrag">): Progress {
  const { node } = turn;
  if (isProbing(turn, pending)) return pending;
  const own = ownAnswer(turn);
  if (pending.step === "new") {
    if (node.phase !== "serving") return refused("this node does not serve");
    if (own === undefined) return noAnswer;
    return probe(turn, pending, "probing", own.members.flatMap(({ clientUrls }) => clientUrls.slice(0, 1)));
  }
  const before = node.maintenance.plan ?? node.maintenance.requested;
  if (before !== undefined) return refused(`the plan "${before.text}" is not done yet`);
  if (own === undefined) return noAnswer;
  const outcome = makePlan(turn, pending, own);
  if (outcome.kind === "refused") return outcome;
  if (!pending.command.dryRun) node.maintenance.requested = outcome.plan;
  return { kind: "done", text: outcome.plan.text, plan: outcome.plan };
}

function makePlan({ view }: Turn, { id, command }: Pending<"scale" | "upgrade" | "defrag">, own: EtcdAnswer) {
  switch (command.kind) {
    case "scale":
      return planScale(view, own, command.to, id);
    case "upgrade":
      return planUpgrade(view, own, command.to, id);
    case "defrag":
      return planDefrag(view, own, defragWhenAsked, id);
    default:
      return command satisfies never;
  }
}

const noQuorumForPause =
  `the etcd of this node confirmed no quorum within ${probeBoundMs / 1_000} s, and a pause needs one. ` +
  "To stop automatic disaster recovery without one, run on this node: e2d hold";

function advancePause(turn: Turn, pending: PendingCommand): Progress {
  const { kind, dryRun } = pending.command;
  const paused = kind === "pause";
  const own = [turn.node.self.clientUrl];
  if (isProbing(turn, pending)) return pending;
  const done: CommandAnswer = {
    kind: "done",
    text: paused ? "automatic action of the cluster is paused" : "automatic action is resumed",
  };
  switch (pending.step) {
    case "new":
      // The last answer may be older than an election.
      return probe(turn, pending, "probing", own);
    case "probing":
      if (ownAnswer(turn)?.linearizable !== true) return paused ? refused(noQuorumForPause) : resumeAlone(turn, dryRun);
      if (dryRun) return done;
      return write(turn, pending, { kind: "writePause", paused });
    case "writing":
      if (pending.written === undefined) return pending;
      if (pending.written.failure !== undefined) return refused(pending.written.failure);
      return probe(turn, pending, "confirming", own);
    default:
      return done;
  }
}

/** Without a quorum a resume applies to this node and its peers: a pause must not outlive its quorum for ever. */
function resumeAlone(turn: Turn, dryRun: boolean): CommandAnswer {
  if (pauseState(turn.view).kind !== "paused") {
    return refused("this node knows of no pause, and the cluster has no quorum to read one from");
  }
  if (!dryRun) resumeHere(turn);
  return {
    kind: "done",
    text: "bootstrap and disaster recovery are resumed at this node and the peers that gossip reaches. " +
      "The cluster has no quorum: if the quorum returns, its pause applies again",
  };
}

function write(turn: Turn, pending: PendingCommand, effect: Parameters<Turn["request"]>[1]): PendingCommand {
  return turn.request("command", effect) ? { ...pending, step: "writing" } : pending;
}

function advanceHold(turn: Turn, pending: Pending<"hold" | "releaseHold">): Progress {
  const { command, written } = pending;
  const release = command.kind === "releaseHold";
  const done: CommandAnswer = {
    kind: "done",
    immediate: true,
    text: release
      ? "this node no longer holds bootstrap and disaster recovery"
      : "this node and all nodes that see it bootstrap, restore and recover no cluster until: e2d hold --release",
  };
  if (pending.step === "writing") {
    if (written === undefined) return pending;
    return written.failure === undefined ? done : refused(written.failure);
  }
  if (release && turn.node.settings.hold === undefined) return refused("this node has no hold");
  if (command.dryRun) return done;
  if (command.kind === "releaseHold") return write(turn, pending, { kind: "writeHold" });
  const hold = { sinceWallMs: turn.now.wallMs, ...withoutUndefined({ why: command.why }) };
  return write(turn, pending, { kind: "writeHold", hold });
}

/** Deletes the plan. Its finished operations are not reverted: each of them leaves a working cluster. */
function advanceCancel(turn: Turn, pending: PendingCommand): Progress {
  const { plan } = turn.node.maintenance;
  if (pending.step === "writing") {
    if (pending.written === undefined) return pending;
    if (pending.written.failure !== undefined) return refused(pending.written.failure);
    return { kind: "done", text: pending.cancels ?? "" };
  }
  if (plan === undefined) return refused("no plan is running");
  const text = `cancelled "${plan.text}"; its finished operations are not reverted`;
  if (pending.command.dryRun) return { kind: "done", text };
  return write(turn, { ...pending, cancels: text }, { kind: "writePlan" });
}
