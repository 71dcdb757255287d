/** What a serving node does for its cluster, one deed at a time: replace, promote, carry plans on, back up, clear up. */
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

/** Beside a follower: hand a request on by writing its plan, and do what only this node can do for one. */
function followPlan(turn: Turn, own: EtcdAnswer): void {
  readPlan(turn);
  if (turn.node.maintenance.plan === undefined) proposeRequestedPlan(turn);
  else upgradeSelf(turn, own, turn.node.maintenance.plan);
}

export function serve(turn: Turn): void {
  const { node, now, view } = turn;
  const own = freshAnswer(node.membership.endpoints.get(node.self.clientUrl), now.monotonicMs);
  if (own === undefined || !leads(own)) {
    // Begun while this member led: the leader's node makes room, and this one's transaction must not be in its way.
    if (own !== undefined && isNoSpace(own) && node.effects.inFlight.has("backup")) abortSnapshot(turn);
    if (own === undefined && turn.probesJustInvalidated) return;
    if (own?.leaderId === undefined) {
      const { reason, level } = leaderlessReason(turn);
      return turn.waitFor(reason, level);
    }
    if (leaderlessCodes.has(node.reports.waitingFor?.code ?? "")) turn.waitNoMore();
    if (own.linearizable && takeOver(turn, own)) return;
    // Read while paused, too: the end of the pause is told in the same place.
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
  const deed = decideReplacement(view, own);
  const via = [node.self.clientUrl];
  switch (deed.kind) {
    case "remove":
      if (turn.request("cluster", { kind: "memberRemove", via, memberId: deed.member.id })) {
        turn.recordDecision("remove", deed.reason, { member: deed.member.id, name: deed.member.name }, "warn");
      }
      return;
    case "promote":
      if (turn.request("cluster", { kind: "memberPromote", via, memberId: deed.member.id })) {
        turn.recordDecision("promote", deed.reason, { member: deed.member.id, name: deed.member.name });
      }
      return;
    case "wait":
      if (corrupt.kind === "wait") turn.waitFor(corrupt.reason, "error");
      else turn.waitFor(deed.reason, deed.level);
      return;
    case "nothing":
      if (corrupt.kind === "wait") return turn.waitFor(corrupt.reason, "error");
      if (reclaimSpace(turn, own) || executePlan(turn, own)) return;
      return turn.waitNoMore();
    default:
      return deed satisfies never;
  }
}

/** True when nobody else may be taken out beside this. */
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
      turn.request("care", { kind: "hashMembers", members, revision, voters });
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
      if (turn.request("care", { kind: "disarmCorrupt", memberId: decision.memberId })) {
        turn.recordDecision("disarm", decision.reason, { member: decision.memberId });
      }
      return true;
    default:
      return decision satisfies never;
  }
}

/** True while the database is full: nothing that writes can go on. */
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
      if (turn.request("care", { kind: "reclaimSpace", endpoints: decision.endpoints })) {
        turn.recordDecision("reclaimSpace", decision.reason, { members: decision.endpoints.length });
      }
      return true;
    default:
      return decision satisfies never;
  }
}

/**
 * A snapshot keeps etcd's read transaction open, or waits for its store: a full database does not wait for either. No key
 * can be written meanwhile. The next backup follows after its interval.
 */
function abortSnapshot(turn: Turn): void {
  if (!turn.isFree("care")) return;
  turn.emit({ kind: "abortSnapshot" });
  turn.recordDecision("abortSnapshot", {
    code: "snapshot_aborted",
    text: "the database is full: the snapshot that is being taken is given up, so that room can be made",
  });
}

/** After a restore: once, by the leader's e2d, as an ordinary transaction; then the members are held side by side. */
function clearVolatileKeys(turn: Turn, own: EtcdAnswer): void {
  const { node, view } = turn;
  const lineage = ownLineage(view);
  if (lineage === undefined || node.disk.record.started?.how === "joined" && lineage.epoch < 2) return;
  if (lineage.epoch < 2 && node.disk.record.started?.how !== "restored") return;
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
  // A member that defragments is one fewer to answer, and a snapshot reads the whole of another.
  if (node.effects.inFlight.has("backup") || node.effects.inFlight.has("care")) return;
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
