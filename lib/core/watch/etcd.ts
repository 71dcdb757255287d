/**
 * The watchdog of the own etcd: it restarts a process that runs without progress. If the restart does not help, this node
 * publishes the member as hung, so that the leader may replace it. The watchdog never counts time in which this process
 * itself was paused. Progress is:
 *
 * - If etcd has served: an answer to the status call. etcd answers it from memory, so a slow disk (fsync), a lost quorum, an
 *   incoming raft snapshot and a defragmentation do not delay it. A log line is no progress: the threads of raft and of the
 *   network continue to log while the apply loop or a listener is stuck.
 * - The begin and the end of work that the log names and that may block answers (LongOperation: a received snapshot replaces
 *   the database, or a defragmentation copies it). In between no progress is required for `busyMs`.
 * - If etcd has not served since its start: also a log line. Without a leader etcd opens no client port and logs its
 *   elections; with a large database it logs its recovery.
 */
import { durationText } from "../../units.ts";
import type { AnsweredEffect } from "../facts/effect.ts";
import { freshAnswer } from "../evidence/members.ts";
import type { Turn } from "../state/turn.ts";
import type { MutableNodeState } from "../state/state.ts";

/** etcd answers a status call within milliseconds. The limit is never below `--health-check-timeout`. */
const answeringMinMs = 10_000;
/** etcd reads a large database before it serves; there may be minutes between two log lines. */
const startingMinMs = 120_000;
/** A defragmentation of 8 GiB on a slow disk. */
const busyMs = 1_800_000;
const doublingsMax = 4;
/** Time from SIGTERM to SIGKILL: a hung process does not close anything. */
const stopWithinMs = 10_000;

const hasServed = ({ ownEtcd: { etcd, etcdProgress } }: MutableNodeState) =>
  etcd.kind === "ready" && !etcdProgress.startsAgain;

/** How long etcd may run without progress before it counts as hung. */
function patienceMs(node: MutableNodeState): number {
  const { settings: { healthCheckTimeoutMs }, ownEtcd: { etcdProgress } } = node;
  if (etcdProgress.busy) return busyMs;
  return hasServed(node)
    ? Math.max(answeringMinMs, healthCheckTimeoutMs)
    : Math.max(startingMinMs, 2 * healthCheckTimeoutMs);
}

/** The limit doubles with each restart that does not help. */
const limitMs = (node: MutableNodeState) =>
  patienceMs(node) * 2 ** Math.min(node.ownEtcd.etcdProgress.restarts, doublingsMax);

/** The process has changed. If the state was `ready`, an effect of this node has started the new process. */
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

/** True while an effect of this node stops etcd or keeps it from answering. */
function isBlocked({ node: { effects } }: Turn): boolean {
  return [...effects.inFlight.values()].some(({ kind }) => blocksEtcd.includes(kind));
}

/** When the watchdog restarts the own etcd if there is no progress until then; undefined: etcd does not run. */
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
    // Equal times: the previous process may have given the answer.
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
  const shown = hasServed(node) ? "gave no answer" : "gave no answer and wrote no log line";
  node.ownEtcd.etcdProgress = {
    atMs: now.monotonicMs,
    busy: false,
    startsAgain: false,
    restarts: node.ownEtcd.etcdProgress.restarts + 1,
    restartedAtMs: now.monotonicMs,
  };
  turn.report("warn", {
    code: "etcd_hung",
    text: `etcd of this node ${shown} for ${silent}: it is restarted`,
    hint: "check the disk and the memory of this machine; the leader replaces a member that hangs again",
  });
}

/** What this node publishes: the id of the own member if its etcd hangs again after a restart by the watchdog. */
export function ownEtcdHung({ node, now }: Turn): string | undefined {
  const { restarts, restartedAtMs, atMs } = node.ownEtcd.etcdProgress;
  if (restarts === 0 || node.phase === "leaving") return undefined;
  const silentMs = now.monotonicMs - Math.max(restartedAtMs, atMs, node.process.watchingSinceMs);
  // During a stop there are no answers; a process that hangs on its disk does not exit.
  const stops = node.effects.inFlight.get("local")?.kind === "stopEtcd";
  if (silentMs < patienceMs(node) + (stops ? 2 * stopWithinMs : 0)) return undefined;
  return node.disk.data.kind === "valid" ? node.disk.data.memberId : node.disk.record.started?.memberId;
}
