/** Follows pauses and holds. */
import type { Turn } from "../state/turn.ts";
import { answeringCluster, holdReason, isNewerMark, pauseState, peerStops } from "../rules/stops.ts";
import type { PauseMark } from "../facts/node_record.ts";

/**
 * Updates the pause mark on disk (`keepPause`) and for the peers, and the setting `paused` that the rules use. Called in each
 * turn, after the event and before the rules.
 */
export function followStops(turn: Turn): void {
  const { node, view } = turn;
  const cluster = answeringCluster(view);
  if (cluster?.pause !== undefined) {
    note(turn, { clusterId: cluster.clusterId, ...cluster.pause });
  } else if (cluster === undefined) {
    const clusterId = view.data.kind === "valid" ? view.data.clusterId : node.operator.pauseMark?.clusterId;
    for (const { pause: mark } of peerStops(view)) {
      if (mark === undefined || mark.clusterId !== clusterId) continue;
      const known = node.operator.pauseMark?.clusterId === clusterId ? node.operator.pauseMark : undefined;
      if (known === undefined || isNewerMark(mark, known)) note(turn, mark);
    }
  }
  const state = pauseState(turn.view);
  const paused = state.kind === "paused" || state.kind === "unknown" && node.settings.paused;
  if (paused !== node.settings.paused) {
    node.settings = { ...node.settings, paused };
    const text = paused ? "automatic action is paused" : "automatic action is resumed";
    turn.notice(paused ? "warn" : "info", paused ? "paused" : "resumed", { code: "asked_by_operator", text });
    turn.invalidateView();
  }
  const held = holdReason(turn.view);
  if (held === undefined) turn.resolve("held");
  else turn.report("warn", held);
}

/** `e2d resume` without a quorum: changes the pause mark of this node and, by gossip, of its peers. */
export function resumeHere(turn: Turn): void {
  const state = pauseState(turn.view);
  if (state.kind === "paused") note(turn, { ...state.mark, paused: false });
}

/** Stores a pause mark and requests that it is written to disk if it differs. */
export function note(turn: Turn, { clusterId, paused, version }: PauseMark): void {
  const { node } = turn;
  const before = node.operator.pauseMark;
  if (before?.clusterId === clusterId && before.paused === paused && before.version === version) return;
  node.operator.pauseMark = { clusterId, paused, version };
  // Nothing is written for a cluster that was never paused.
  if (before !== undefined || paused || version > 0) turn.emit({ kind: "keepPause", mark: node.operator.pauseMark });
  turn.invalidateView();
}
