/** What becomes of the own etcd, into facts: it starts, is ready, ends by itself, or is gone. */
import type { Event } from "./event.ts";
import { retryAfterMs, type Turn } from "./turn.ts";

const exitRestMaxMs = 30_000;
/** Half a minute of starts that come to nothing. */
const exitsMax = 6;

export function etcdChanged(turn: Turn, state: "starting" | "ready" | "stopped"): void {
  const { node, now } = turn;
  switch (state) {
    case "starting":
      if (node.etcd.kind === "ready") return;
      node.etcd = { kind: "starting", sinceMs: now.monotonicMs };
      node.leaderlessSinceMs ??= now.monotonicMs;
      return;
    case "ready":
      if (node.etcd.kind !== "ready") node.etcd = { kind: "ready", sinceMs: now.monotonicMs };
      node.exits = 0;
      node.committing = undefined;
      return;
    case "stopped":
      node.etcd = { kind: "stopped" };
      etcdGone(turn);
      return;
    default:
      return state satisfies never;
  }
}

export function etcdExited(turn: Turn, event: Extract<Event, { kind: "etcdExited" }>): void {
  const { node, now } = turn;
  node.exits++;
  node.etcd = {
    kind: "exited",
    atMs: now.monotonicMs,
    code: event.code,
    cause: event.cause,
    count: node.exits,
  };
  // It ran: if its data is gone now, its identity is spent.
  node.committing = undefined;
  node.added = undefined;
  etcdGone(turn);
  turn.rest("local", Math.min(exitRestMaxMs, retryAfterMs * 2 ** Math.min(node.exits - 1, 6)));
  turn.notice("error", "etcd exited", {
    code: "etcd_exited",
    text: `etcd ended by itself with ${event.code} (${event.cause})`,
  });
  if (node.exits >= exitsMax) giveUp(turn, event.cause);
}

export function leaderless(turn: Turn): void {
  const { node, now } = turn;
  if (node.etcd.kind === "starting" || node.etcd.kind === "ready") node.leaderlessSinceMs ??= now.monotonicMs;
}

/** A service manager may start this process again, and a human sees that it does not stay up. */
function giveUp(turn: Turn, cause: string): void {
  const { node } = turn;
  node.ending = {
    code: 1,
    reason: {
      code: "etcd_dies",
      text: `etcd ended ${node.exits} times in a row before it was ready (${cause})`,
      hint: "its last lines say why; the data-dir was not touched",
    },
  };
  turn.enter("leaving", node.ending.reason);
}

/** Etcd does not run any more: what it said of itself is void, and the data-dir is to be looked at again. */
export function etcdGone(turn: Turn): void {
  const { node } = turn;
  node.leaderlessSinceMs = undefined;
  node.recordChecked = false;
  node.data = { kind: "unknown" };
  const endpoints = new Map(node.endpoints);
  endpoints.delete(node.self.clientUrl);
  node.endpoints = endpoints;
  if (!node.deeds.has("local")) turn.emit({ kind: "inspectData" });
}
