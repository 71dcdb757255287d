/** The work of a serving node for its cluster, one change at a time: replace, promote, execute plans, back up. */
import { decideBackup } from "../rules/backup.ts";
import { isLineageCertain, ownLineage } from "../evidence/lineage.ts";
import { freshAnswer } from "../evidence/members.ts";
import { decideReclaim, isNoSpace } from "../rules/nospace.ts";
import { decideReplacement } from "../rules/membership/replace.ts";
import { type CorruptDecision, decideCorrupt } from "../rules/membership/replace_corrupt.ts";
import { executePlan, proposeRequestedPlan, upgradeSelf } from "./execute_plan.ts";
import { lineageToKeep } from "../watch/node_record.ts";
import { stopOfChange } from "../rules/stops.ts";
import { leadsItself, takeOver } from "./take_over.ts";
import { leaderlessCodes, leaderlessReason } from "./no_leader.ts";
import { leads } from "../evidence/running_cluster.ts";
import type { Turn } from "../state/turn.ts";
import type { EtcdAnswer } from "../facts/cluster.ts";

const planEveryMs = 5_000;

function readPlan(turn: Turn): void {
  const { node, now } = turn;
  if (node.maintenance.planReadMs !== undefined && now.monotonicMs - node.maintenance.planReadMs < planEveryMs) return;
  node.maintenance.planReadMs = now.monotonicMs;
  turn.emit({ kind: "readPlan" });
}

/** At a follower: writes a requested plan for the leader's node, and executes the operations that concern the own etcd. */
function followPlan(turn: Turn, own: EtcdAnswer): void {
  readPlan(turn);
  if (turn.node.maintenance.plan === undefined) proposeRequestedPlan(turn);
  else upgradeSelf(turn, own, turn.node.maintenance.plan);
}

/** Called in each turn of a serving node. Only the node whose etcd leads changes members. */
export function serve(turn: Turn): void {
  const { node, now, view } = turn;
  const own = freshAnswer(node.membership.endpoints.get(node.self.clientUrl), now.monotonicMs);
  if (own === undefined || !leads(own)) {
    // Started while this member led: the leader's node reclaims space, and the read transaction here would prevent that.
    if (own !== undefined && isNoSpace(own) && node.effects.inFlight.has("backup")) abortSnapshot(turn);
    if (own === undefined && turn.probesJustInvalidated) return;
    if (own?.leaderId === undefined) {
      const { reason, level } = leaderlessReason(turn);
      return turn.waitFor(reason, level);
    }
    if (leaderlessCodes.has(node.reports.waitingFor?.code ?? "")) turn.waitNoMore();
    if (own.linearizable && takeOver(turn, own)) return;
    // The plan is read during a pause, too: the status and `e2d cancel` need it.
    if (own.linearizable && node.settings.paused) readPlan(turn);
    else if (own.linearizable) followPlan(turn, own);
    return;
  }
  leadsItself(turn);
  const lineage = lineageToKeep(turn, own);
  if (lineage !== undefined) turn.request("record", { kind: "writeLineage", clusterId: own.clusterId, lineage });
  clearVolatileKeys(turn, own);
  takeSnapshot(turn, own);
  readPlan(turn);
  const stop = stopOfChange(view, own);
  if (stop !== undefined) return turn.waitFor(stop);
  if (node.effects.inFlight.has("cluster")) return;
  const corrupt = decideCorrupt(view, own, node.maintenance.hashes);
  if (replaceCorrupt(turn, corrupt)) return;
  const action = decideReplacement(view, own);
  const via = [node.self.clientUrl];
  switch (action.kind) {
    case "remove":
      if (turn.request("cluster", { kind: "memberRemove", via, memberId: action.member.id })) {
        turn.recordDecision("remove", action.reason, { member: action.member.id, name: action.member.name }, "warn");
      }
      return;
    case "promote":
      if (turn.request("cluster", { kind: "memberPromote", via, memberId: action.member.id })) {
        turn.recordDecision("promote", action.reason, { member: action.member.id, name: action.member.name });
      }
      return;
    case "wait":
      if (corrupt.kind === "wait") turn.waitFor(corrupt.reason, "error");
      else turn.waitFor(action.reason, action.level);
      return;
    case "nothing":
      if (corrupt.kind === "wait") return turn.waitFor(corrupt.reason, "error");
      if (reclaimSpace(turn, own) || executePlan(turn, own)) return;
      return turn.waitNoMore();
    default:
      return action satisfies never;
  }
}

/** True if no other member may be changed in this turn. */
function replaceCorrupt(turn: Turn, decision: CorruptDecision): boolean {
  const via = [turn.node.self.clientUrl];
  switch (decision.kind) {
    case "nothing":
      return false;
    case "wait":
      if (!decision.replace) turn.waitFor(decision.reason, "error");
      return !decision.replace;
    case "hash": {
      const { members, revision, voters } = decision;
      turn.request("maintenance", { kind: "hashMembers", members, revision, voters });
      return true;
    }
    case "moveLeader":
      if (turn.request("cluster", { kind: "moveLeader", to: decision.to })) {
        turn.recordDecision("moveLeader", decision.reason);
      }
      return true;
    case "remove": {
      const { id, name } = decision.member;
      if (turn.request("cluster", { kind: "memberRemove", via, memberId: id })) {
        turn.recordDecision("remove", decision.reason, { member: id, name }, "warn");
      }
      return true;
    }
    case "disarm":
      if (turn.request("maintenance", { kind: "disarmCorrupt", memberId: decision.memberId })) {
        turn.recordDecision("disarm", decision.reason, { member: decision.memberId });
      }
      return true;
    default:
      return decision satisfies never;
  }
}

/** True while the database is full: no change that writes to etcd is possible. */
export function reclaimSpace(turn: Turn, own: EtcdAnswer): boolean {
  const decision = decideReclaim(turn.view, own);
  switch (decision.kind) {
    case "nothing":
      return false;
    case "wait":
      turn.waitFor(decision.reason, "error");
      return true;
    case "reclaim":
      if (turn.node.effects.inFlight.has("backup")) {
        abortSnapshot(turn);
        return true;
      }
      if (turn.request("maintenance", { kind: "reclaimSpace", endpoints: decision.endpoints })) {
        turn.recordDecision("reclaimSpace", decision.reason, { members: decision.endpoints.length });
      }
      return true;
    default:
      return decision satisfies never;
  }
}

/**
 * Ends the running snapshot of a full database: it keeps a read transaction of etcd open or waits for its store, while no key
 * can be written. The next snapshot follows after its interval.
 */
function abortSnapshot(turn: Turn): void {
  if (!turn.isFree("maintenance")) return;
  turn.emit({ kind: "abortSnapshot" });
  turn.recordDecision("abortSnapshot", {
    code: "snapshot_aborted",
    text: "the database is full: the running snapshot is aborted, so that space can be reclaimed",
  });
}

/** After a restore the leader's node deletes the volatile keys once, then compares the hashes of the members. */
function clearVolatileKeys(turn: Turn, own: EtcdAnswer): void {
  const { node, view } = turn;
  const lineage = ownLineage(view);
  if (lineage === undefined || lineage.epoch < 2 && node.disk.record.started?.how !== "restored") return;
  if (!node.bootstrap.volatileKeysCleared) {
    turn.request("record", { kind: "clearVolatile", lineage });
    return;
  }
  const voters = own.members.filter((member) => !member.isLearner);
  if (!node.bootstrap.hashesCompared && voters.length >= node.settings.requiredSize) {
    turn.request("record", {
      kind: "compareHashes",
      endpoints: voters.flatMap((member) => member.clientUrls.slice(0, 1)),
    });
  }
}

function takeSnapshot(turn: Turn, own: EtcdAnswer): void {
  const { node, view } = turn;
  const lineage = ownLineage(view);
  if (lineage === undefined || !isLineageCertain(view, own, lineage)) return;
  // A member that is defragmented does not answer, and a snapshot reads the whole database of another one.
  if (node.effects.inFlight.has("backup") || node.effects.inFlight.has("maintenance")) return;
  const decision = decideBackup(view, own, node.snapshots.backup);
  if (decision.kind === "take") {
    turn.request("backup", {
      kind: "takeSnapshot",
      format: decision.format,
      lineage,
      lastRevision: node.snapshots.backup.revision,
    });
  }
}
