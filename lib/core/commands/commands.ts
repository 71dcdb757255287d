/**
 * Operator commands: each enters as a `command` event and leaves as one `reply` effect. Decides on answers that the
 * members gave after the command came in, asks for them, and never waits longer than `probeBoundMs` for them. Commands
 * are answered one after another, in the order in which they came.
 */
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

/** Above the bound of one probe (four seconds): a silent member delays an answer no longer. */
const probeBoundMs = 5_000;

/** Either the answer, or the command with what it waits for now. */
type Progress = CommandAnswer | PendingCommand;

type Pending<K extends Command["kind"]> = PendingCommand & { readonly command: Extract<Command, { kind: K }> };

const refused = (why: string): CommandAnswer => ({ kind: "refused", why });
const isAnswer = (progress: Progress): progress is CommandAnswer => "kind" in progress;

export function addCommand({ node }: Turn, id: string, command: Command): void {
  const pending: PendingCommand = { id, command, step: "new", askedMs: 0, awaited: [] };
  node.operator.commands = [...node.operator.commands, pending];
}

/** Answers what can be answered now. Called in each turn, after the facts and before the rules. */
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

/** `askedMs` of the probe; undefined: just now. */
export function noteProbed({ node, now }: Turn, endpoint: string, askedMs = now.monotonicMs): void {
  const [first, ...others] = node.operator.commands;
  if (first === undefined || askedMs < first.askedMs) return;
  node.operator.commands = [{ ...first, awaited: first.awaited.filter((each) => each !== endpoint) }, ...others];
}

/** The effect in the slot `command` was done, or failed with this message. */
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
 * A read that does not end in the time of its probe leaves the quorum unknown: the node's next probes of its own etcd
 * confirm it, or the bound is over.
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
    if (node.phase !== "serving") return refused("this node does not serve now");
    if (own === undefined) return noAnswer;
    return probe(turn, pending, "probing", own.members.flatMap(({ clientUrls }) => clientUrls.slice(0, 1)));
  }
  const before = node.maintenance.plan;
  if (before !== undefined) return refused(`"${before.text}" is not done yet`);
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
    text: paused ? "all automatic action of the cluster pauses" : "automatic action goes on",
  };
  switch (pending.step) {
    case "new":
      // An answer from a moment ago may be from before an election.
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

/** Without a quorum a resume counts at this node and its peers: a pause that outlives its quorum must not last for ever. */
function resumeAlone(turn: Turn, dryRun: boolean): CommandAnswer {
  if (pauseState(turn.view).kind !== "paused") {
    return refused("nothing is paused as far as this node knows, and there is no quorum to ask");
  }
  if (!dryRun) resumeHere(turn);
  return {
    kind: "done",
    text: "bootstrap and disaster recovery go on at this node and the peers that gossip reaches. " +
      "The cluster has no quorum: if it comes back, its pause counts again",
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
      ? "this node no longer holds bootstrap and disaster recovery back"
      : "no cluster is bootstrapped, restored or recovered by this node or by any that sees it, until: e2d hold --release",
  };
  if (pending.step === "writing") {
    if (written === undefined) return pending;
    return written.failure === undefined ? done : refused(written.failure);
  }
  if (release && turn.node.settings.hold === undefined) return refused("this node is not held");
  if (command.dryRun) return done;
  if (command.kind === "releaseHold") return write(turn, pending, { kind: "writeHold" });
  const hold = { sinceWallMs: turn.now.wallMs, ...(command.why === undefined ? {} : { why: command.why }) };
  return write(turn, pending, { kind: "writeHold", hold });
}

/** The operations that are done stay done: each of them leaves a cluster that works. */
function advanceCancel(turn: Turn, pending: PendingCommand): Progress {
  const { plan } = turn.node.maintenance;
  if (pending.step === "writing") {
    if (pending.written === undefined) return pending;
    if (pending.written.failure !== undefined) return refused(pending.written.failure);
    return { kind: "done", text: pending.cancels ?? "" };
  }
  if (plan === undefined) return refused("no plan is under way");
  const text = `"${plan.text}" is given up; what was done of it stays`;
  if (pending.command.dryRun) return { kind: "done", text };
  return write(turn, { ...pending, cancels: text }, { kind: "writePlan" });
}
