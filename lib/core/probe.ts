/** Whom to ask, and how often: etcd members, and the store. */
import { leads } from "./replace.ts";
import { freshAnswer } from "./quorum.ts";
import { isCalm } from "./node.ts";
import type { Turn } from "./turn.ts";

const quickMs = 500;
const calmMs = 1_000;
/** The other members, of one that has nothing to decide of them: for `e2d status`, which may be asked of any node. */
const aloofMs = 5_000;
/** An answer that never came is given up after this, and the endpoint is asked again. */
const catalogueEveryMs = 10_000;
/** Beside a cluster that serves, for people alone: others save, and retention removes. */
const catalogueCalmMs = 60_000;

export function askWorld(turn: Turn): void {
  askEndpoints(turn);
  askCatalogue(turn);
}

function askEndpoints(turn: Turn): void {
  const { node, now } = turn;
  const targets = new Map<string, number>();
  const running = node.etcd.kind === "starting" || node.etcd.kind === "ready";
  const serving = isCalm(node);
  if (running) targets.set(node.self.clientUrl, serving ? calmMs : quickMs / 2);
  const leading = running && leads(freshAnswer(node.endpoints.get(node.self.clientUrl), now.monotonicMs));
  // A plan may come to this node, and then it must know how the others are.
  const all = leading || node.plan !== undefined;
  const othersMs = !serving ? quickMs : all ? calmMs : aloofMs;
  for (const peer of node.peers) {
    const here = peer.state === "alive" || peer.state === "suspect";
    const worth = peer.status === "running" || peer.facts?.data.kind === "held";
    if (all || here && worth) targets.set(peer.clientUrl, othersMs);
  }
  if (running && node.data.kind === "valid") {
    for (const member of node.data.members) {
      for (const url of member.clientUrls) if (!targets.has(url)) targets.set(url, othersMs);
    }
  }
  const due: string[] = [];
  for (const [url, everyMs] of targets) {
    const last = node.asked.get(url);
    if (last === undefined || now.monotonicMs - last >= everyMs) due.push(url);
    else turn.wakeAt(last + everyMs);
  }
  if (due.length === 0) return;
  const asked = new Map([...node.asked].filter(([url]) => targets.has(url)));
  for (const url of due) {
    asked.set(url, now.monotonicMs);
    turn.wakeIn(targets.get(url)!);
  }
  node.asked = asked;
  turn.emit({ kind: "probe", endpoints: due });
}

function askCatalogue(turn: Turn): void {
  const { node, now } = turn;
  if (!node.settings.snapshots) return;
  // A cluster's first snapshot is waited for: the operator looks whether it works.
  const everyMs = isCalm(node) && node.store.look.kind !== "absent" ? catalogueCalmMs : catalogueEveryMs;
  const last = node.catalogueAskedMs;
  if (last !== undefined && now.monotonicMs - last < everyMs) return;
  node.catalogueAskedMs = now.monotonicMs;
  turn.emit({ kind: "readCatalogue" });
}
