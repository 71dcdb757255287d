/** What a serving node does for its cluster, one deed at a time: replace, promote, carry plans on, back up, clear up. */
import { decideBackup } from "./backup.ts";
import { ownLineage } from "./lineage.ts";
import { freshAnswer } from "./quorum.ts";
import { decideRoom } from "./make_room.ts";
import { decideReplacement, leads } from "./replace.ts";
import { type CorruptDecision, decideCorrupt } from "./replace_corrupt.ts";
import { carryPlan, offerPlan, upgradeSelf } from "./carry_plan.ts";
import type { Turn } from "./turn.ts";
import type { EtcdAnswer, Reason } from "./view.ts";

const planEveryMs = 5_000;

function readPlan(turn: Turn): void {
  const { node, now } = turn;
  if (node.planReadMs !== undefined && now.monotonicMs - node.planReadMs < planEveryMs) return;
  node.planReadMs = now.monotonicMs;
  turn.emit({ kind: "readPlan" });
}

/** Beside a follower: hand a request on by writing its plan, and do what only this node can do for one. */
function followPlan(turn: Turn, own: EtcdAnswer): void {
  readPlan(turn);
  if (turn.node.plan === undefined) offerPlan(turn);
  else upgradeSelf(turn, own, turn.node.plan);
}

/** What happens by itself, and when, is what whoever is woken by this wants to know. */
function noQuorum({ node, now }: Turn): Reason {
  const reason = { code: "no_quorum", text: "the own etcd has no leader: its quorum cannot be reached" };
  const { quorumLossTimeoutMs, gossip } = node.settings;
  if (!gossip || node.leaderlessSinceMs === undefined) return reason;
  if (quorumLossTimeoutMs === "never") {
    return { ...reason, hint: "bring members back; nothing is recovered by itself (--quorum-loss-timeout never)" };
  }
  const atWallMs = now.wallMs + node.leaderlessSinceMs + quorumLossTimeoutMs - now.monotonicMs;
  const at = new Date(atWallMs).toISOString().slice(11, 19);
  return { ...reason, hint: `bring members back; if it stays so, recovery from what is left begins at ${at} UTC` };
}

export function serve(turn: Turn): void {
  const { node, now, view } = turn;
  const own = freshAnswer(node.endpoints.get(node.self.clientUrl), now.monotonicMs);
  if (own === undefined || !leads(own)) {
    if (own === undefined && turn.justVoided) return;
    if (own?.leaderId === undefined) {
      return turn.waitFor(noQuorum(turn), "warn");
    }
    if (node.waitingFor?.code === "no_quorum") turn.waitNoMore();
    // Read while paused, too: the end of the pause is told in the same place.
    if (own.linearizable && node.settings.paused) readPlan(turn);
    else if (own.linearizable) followPlan(turn, own);
    return;
  }
  clearUp(turn, own);
  backUp(turn, own);
  readPlan(turn);
  if (node.settings.paused) {
    return turn.waitFor({ code: "paused", text: "paused: no member is added, promoted or removed until resumed" });
  }
  if (node.deeds.has("cluster")) return;
  const corrupt = decideCorrupt(view, own, node.hashes);
  if (carryCorrupt(turn, corrupt)) return;
  const deed = decideReplacement(view, own);
  const via = [node.self.clientUrl];
  switch (deed.kind) {
    case "remove":
      if (turn.ask("cluster", { kind: "memberRemove", via, memberId: deed.member.id })) {
        turn.decide("remove", deed.reason, { member: deed.member.id, name: deed.member.name });
      }
      return;
    case "promote":
      if (turn.ask("cluster", { kind: "memberPromote", via, memberId: deed.member.id })) {
        turn.decide("promote", deed.reason, { member: deed.member.id, name: deed.member.name });
      }
      return;
    case "wait":
      if (corrupt.kind === "wait") turn.waitFor(corrupt.reason, "error");
      else turn.waitFor(deed.reason);
      return;
    case "nothing":
      if (corrupt.kind === "wait") return turn.waitFor(corrupt.reason, "error");
      if (makeRoom(turn, own) || carryPlan(turn, own)) return;
      return turn.waitNoMore();
    default:
      return deed satisfies never;
  }
}

/** True when nobody else may be taken out beside this. */
function carryCorrupt(turn: Turn, decision: CorruptDecision): boolean {
  const via = [turn.node.self.clientUrl];
  switch (decision.kind) {
    case "nothing":
      return false;
    case "wait":
      if (!decision.replace) turn.waitFor(decision.reason, "error");
      return !decision.replace;
    case "hash": {
      const { members, revision, voters } = decision;
      turn.ask("care", { kind: "hashMembers", members, revision, voters });
      return true;
    }
    case "moveLeader":
      if (turn.ask("cluster", { kind: "moveLeader", to: decision.to })) turn.decide("moveLeader", decision.reason);
      return true;
    case "remove": {
      const { id, name } = decision.member;
      if (turn.ask("cluster", { kind: "memberRemove", via, memberId: id })) {
        turn.decide("remove", decision.reason, { member: id, name });
      }
      return true;
    }
    case "disarm":
      if (turn.ask("care", { kind: "disarmCorrupt", memberId: decision.memberId })) {
        turn.decide("disarm", decision.reason, { member: decision.memberId });
      }
      return true;
    default:
      return decision satisfies never;
  }
}

/** True while the database is full: nothing that writes can go on. */
function makeRoom(turn: Turn, own: EtcdAnswer): boolean {
  const decision = decideRoom(turn.view, own);
  switch (decision.kind) {
    case "nothing":
      return false;
    case "wait":
      turn.waitFor(decision.reason, "error");
      return true;
    case "make":
      if (turn.node.deeds.has("backup")) return true;
      if (turn.ask("care", { kind: "makeRoom", endpoints: decision.endpoints })) {
        turn.decide("makeRoom", decision.reason, { members: decision.endpoints.length });
      }
      return true;
    default:
      return decision satisfies never;
  }
}

/** After a restore: once, by the leader's e2d, as an ordinary transaction; then the members are held side by side. */
function clearUp(turn: Turn, own: EtcdAnswer): void {
  const { node, view } = turn;
  const lineage = ownLineage(view);
  if (lineage === undefined || node.record.started?.how === "joined" && lineage.epoch < 2) return;
  if (lineage.epoch < 2 && node.record.started?.how !== "restored") return;
  if (!node.cleared) {
    turn.ask("record", { kind: "clearVolatile", lineage });
    return;
  }
  const voters = own.members.filter((member) => !member.isLearner);
  if (!node.compared && voters.length >= node.settings.requiredSize) {
    turn.ask("record", { kind: "compareHashes", endpoints: voters.flatMap((member) => member.clientUrls.slice(0, 1)) });
  }
}

function backUp(turn: Turn, own: EtcdAnswer): void {
  const { node, view } = turn;
  const lineage = ownLineage(view);
  // A member that defragments is one fewer to answer, and a snapshot reads the whole of another.
  if (lineage === undefined || node.deeds.has("backup") || node.deeds.has("care")) return;
  const decision = decideBackup(view, own, node.backup);
  if (decision.kind === "take") {
    turn.ask("backup", {
      kind: "takeSnapshot",
      format: decision.format,
      lineage,
      lastRevision: node.backup.revision,
    });
  }
}
