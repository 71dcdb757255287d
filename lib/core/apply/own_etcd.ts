/** Applies state changes of the own etcd process: it starts, is ready, was stopped, or exited unexpectedly. */
import { forgetDataDir } from "../watch/data_dir.ts";
import { noteProcess } from "../watch/etcd.ts";
import type { Event } from "../facts/event.ts";
import { retryDelayMs, type Turn } from "../state/turn.ts";

const exitBackoffMaxMs = 60_000;
/** A single exit may have a passing cause; an etcd that exits at each start needs an operator. */
const exitsMin = 3;
const dies = "etcd_dies";

export function etcdChanged(turn: Turn, state: "starting" | "ready" | "stopped"): void {
  const { node, now } = turn;
  noteProcess(turn, state);
  switch (state) {
    case "starting":
      if (node.ownEtcd.etcd.kind === "ready") return;
      node.ownEtcd.etcd = { kind: "starting", sinceMs: now.monotonicMs };
      node.ownEtcd.leaderlessSinceMs ??= now.monotonicMs;
      node.ownEtcd.leaderSinceMs = undefined;
      return;
    case "ready":
      if (node.ownEtcd.etcd.kind !== "ready") node.ownEtcd.etcd = { kind: "ready", sinceMs: now.monotonicMs };
      node.ownEtcd.exits = 0;
      turn.resolve(dies);
      node.bootstrap.committing = undefined;
      return;
    case "stopped":
      node.ownEtcd.etcd = { kind: "stopped" };
      etcdGone(turn);
      return;
    default:
      return state satisfies never;
  }
}

export function etcdExited(turn: Turn, event: Extract<Event, { kind: "etcdExited" }>): void {
  const { node, now } = turn;
  node.ownEtcd.exits++;
  node.ownEtcd.etcd = {
    kind: "exited",
    atMs: now.monotonicMs,
    code: event.code,
    cause: event.cause,
    count: node.ownEtcd.exits,
  };
  // It ran: if its data is absent now, its member id must not be used again.
  node.bootstrap.committing = undefined;
  node.membership.added = undefined;
  etcdGone(turn);
  turn.backOff("local", Math.min(exitBackoffMaxMs, retryDelayMs * 2 ** (node.ownEtcd.exits - 1)));
  turn.notice("error", "etcd exited", {
    code: "etcd_exited",
    text: `etcd exited unexpectedly with status ${event.code} (${event.cause})`,
  });
  if (node.ownEtcd.exits >= exitsMin) reportDeaths(turn, event);
}

/** Notes that the own etcd runs without a leader, from this turn on unless it was noted before. */
export function markLeaderless(turn: Turn): void {
  const { node, now } = turn;
  if (node.ownEtcd.etcd.kind === "starting" || node.ownEtcd.etcd.kind === "ready") {
    node.ownEtcd.leaderlessSinceMs ??= now.monotonicMs;
    node.ownEtcd.leaderSinceMs = undefined;
  }
}

/** The starts of etcd continue with a growing backoff: the cause may end, as a full disk does. */
function reportDeaths(turn: Turn, { cause, lastLine, hint }: Extract<Event, { kind: "etcdExited" }>): void {
  const why = cause === "unknown" ? "" : ` (${cause})`;
  turn.report("error", {
    code: dies,
    text: `etcd exits at each start before it is ready${why}${lastLine === undefined ? "" : `: ${lastLine}`}`,
    hint:
      `${hint ?? "the last lines of etcd in the log of e2d contain the cause"}; e2d starts it again at least once a ` +
      "minute and does not change the data-dir",
  });
}

/** etcd does not run: its answers are void, and the data-dir is inspected again. */
export function etcdGone(turn: Turn): void {
  const { node } = turn;
  forgetDataDir(turn);
  // The plan had been read from the own etcd.
  node.maintenance.plan = undefined;
  node.maintenance.planReadMs = undefined;
  node.ownEtcd.leaderlessSinceMs = undefined;
  node.ownEtcd.leaderSinceMs = undefined;
  node.disk.logReadMs = undefined;
  node.membership.clusterRecordVerified = false;
  node.disk.data = { kind: "unknown" };
  const endpoints = new Map(node.membership.endpoints);
  endpoints.delete(node.self.clientUrl);
  node.membership.endpoints = endpoints;
  if (!node.effects.inFlight.has("local")) turn.emit({ kind: "inspectData" });
}
