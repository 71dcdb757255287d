/** Applies the results of effects to the state: a success becomes a fact, a failure a backoff of its slot. */
import { withoutUndefined } from "../../without_undefined.ts";
import type { AnsweredEffect } from "../facts/effect.ts";
import { noteWritten } from "../commands/commands.ts";
import type { DoneValue } from "../facts/event.ts";
import { etcdChanged, etcdGone } from "./own_etcd.ts";
import { takenAtWallMs } from "../rules/bootstrap/source.ts";
import { noteSaved } from "../watch/stored_backup.ts";
import { failureTextMax } from "../rules/backup.ts";
import { type MutableNodeState, nonceOf, type Slot } from "../state/state.ts";
import { retryDelayMs, type Turn } from "../state/turn.ts";
import type { Source } from "../facts/node_record.ts";

const defragBackoffMs = 60_000;
const downgradeBackoffMs = 10_000;
const reclaimBackoffMs = 300_000;
const formerNoncesMax = 8;

export function applyDone(turn: Turn, id: number, value: DoneValue): void {
  const { node, now } = turn;
  const taken = takeFromSlot(turn, id);
  if (taken === undefined) return;
  const { slot, effect } = taken;
  if (slot === "command") noteWritten(turn);
  node.effects.failing = new Map([...node.effects.failing].filter(([each]) => each !== slot));
  switch (effect.kind) {
    case "writeRecord":
      node.disk.record = effect.record;
      node.disk.recordPersisted = true;
      inspectAgain(turn);
      return;
    case "quarantineData":
      if (!effect.keepRecord) forgetRecord(turn);
      node.membership.added = undefined;
      node.disk.data = { kind: "unknown" };
      turn.emit({ kind: "inspectData" });
      return;
    case "startEtcd":
      node.bootstrap.committing = undefined;
      if (node.ownEtcd.etcd.kind !== "ready" && node.ownEtcd.etcd.kind !== "exited") etcdChanged(turn, "starting");
      return;
    case "stopEtcd":
      etcdChanged(turn, "stopped");
      return;
    case "prepareSource":
      if (value.kind === "sourceVerified" && node.bootstrap.progress.plan?.digest === effect.plan.digest) {
        node.bootstrap.progress = { ...node.bootstrap.progress, verified: value.hash };
      }
      return;
    case "exportSurvivor":
      if (value.kind === "exported" && node.bootstrap.progress.plan?.digest === effect.plan.digest) {
        const { hash, revision, url } = value;
        node.bootstrap.progress = { ...node.bootstrap.progress, offer: { hash, revision, url } };
      }
      return;
    case "restoreData": {
      const { digest, source } = effect.plan;
      node.bootstrap.restored = digest;
      turn.notice("warn", "restored", { code: "restored", text: restoredText(node, source) });
      return;
    }
    case "provideEtcd":
      if (value.kind === "etcdProvided") node.ownEtcd.provided = value.version;
      return;
    case "memberAdd":
      if (value.kind === "memberAdded") node.membership.added = value.memberId;
      invalidateProbes(turn);
      return;
    case "memberPromote":
      // Both the joiner and the leader's node request it: the one that succeeds logs it.
      turn.notice("info", "promoted", { code: "caught_up", text: `member ${effect.memberId} is a voter now` });
      invalidateProbes(turn);
      return;
    case "memberRemove":
    case "memberUpdate":
    case "moveLeader":
      invalidateProbes(turn);
      return;
    case "checkRecord":
      node.membership.clusterRecordVerified = true;
      if (value.kind === "recordChecked") checkSize(turn, value.size, value.formerSizes);
      return;
    case "allowDowngrade":
      // The members check only every few seconds whether a downgrade is enabled.
      turn.backOff("cluster", downgradeBackoffMs);
      invalidateProbes(turn);
      return;
    case "upgradeEtcd":
      turn.notice("info", "upgraded", { code: "plan_goes_on", text: `this member runs etcd ${effect.to} now` });
      invalidateProbes(turn);
      return;
    case "changeRecord":
    case "defragment":
      invalidateProbes(turn);
      return;
    case "reclaimSpace":
      if (value.kind === "spaceReclaimed") {
        const text = `the database was full: ${value.detail}`;
        turn.notice("warn", "space reclaimed", { code: "nospace_resolved", text });
      }
      // A database that fills again immediately must not stop its member again immediately.
      turn.backOff("maintenance", defragBackoffMs);
      invalidateProbes(turn);
      return;
    case "hashMembers":
      if (value.kind === "membersHashed") {
        const { revision, voters } = effect;
        node.maintenance.hashes = { revision, voters, hashes: value.hashes, atMs: now.monotonicMs };
      }
      return;
    case "disarmCorrupt":
      invalidateProbes(turn);
      return;
    case "writePlan":
      node.maintenance.plan = effect.plan;
      if (effect.plan !== undefined && node.maintenance.requested?.id === effect.plan.id) {
        node.maintenance.requested = undefined;
      }
      return;
    case "writePause":
    case "writeHold":
      return;
    case "clearVolatile":
      node.bootstrap.volatileKeysCleared = true;
      return;
    case "writeLineage":
      invalidateProbes(turn);
      return;
    case "compareHashes":
      node.bootstrap.hashesCompared = true;
      if (value.kind === "hashesCompared" && !value.equal) {
        node.snapshots.backup = { ...node.snapshots.backup, diverged: true };
        turn.notice("error", "members differ", { code: "members_differ", text: `HashKV differs: ${value.detail}` });
      }
      return;
    case "takeSnapshot": {
      const { failure: _, ...before } = node.snapshots.backup;
      node.snapshots.backup = {
        ...before,
        attemptedAtMs: now.monotonicMs,
        revision: value.kind === "snapshotTaken"
          ? Math.max(node.snapshots.backup.revision, value.revision)
          : node.snapshots.backup.revision,
      };
      if (value.kind === "snapshotTaken" && value.saved) {
        node.snapshots.lastSnapshotAtWallMs = now.wallMs;
        noteSaved(turn, effect.lineage, value.revision);
      }
      return;
    }
    default:
      return effect satisfies never;
  }
}

export function applyFailed(turn: Turn, id: number, code: string, message: string): void {
  const { node, now } = turn;
  const taken = takeFromSlot(turn, id);
  if (taken === undefined) return;
  const { slot, effect } = taken;
  // The operator receives the failure and decides about a retry. A plan of another node is read before the next write.
  if (slot === "command") {
    if (effect.kind === "writePlan") node.maintenance.planReadMs = undefined;
    return noteWritten(turn, message);
  }
  node.effects.failing = new Map(node.effects.failing).set(slot, {
    kind: effect.kind,
    text: message,
    atMs: now.monotonicMs,
  });
  // A normal stop closes the connections of the effects in flight.
  turn.notice(node.phase === "leaving" ? "info" : "warn", `${effect.kind} failed`, { code, text: message });
  // A learner is promoted as soon as possible: meanwhile the cluster lacks a vote.
  turn.backOff(slot, effect.kind === "memberPromote" ? retryDelayMs / 4 : retryDelayMs);
  switch (effect.kind) {
    case "startEtcd":
      // etcd never ran, so the bootstrap or the join may start again in the same way.
      node.ownEtcd.etcd = { kind: "stopped" };
      etcdGone(turn);
      return;
    case "quarantineData":
    case "stopEtcd":
      turn.emit({ kind: "inspectData" });
      return;
    case "restoreData":
      // The work folder was emptied after the commitment. Only a snapshot in a store can be downloaded again.
      if (code === "not_prepared" && effect.plan.source.kind === "snapshot") {
        turn.request("source", { kind: "prepareSource", plan: effect.plan });
      }
      invalidateProbes(turn);
      return;
    case "prepareSource":
    case "exportSurvivor":
    case "provideEtcd":
      // These depend on other machines, which do not recover within a second.
      turn.backOff(slot, 10 * retryDelayMs);
      return;
    case "takeSnapshot":
      node.snapshots.backup = {
        ...node.snapshots.backup,
        attemptedAtMs: now.monotonicMs,
        failure: {
          attempts: (node.snapshots.backup.failure?.attempts ?? 0) + 1,
          text: message.slice(0, failureTextMax),
        },
      };
      return;
    case "defragment":
      // The defragmentation may continue at that member.
      turn.backOff(slot, defragBackoffMs);
      invalidateProbes(turn);
      return;
    case "reclaimSpace":
      // Each attempt compacts and stops members for some time.
      turn.backOff(slot, reclaimBackoffMs);
      invalidateProbes(turn);
      return;
    case "writePlan":
      // A plan of another node may exist; it must be read before the next write.
      node.maintenance.planReadMs = undefined;
      invalidateProbes(turn);
      return;
    default:
      invalidateProbes(turn);
      return;
  }
}

/** Removes the effect with this id from its slot; undefined: it is not in flight. */
function takeFromSlot(turn: Turn, id: number): { slot: Slot; effect: AnsweredEffect } | undefined {
  const { node } = turn;
  for (const [slot, effect] of node.effects.inFlight) {
    if (effect.id !== id) continue;
    const inFlight = new Map(node.effects.inFlight);
    inFlight.delete(slot);
    node.effects.inFlight = inFlight;
    const backoffUntilMs = new Map(node.effects.backoffUntilMs);
    backoffUntilMs.delete(slot);
    node.effects.backoffUntilMs = backoffUntilMs;
    return { slot, effect };
  }
  return undefined;
}

/** The result of an inspection during an effect on the data-dir was ignored: inspect it again. */
function inspectAgain(turn: Turn): void {
  if (turn.node.disk.data.kind === "unknown") turn.emit({ kind: "inspectData" });
}

/** Replaces the record by an empty one with a new nonce: nothing of the former one binds this disk any more. */
export function forgetRecord(turn: Turn): void {
  const { node } = turn;
  const { seen } = node.disk.record;
  const formerNonces = [...node.disk.record.formerNonces ?? [], node.disk.record.nonce].slice(-formerNoncesMax);
  node.disk.record = {
    nonce: nonceOf(node.process.seed, node.process.nonces++),
    formerNonces,
    pledges: [],
    ...withoutUndefined({ seen }),
  };
  node.disk.recordPersisted = false;
}

/** The text of a restore, with the time after which writes are lost. */
function restoredText({ snapshots: { lookup } }: MutableNodeState, source: Source): string {
  if (source.kind === "empty") return "the data-dir was created empty";
  const what = source.kind === "survivor" ? `the data of "${source.name}"` : "a snapshot";
  const takenMs = takenAtWallMs({ snapshotLookup: lookup }, source);
  const takenAt = takenMs === undefined ? "" : ` of ${new Date(takenMs).toISOString().slice(0, 19)}Z`;
  return `the data-dir was restored from ${what}${takenAt} at revision ${source.revision}: later writes are lost`;
}

/**
 * Compares `-n` with the `size` in the cluster record. A node with one of the former sizes adopts the recorded one; any other
 * node stops.
 */
export function checkSize(turn: Turn, size: number, formerSizes: readonly number[]): void {
  const { node } = turn;
  const own = node.settings.requiredSize;
  if (size === own) return;
  if (formerSizes.includes(own)) {
    node.settings = { ...node.settings, requiredSize: size };
    turn.notice("info", "size adopted", {
      code: "size_adopted",
      text: `the cluster was scaled from ${own} to ${size} members; this node uses the new size`,
    });
    return;
  }
  node.process.ending = {
    code: 1,
    reason: {
      code: "size_contradicts_record",
      text: `-n ${own} contradicts the size ${size} in the cluster record`,
      hint: `start this node with -n ${size}, or change the cluster with "e2d scale"`,
    },
  };
  turn.enter("leaving", node.process.ending.reason);
}

/** Answers from before a change of the members are out of date: all endpoints are probed again in this turn. */
function invalidateProbes(turn: Turn): void {
  const { node } = turn;
  node.membership.lastProbedAtMs = new Map();
  node.membership.probesInvalidatedAtMs = turn.now.monotonicMs;
  node.membership.endpoints = new Map(
    [...node.membership.endpoints].map(([url, facts]) => [url, { ...facts, atMs: -Infinity }]),
  );
}
