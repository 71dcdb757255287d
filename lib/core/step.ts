/**
 * The core of a node as a pure function: `step(node, event, now)` returns the next state and the effects to perform. It
 * reads no clock, network, disk or random source. One turn: apply the event, update the watches, decide, publish facts.
 */
import { applyEvent } from "./apply/event.ts";
import { answerCommands } from "./commands/commands.ts";
import { watchBackups } from "./watch/backups.ts";
import { decide } from "./phases/decide.ts";
import type { Effect } from "./facts/effect.ts";
import type { Event, Now } from "./facts/event.ts";
import { watchStoredRevision } from "./watch/store_ahead.ts";
import { watchOwnEtcd } from "./watch/etcd.ts";
import { watchLogTerms } from "./watch/log_terms.ts";
import { publishedFacts } from "./published_facts.ts";
import { watchRedundancy } from "./watch/redundancy.ts";
import { rememberPeers } from "./watch/peers.ts";
import { separateForeign } from "./watch/foreign_peers.ts";
import { reportKeys } from "./watch/gossip_keys.ts";
import { followStops } from "./watch/stops.ts";
import { Turn } from "./state/turn.ts";
import { copyOf, type NodeState } from "./state/state.ts";

/** The longest time between two turns; a longer gap between two events means that the process was paused. */
export const heartbeatMs = 1_000;
const pausedMs = 2_500;

export function step(node: NodeState, event: Event, now: Now): { node: NodeState; effects: readonly Effect[] } {
  if (node.phase === "stopped" || node.phase === "failed") return { node, effects: [] };
  const turn = new Turn(copyOf(node), now);
  const draft = turn.node;
  if (now.monotonicMs - node.process.lastEventMs > heartbeatMs + pausedMs) {
    draft.process.watchingSinceMs = now.monotonicMs;
    turn.notice("warn", "paused", {
      code: "was_paused",
      text: `this process was paused for ${now.monotonicMs - node.process.lastEventMs} ms: its failure timers restart`,
    });
  }
  draft.process.lastEventMs = now.monotonicMs;
  applyEvent(turn, event);
  separateForeign(turn);
  if (draft.gossip.peers !== node.gossip.peers) rememberPeers(turn);
  followStops(turn);
  answerCommands(turn);
  watchOwnEtcd(turn);
  watchLogTerms(turn);
  watchBackups(turn);
  watchStoredRevision(turn);
  decide(turn);
  watchRedundancy(turn);
  reportKeys(turn);
  publishFacts(turn);
  armTimer(turn);
  return { node: draft, effects: turn.effects };
}

/** Publishes the facts to the peers after a change. */
function publishFacts(turn: Turn): void {
  const { node } = turn;
  const facts = publishedFacts(turn);
  const text = JSON.stringify(facts);
  if (text !== node.gossip.factsText) {
    node.gossip.factsText = text;
    node.gossip.facts = { ...facts, sequence: (node.gossip.facts?.sequence ?? 0) + 1 };
    turn.emit({ kind: "publishFacts", facts: node.gossip.facts });
  }
}

function armTimer(turn: Turn): void {
  const { node, now } = turn;
  if (node.phase === "stopped" || node.phase === "failed") return;
  const wakeMs = Math.max(now.monotonicMs + 1, Math.min(turn.wakeMs, now.monotonicMs + heartbeatMs));
  const armed = node.process.timerAtMs;
  if (armed !== undefined && armed > now.monotonicMs && armed <= wakeMs) return;
  node.process.timerAtMs = wakeMs;
  turn.emit({ kind: "armTimer", atMs: wakeMs });
}
