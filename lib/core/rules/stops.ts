/**
 * The two stops that an operator may set. A *pause* is of a whole cluster and lies in its etcd; each node keeps the last
 * word about it on disk and passes it on by gossip, so that it holds without a quorum and after a restart. A *hold* is of
 * one node, needs no quorum, and stops bootstrap and disaster recovery wherever it is seen. Nothing here acts; what is
 * not known is never taken for "not stopped" by a rule that changes members.
 */
import { freshAnswer } from "../evidence/members.ts";
import type { View } from "../facts/view.ts";
import { runningCluster } from "../evidence/running_cluster.ts";
import type { EtcdAnswer } from "../facts/cluster.ts";
import type { PauseMark } from "../facts/node_record.ts";
import type { PeerFacts } from "../facts/peer.ts";
import type { Reason } from "../facts/reason.ts";

export type PauseState =
  | { readonly kind: "running" }
  /** `by`: the node whose word it is. */
  | { readonly kind: "paused"; readonly by: string; readonly mark: PauseMark }
  /** A cluster runs, and whether it is paused was not read yet. */
  | { readonly kind: "unknown" };

/**
 * Version numbers grow with each pause and resume of a cluster. Equal versions differ only after an operator resumed
 * without a quorum: that word is the later one.
 */
export function isNewerMark(a: PauseMark, b: PauseMark): boolean {
  return a.version > b.version || a.version === b.version && b.paused && !a.paused;
}

/** A cluster that answers knows best. Its own etcd first: that is the cluster whose members this node may change. */
export function answeringCluster(view: View): EtcdAnswer | undefined {
  const own = freshAnswer(view.endpoints.get(view.self.clientUrl), view.nowMs);
  if (own !== undefined && own.linearizable && own.leaderId !== undefined) return own;
  // Another cluster's word says nothing of the own data's.
  const cluster = runningCluster(view, view.data.kind === "valid" ? view.data.clusterId : undefined);
  return cluster === undefined || "contradiction" in cluster ? undefined : cluster.answer;
}

/**
 * Whether automatic action is paused. Without a cluster that answers, the marks on the disks decide: of the own data's
 * cluster, or of any where this node holds no data. Where nobody has a mark nothing was ever paused that could be known.
 */
export function pauseState(view: View, cluster = answeringCluster(view)): PauseState {
  if (cluster !== undefined) {
    const { pause, clusterId } = cluster;
    if (pause === undefined) return { kind: "unknown" };
    return pause.paused ? { kind: "paused", by: "its etcd", mark: { clusterId, ...pause } } : { kind: "running" };
  }
  const newest = new Map<string, { by: string; mark: PauseMark }>();
  const words = [
    { by: `"${view.self.name}"`, mark: view.pauseMark },
    ...peerStops(view).map(({ name, pause }) => ({ by: `"${name}"`, mark: pause })),
  ];
  for (const { by, mark } of words) {
    if (mark === undefined || view.data.kind === "valid" && mark.clusterId !== view.data.clusterId) continue;
    const before = newest.get(mark.clusterId);
    if (before === undefined || isNewerMark(mark, before.mark)) newest.set(mark.clusterId, { by, mark });
  }
  for (const { by, mark } of newest.values()) if (mark.paused) return { kind: "paused", by, mark };
  return { kind: "running" };
}

/** Why no member is changed now; undefined: nothing stops it. `cluster` is the answer that the change rests on. */
export function stopOfChange(view: View, cluster?: EtcdAnswer): Reason | undefined {
  const state = pauseState(view, cluster);
  switch (state.kind) {
    case "running":
      return undefined;
    case "paused":
      return pausedReason(state.by);
    case "unknown":
      return {
        code: "pause_unknown",
        text: "the cluster answers, and whether it is paused was not read yet: no member is changed before",
      };
    default:
      return state satisfies never;
  }
}

/** Why nothing is bootstrapped, restored or recovered now; undefined: nothing stops it. */
export function stopOfBootstrap(view: View): Reason | undefined {
  const held = holdReason(view);
  if (held !== undefined) return held;
  const state = pauseState(view);
  return state.kind === "paused" ? pausedReason(state.by) : undefined;
}

function pausedReason(by: string): Reason {
  return {
    code: "paused",
    text: `paused, as ${by} has it: no automatic action until resumed`,
    hint: "e2d resume; without a quorum it counts for bootstrap and recovery alone",
  };
}

/** What peers set, by the facts that they sent, or sent last before gossip forgot them. */
export function peerStops({ peers, rememberedPeers }: View): (Pick<PeerFacts, "hold" | "pause"> & { name: string })[] {
  const known = peers.flatMap(({ name, facts }) => facts === undefined ? [] : [{ ...facts, name }]);
  const forgotten = [...rememberedPeers ?? []].filter(([name]) => !known.some((each) => each.name === name));
  return [...known, ...forgotten.map(([name, stops]) => ({ ...stops, name }))];
}

/** An own hold, or that of any node whose facts are known: a node that went away meanwhile keeps its hold. */
export function holdReason(view: View): Reason | undefined {
  const holders = [{ name: view.self.name, hold: view.settings.hold }, ...peerStops(view)]
    .flatMap(({ name, hold }) => hold === undefined ? [] : [{ name, hold }]);
  const [first] = holders;
  if (first === undefined) return undefined;
  const names = holders.map(({ name }) => `"${name}"`).join(", ");
  const since = new Date(first.hold.sinceWallMs).toISOString().slice(0, 19);
  const why = first.hold.why === undefined ? "" : ` (${first.hold.why})`;
  return {
    code: "held",
    text: `held at ${names} since ${since}Z${why}: no cluster is bootstrapped, restored or recovered`,
    hint: `on ${holders.length === 1 ? `node ${names}` : "each of these nodes"} run: e2d hold --release`,
  };
}
