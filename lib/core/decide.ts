/**
 * Facts into deeds: asks the rule that this phase of life calls for and emits the effects of its outcome. Every branch
 * looks at the whole view anew, so a lost answer or a crash at any point is met by the same decision again.
 */
import { agreed, decideFounding } from "./commit.ts";
import type { InitialMember } from "./effect.ts";
import { supersedes } from "./lineage.ts";
import { ownLineage } from "./lineage.ts";
import { askWorld } from "./probe.ts";
import { quorumLost, selfQuorumLost, survivorWithoutUs } from "./quorum.ts";
import { decideJoin } from "./replace.ts";
import { serve } from "./serve.ts";
import { decideStart, lineageToJoin, runningCluster, settleMs } from "./start.ts";
import type { Turn } from "./turn.ts";
import type { Pledge, Reason } from "./view.ts";

export function decide(turn: Turn): void {
  const { node } = turn;
  switch (node.phase) {
    case "booting":
      askWorld(turn);
      if (node.data.kind === "unknown") return;
      turn.enter("gathering", { code: "looked", text: `the data-dir is ${node.data.kind}` });
      return gather(turn);
    case "gathering":
    case "joining":
    case "founding":
    case "restoring":
    case "restarting":
      askWorld(turn);
      if (node.committing !== undefined) return carryCommit(turn, node.committing);
      return node.etcd.kind === "starting" || node.etcd.kind === "ready" ? accompany(turn) : gather(turn);
    case "serving":
      askWorld(turn);
      if (node.etcd.kind !== "starting" && node.etcd.kind !== "ready") {
        status(turn, "unknown");
        turn.enter("gathering", { code: "etcd_gone", text: "etcd does not run any more" });
        return gather(turn);
      }
      if (standDown(turn) || recover(turn)) return;
      return serve(turn);
    case "leaving":
      return leave(turn);
    case "stopped":
    case "failed":
      return;
    default:
      return node.phase satisfies never;
  }
}

export function status(turn: Turn, to: "unknown" | "pending" | "running"): void {
  if (turn.node.status === to) return;
  turn.node.status = to;
  turn.emit({ kind: "setStatus", status: to });
}

/** Etcd does not run: the decision table. */
function gather(turn: Turn): void {
  const { node, view } = turn;
  if (node.deeds.has("local")) return;
  const none = node.data.kind === "absent" || node.data.kind === "empty";
  if (none && !node.recordKept) {
    // Others may name this node in a pledge: its nonce must outlive this process first.
    turn.ask("local", { kind: "writeRecord", record: node.record });
    return;
  }
  // A pledge that all others have kept is carried out whatever else is seen.
  if (node.record.pledges.length > 0 && node.data.kind !== "unknown" && node.data.kind !== "unreadable") {
    const step = decideFounding(view, node.progress);
    if (step.kind === "commit") return beginCommit(turn, step.pledge, step.reason);
  }
  const outcome = decideStart(view);
  if (node.phase === "joining" && turn.justVoided && (outcome.kind === "wait" || outcome.kind === "found")) return;
  switch (outcome.kind) {
    case "wait":
      if (node.phase !== "gathering") turn.enter("gathering", outcome.reason);
      withoutProposal(turn);
      status(turn, goWaitsForUs(turn) ? "pending" : "unknown");
      turn.waitFor(outcome.reason);
      if (outcome.reason.code === "recovery_pending" || outcome.reason.code === "asking_peers") {
        turn.wakeIn(settleMs);
        if (outcome.reason.code === "recovery_pending") recoverWithoutEtcd(turn);
      }
      return;
    case "refuse":
      node.ending = { code: 1, reason: outcome.reason };
      turn.enter("leaving", outcome.reason);
      return leave(turn);
    case "moveAside":
      withoutProposal(turn);
      if (turn.ask("local", { kind: "moveDataAside", label: outcome.label })) turn.decide("moveAside", outcome.reason);
      return;
    case "updateAddress":
      if (node.settings.paused) return turn.waitFor(paused);
      if (
        turn.ask("cluster", {
          kind: "memberUpdate",
          via: outcome.via,
          memberId: outcome.memberId,
          peerUrl: node.self.peerUrl,
        })
      ) turn.decide("updateAddress", outcome.reason);
      return;
    case "restart":
      withoutProposal(turn);
      if (!turn.ask("local", { kind: "startEtcd", start: { state: "restart" } })) return;
      status(turn, goWaitsForUs(turn) ? "pending" : "unknown");
      turn.enter("restarting", outcome.reason);
      return;
    case "join":
      return join(turn, outcome.cluster, outcome.reason);
    case "found":
      if (node.phase !== "gathering") turn.enter("gathering", outcome.reason);
      return found(turn);
    default:
      return outcome satisfies never;
  }
}

const paused: Reason = { code: "paused", text: "paused: no automatic action until resumed" };

/** Nodes of the original with data start only when enough of us say Pending; so say it while we hold data, too. */
function goWaitsForUs(turn: Turn): boolean {
  const go = turn.node.peers.filter((peer) => peer.go && peer.state === "alive");
  return go.length > 0 && turn.node.data.kind === "valid" && go.every((peer) => peer.status !== "running");
}

function withoutProposal(turn: Turn): void {
  if (turn.node.progress.founding !== undefined) turn.node.progress = {};
}

function join(turn: Turn, cluster: Parameters<typeof lineageToJoin>[0], reason: Reason): void {
  const { node, view } = turn;
  withoutProposal(turn);
  status(turn, "unknown");
  turn.enter("joining", reason, { cluster: cluster.answer.clusterId });
  const step = decideJoin(view, cluster.answer, node.added);
  switch (step.kind) {
    case "wait":
      return turn.waitFor(step.reason);
    case "removeFormerSelf": {
      const deed = { kind: "memberRemove", via: cluster.via, memberId: step.member.id } as const;
      if (turn.ask("cluster", deed)) turn.decide("removeFormerSelf", step.reason, { member: step.member.id });
      return;
    }
    case "add":
      if (turn.ask("cluster", { kind: "memberAdd", via: cluster.via, peerUrl: node.self.peerUrl })) {
        turn.decide("add", step.reason);
      }
      return;
    case "start": {
      if (node.deeds.has("cluster")) return;
      const lineage = lineageToJoin(cluster, view);
      const { started } = node.record;
      if (started?.lineage.token !== lineage.token || started.lineage.id !== lineage.id) {
        // Joining proves nothing about what this node had pledged to: only a founding in its place does.
        turn.ask("local", {
          kind: "writeRecord",
          record: { ...node.record, pledges: [], started: { lineage, how: "joined", renounced: [] } },
        });
        return;
      }
      const others: InitialMember[] = cluster.answer.members
        .filter((member) => member.id !== step.member.id && member.name !== "")
        .flatMap((member) => member.peerUrls.map((peerUrl) => ({ name: member.name, peerUrl })));
      const initialCluster = [...others, { name: node.self.name, peerUrl: node.self.peerUrl }];
      turn.ask("local", { kind: "startEtcd", start: { state: "existing", initialCluster } });
      return;
    }
    default:
      return step satisfies never;
  }
}

/** Keeps the proposal of this life in step with what is seen, and takes the next step towards a founding. */
function found(turn: Turn): void {
  const { node, now } = turn;
  if (node.settings.paused) return turn.waitFor(paused);
  const first = decideFounding(turn.view, node.progress);
  const founding = "founding" in first ? first.founding : undefined;
  if (founding?.digest !== node.progress.founding?.digest) {
    node.progress = founding === undefined ? {} : { founding };
  }
  if (founding !== undefined) {
    if (!agreed(founding, turn.view)) {
      const { agreedSinceMs: _, ...rest } = node.progress;
      node.progress = rest;
    } else if (node.progress.agreedSinceMs === undefined) {
      node.progress = { ...node.progress, agreedSinceMs: now.monotonicMs };
    }
    if (node.progress.agreedSinceMs !== undefined) {
      const settledMs = node.progress.agreedSinceMs + settleMs;
      if (settledMs > now.monotonicMs) turn.wakeAt(settledMs);
    }
  }
  const step = decideFounding(turn.view, node.progress);
  switch (step.kind) {
    case "wait":
      status(turn, step.founding === undefined ? "unknown" : "pending");
      return turn.waitFor(step.reason, step.reason.code === "snapshot_unreadable" ? "error" : "info");
    case "export":
      if (turn.ask("source", { kind: "exportSurvivor", founding: step.founding })) {
        turn.decide("export", { code: "best_source", text: "this node's data is the newest that survives" });
      }
      return;
    case "prepare":
      turn.ask("source", {
        kind: "prepareSource",
        founding: step.founding,
        ...(step.from === undefined ? {} : { from: step.from }),
      });
      return;
    case "pledge": {
      const pledges = [...node.record.pledges, step.pledge].slice(-pledgesMax);
      if (turn.ask("local", { kind: "writeRecord", record: { ...node.record, pledges } })) {
        turn.decide("pledge", { code: "views_agree", text: "all founders see the same" }, {
          digest: step.pledge.digest.slice(0, 8),
          founders: step.pledge.founders.map((each) => each.name).join(" "),
          source: step.pledge.source.kind,
        });
      }
      return;
    }
    case "commit":
      return beginCommit(turn, step.pledge, step.reason);
    case "pending":
      status(turn, "pending");
      return turn.waitFor(step.reason);
    case "commitWithGo": {
      const lineage = { id: "", epoch: 0, token: goToken };
      return beginCommit(turn, {
        digest: "go",
        token: goToken,
        lineage,
        founders: step.members.map((member) => ({ ...member, nonce: "" })),
        source: { kind: "empty" },
      }, step.reason);
    }
    default:
      return step satisfies never;
  }
}

/** Unresolved pledges kept; more than this can only come from a founding that fails over and over. */
const pledgesMax = 16;
const goToken = "etcd-cluster";

function beginCommit(turn: Turn, pledge: Pledge, reason: Reason): void {
  const { node } = turn;
  node.committing = pledge;
  node.restored = undefined;
  turn.enter(pledge.source.kind === "empty" ? "founding" : "restoring", reason, {
    digest: pledge.digest.slice(0, 8),
    founders: pledge.founders.map((each) => each.name).join(" "),
    source: pledge.source.kind,
    epoch: pledge.lineage.epoch,
  });
  carryCommit(turn, pledge);
}

/** From the commitment to a running etcd, one deed at a time. */
function carryCommit(turn: Turn, pledge: Pledge): void {
  const { node } = turn;
  if (!turn.free("local")) return;
  const mine = node.record.started?.lineage.token === pledge.token;
  if (node.etcd.kind === "starting" || node.etcd.kind === "ready") {
    if (!mine) turn.ask("local", { kind: "stopEtcd" });
    return;
  }
  switch (node.data.kind) {
    case "unknown":
      return;
    case "damaged":
    case "unreadable":
      // What cannot be moved aside for sure is not built over.
      node.committing = undefined;
      return turn.enter("gathering", { code: "data_changed", text: `the data-dir became ${node.data.kind}` });
    case "valid":
      if (!mine) {
        turn.ask("local", { kind: "moveDataAside", label: "superseded" });
        return;
      }
      break;
    case "absent":
    case "empty":
      break;
    default:
      return node.data satisfies never;
  }
  if (!mine) {
    const renounced = node.record.pledges.map((each) => each.token).filter((token) => token !== pledge.token);
    const how = pledge.source.kind === "empty" ? "founded" : "restored";
    turn.ask("local", {
      kind: "writeRecord",
      record: { ...node.record, pledges: [], started: { lineage: pledge.lineage, how, renounced } },
    });
    return;
  }
  if (pledge.source.kind !== "empty" && node.restored !== pledge.digest) {
    turn.ask("local", { kind: "restoreData", founding: pledge });
    return;
  }
  const initialCluster = pledge.founders.map(({ name, peerUrl }) => ({ name, peerUrl }));
  turn.ask("local", { kind: "startEtcd", start: { state: "new", initialCluster, token: pledge.token } });
}

/** Etcd runs and this node does not serve yet: wait for a leader, be promoted, check the record. */
function accompany(turn: Turn): void {
  const { node, view } = turn;
  if (standDown(turn) || recover(turn)) return;
  if (node.etcd.kind !== "ready" || node.data.kind !== "valid" || node.leaderlessSinceMs !== undefined) {
    return turn.waitFor({ code: "etcd_starts", text: "etcd runs and has no leader yet" });
  }
  const { memberId, members } = node.data;
  const me = members.find((member) => member.id === memberId);
  if (me === undefined) return turn.waitFor({ code: "etcd_starts", text: "etcd does not list this member yet" });
  if (me.isLearner) {
    turn.enter("joining", { code: "is_learner", text: "this member is a learner" });
    const cluster = runningCluster(view);
    if (cluster !== undefined && !("contradiction" in cluster) && !node.settings.paused) {
      turn.ask("cluster", { kind: "memberPromote", via: cluster.via, memberId });
    }
    return turn.waitFor({ code: "catching_up", text: "the learner is catching up; then it is promoted" });
  }
  if (!me.peerUrls.includes(node.self.peerUrl)) correctAddress(turn, memberId);
  if (!node.recordChecked) {
    turn.ask("record", { kind: "checkRecord", requiredSize: node.settings.requiredSize });
    return turn.waitFor({ code: "record_check", text: "comparing -n with the cluster's record" });
  }
  node.progress = {};
  node.added = undefined;
  status(turn, "running");
  turn.enter("serving", { code: "etcd_ready", text: "etcd is ready and this member votes" });
  serve(turn);
}

/**
 * This member was started at another address while there was no quorum to tell. Etcd carries its messages over the
 * connections that it opens itself; now the others can be told.
 */
function correctAddress(turn: Turn, memberId: string): void {
  const { node } = turn;
  const deed = { kind: "memberUpdate", via: [node.self.clientUrl], memberId, peerUrl: node.self.peerUrl } as const;
  if (turn.ask("cluster", deed)) {
    turn.decide("updateAddress", { code: "address_changed", text: `this member is at ${node.self.peerUrl} now` });
  }
}

/** A newer epoch among the peers ends an older one that has no quorum. True when it was ended. */
function standDown(turn: Turn): boolean {
  const { node, view } = turn;
  const own = ownLineage(view);
  if (own === undefined) return false;
  const here = view.peers.filter((peer) => peer.state === "alive" || peer.state === "suspect");
  const newer = here.find((peer) => peer.facts?.data.kind === "held" && supersedes(peer.facts.data.lineage, own));
  const left = here.find((peer) => peer.facts?.renounced.includes(own.token));
  const proof = newer ?? left;
  if (proof === undefined) return unlisted(turn);
  if (node.leaderlessSinceMs === undefined && node.etcd.kind === "ready") {
    turn.waitFor({
      code: "two_epochs",
      text: `this cluster has a quorum, and "${proof.name}" holds a newer epoch of it: a human must choose`,
      hint: "stop the side that is to be given up; its data-dirs are moved aside, not removed",
    }, "error");
    return false;
  }
  if (turn.ask("local", { kind: "stopEtcd" })) {
    turn.decide("stopEtcd", { code: "newer_epoch", text: `"${proof.name}" holds a newer epoch than this node` });
  }
  return true;
}

/** Etcd runs without a leader while the cluster has one and does not list this member: it was removed meanwhile. */
function unlisted(turn: Turn): boolean {
  const { node, view, now } = turn;
  if (node.leaderlessSinceMs === undefined || now.monotonicMs - node.leaderlessSinceMs < unlistedAfterMs) return false;
  if (node.data.kind !== "valid") return false;
  const { memberId, clusterId } = node.data;
  const cluster = runningCluster(view);
  if (cluster !== undefined && !("contradiction" in cluster)) {
    if (cluster.answer.clusterId !== clusterId) {
      turn.waitFor({
        code: "other_cluster",
        text:
          `this node's data is of cluster ${clusterId}, which has no quorum; the peers run ${cluster.answer.clusterId}`,
        hint: "point this node at its own cluster, or stop it and move its data-dir aside by hand",
      }, "warn");
      return true;
    }
    if (cluster.answer.members.some((member) => member.id === memberId)) return false;
  } else if (survivorWithoutUs(view) === undefined) return false;
  if (turn.ask("local", { kind: "stopEtcd" })) {
    turn.decide("stopEtcd", { code: "removed_member", text: "the cluster does not list this member any more" });
  }
  return true;
}

const unlistedAfterMs = 3_000;

/** Etcd runs without a leader: when the quorum counts as lost, take part in founding anew from what survives. */
function recover(turn: Turn): boolean {
  const { node, view } = turn;
  const pledge = node.record.pledges.at(-1);
  const own = ownLineage(view);
  if (pledge !== undefined && pledge.token !== own?.token) {
    const step = decideFounding(view, node.progress);
    if (step.kind === "commit") {
      beginCommit(turn, step.pledge, step.reason);
      return true;
    }
  }
  if (!selfQuorumLost(view) || quorumLost(view) === undefined) {
    withoutProposal(turn);
    return false;
  }
  found(turn);
  return true;
}

/** A survivor that was restarted after its pledge goes on with what it pledged to. */
function recoverWithoutEtcd(turn: Turn): void {
  const step = decideFounding(turn.view, turn.node.progress);
  if (step.kind === "commit") beginCommit(turn, step.pledge, step.reason);
}

function leave(turn: Turn): void {
  const { node } = turn;
  if (node.etcd.kind === "starting" || node.etcd.kind === "ready") {
    turn.ask("local", { kind: "stopEtcd" });
    return;
  }
  if (node.deeds.has("local")) return;
  const ending = node.ending ?? { code: 1, reason: { code: "unknown", text: "leaving without a reason" } };
  status(turn, "unknown");
  turn.enter(ending.code === 0 ? "stopped" : "failed", ending.reason);
  turn.emit({ kind: "exit", code: ending.code, reason: ending.reason });
}
