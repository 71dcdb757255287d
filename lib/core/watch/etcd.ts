/**
 * The watchdog of the own etcd: a process that lives and does nothing is stopped and started again, and if that does not
 * help either, its own node reports it as hung, so that the leader may replace the member. It judges by lack of progress
 * alone, and never judges time in which this process itself did not run. What counts as progress:
 *
 * - Of an etcd that has served: an answer to the status question. etcd answers it from memory, so a slow disk (fsync), a
 *   lost quorum, a raft snapshot that comes in and a defragmentation do not keep it back. A log line does not count: the
 *   threads of raft and of the network log on beside an apply loop or a listener that is stuck.
 * - The begin and the end of work that the log names and that may block answers (LongOperation: the database is replaced by a
 *   received snapshot, or copied by a defragmentation). In between nothing has to be shown for `busyMs`.
 * - Of an etcd that has not served since it was started: a log line, too. Without a leader it opens no client port, and
 *   logs its elections; with a large database it logs what it reads.
 */
import { durationText } from "../../units.ts";
import type { AnsweredEffect } from "../facts/effect.ts";
import { freshAnswer } from "../evidence/members.ts";
import type { Turn } from "../state/turn.ts";
import type { MutableNodeState } from "../state/state.ts";

/** A status is answered within milliseconds. What is below the health-check time-out would be replaced later than restarted. */
const answeringMinMs = 10_000;
/** A large database is read whole before etcd serves; between two log lines minutes may pass. */
const startingMinMs = 120_000;
/** A defragmentation of 8 GiB on a slow disk. */
const busyMs = 1_800_000;
const doublingsMax = 4;
/** SIGTERM, then SIGKILL after this: a process that does nothing closes nothing. */
const stopWithinMs = 10_000;

const hasServed = ({ ownEtcd: { etcd, etcdProgress } }: MutableNodeState) =>
  etcd.kind === "ready" && !etcdProgress.startsAgain;

/** How long an etcd may show nothing before it counts as hung. */
function patienceMs(node: MutableNodeState): number {
  const { settings: { healthCheckTimeoutMs }, ownEtcd: { etcdProgress } } = node;
  if (etcdProgress.busy) return busyMs;
  return hasServed(node)
    ? Math.max(answeringMinMs, healthCheckTimeoutMs)
    : Math.max(startingMinMs, 2 * healthCheckTimeoutMs);
}

/** Where restarts do not help they become rarer. */
const limitMs = (node: MutableNodeState) =>
  patienceMs(node) * 2 ** Math.min(node.ownEtcd.etcdProgress.restarts, doublingsMax);

/** The process has changed. A new one behind the state `ready` was started by a deed of this node. */
export function noteProcess({ node, now }: Turn, state: "starting" | "ready" | "stopped"): void {
  const startsAgain = state === "starting" && node.ownEtcd.etcd.kind === "ready";
  node.ownEtcd.etcdProgress = { ...node.ownEtcd.etcdProgress, atMs: now.monotonicMs, busy: false, startsAgain };
}

export function noteLogLine({ node, now }: Turn, busy: boolean): void {
  if (hasServed(node) && busy === node.ownEtcd.etcdProgress.busy) return;
  node.ownEtcd.etcdProgress = { ...node.ownEtcd.etcdProgress, atMs: now.monotonicMs, busy };
}

const blocksEtcd: readonly AnsweredEffect["kind"][] = [
  "startEtcd",
  "upgradeEtcd",
  "exportSurvivor",
  "defragment",
  "reclaimSpace",
];

/** An effect of this node is under way that stops etcd, or keeps it from answering. */
function isBlocked({ node: { effects } }: Turn): boolean {
  return [...effects.inFlight.values()].some(({ kind }) => blocksEtcd.includes(kind));
}

/** When the watchdog restarts the own etcd if it shows nothing until then; undefined: nothing runs that it watches. */
export function restartDueMs(turn: Turn): number | undefined {
  const { node } = turn;
  if (node.ownEtcd.etcd.kind !== "starting" && node.ownEtcd.etcd.kind !== "ready") return undefined;
  return Math.max(node.ownEtcd.etcdProgress.atMs, node.process.watchingSinceMs) + limitMs(node);
}

/** Called in each turn, before the rules. */
export function watchOwnEtcd(turn: Turn): void {
  const { node, now } = turn;
  const runs = node.ownEtcd.etcd.kind === "starting" || node.ownEtcd.etcd.kind === "ready";
  if (!runs || node.phase === "leaving") return;
  const own = node.membership.endpoints.get(node.self.clientUrl);
  if (freshAnswer(own, now.monotonicMs) !== undefined && own!.atMs >= node.ownEtcd.etcdProgress.atMs) {
    const { atMs, startsAgain, restarts, restartedAtMs } = node.ownEtcd.etcdProgress;
    // Equal: it may have been given by the process before.
    node.ownEtcd.etcdProgress = {
      ...node.ownEtcd.etcdProgress,
      atMs: own!.atMs,
      startsAgain: startsAgain && own!.atMs === atMs,
    };
    if (restarts > 0 && now.monotonicMs - restartedAtMs >= limitMs(node)) {
      node.ownEtcd.etcdProgress = { ...node.ownEtcd.etcdProgress, restarts: 0 };
    }
    turn.resolve("etcd_hung");
  }
  if (isBlocked(turn)) {
    node.ownEtcd.etcdProgress = { ...node.ownEtcd.etcdProgress, atMs: now.monotonicMs };
    return;
  }
  const dueMs = restartDueMs(turn);
  if (dueMs === undefined) return;
  if (now.monotonicMs < dueMs) return turn.wakeAt(dueMs);
  if (!turn.request("local", { kind: "stopEtcd", withinMs: stopWithinMs })) return;
  const silent = durationText(now.monotonicMs - Math.max(node.ownEtcd.etcdProgress.atMs, node.process.watchingSinceMs));
  const shown = hasServed(node) ? "answered nothing" : "showed nothing, neither an answer nor a log line,";
  node.ownEtcd.etcdProgress = {
    atMs: now.monotonicMs,
    busy: false,
    startsAgain: false,
    restarts: node.ownEtcd.etcdProgress.restarts + 1,
    restartedAtMs: now.monotonicMs,
  };
  turn.report("warn", {
    code: "etcd_hung",
    text: `etcd of this node ran and ${shown} for ${silent}: it is restarted`,
    hint: "look at the disk and the memory of this machine; a member that stays so is replaced by the leader",
  });
}

/** For the peers: the id of the own member, whose etcd was restarted for its silence and is as silent again. */
export function ownEtcdHung({ node, now }: Turn): string | undefined {
  const { restarts, restartedAtMs, atMs } = node.ownEtcd.etcdProgress;
  if (restarts === 0 || node.phase === "leaving") return undefined;
  const silentMs = now.monotonicMs - Math.max(restartedAtMs, atMs, node.process.watchingSinceMs);
  // A process that is being stopped answers nothing; one that hangs on its disk does not even end.
  const stops = node.effects.inFlight.get("local")?.kind === "stopEtcd";
  if (silentMs < patienceMs(node) + (stops ? 2 * stopWithinMs : 0)) return undefined;
  return node.disk.data.kind === "valid" ? node.disk.data.memberId : node.disk.record.started?.memberId;
}
