/**
 * Facts into deeds: asks the rule that this phase of life calls for and emits the effects of its outcome. Every branch
 * looks at the whole view anew, so a lost answer or a crash at any point is met by the same decision again.
 */
import { accompany, recover, standDown } from "./accompany.ts";
import { beginCommit, carryCommit, found, withoutProposal } from "./carry_founding.ts";
import { decideFounding } from "./commit.ts";
import type { InitialMember } from "./effect.ts";
import { oldestMinor } from "./etcd_version.ts";
import { withoutLost } from "./lineage.ts";
import { askWorld } from "./probe.ts";
import { answerOf } from "./quorum.ts";
import { decideJoin, type JoinStep } from "./replace.ts";
import { rememberCluster } from "./remember.ts";
import { serve } from "./serve.ts";
import { decideStart, lineageToJoin, settleMs } from "./start.ts";
import { paused, type Turn } from "./turn.ts";
import type { Reason } from "./view.ts";

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
        turn.status("unknown");
        turn.enter("gathering", { code: "etcd_gone", text: "etcd does not run any more" });
        return gather(turn);
      }
      rememberCluster(turn);
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
      turn.status(goWaitsForUs(turn) ? "pending" : "unknown");
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
      if (
        !turn.ask("local", {
          kind: "startEtcd",
          start: {
            state: "restart",
            othersServe: outcome.othersServe,
            atLeast: node.data.kind === "valid" ? node.data.etcdAtLeast : undefined,
          },
        })
      ) return;
      turn.status(goWaitsForUs(turn) ? "pending" : "unknown");
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

/** Nodes of the original with data start only when enough of us say Pending; so say it while we hold data, too. */
function goWaitsForUs(turn: Turn): boolean {
  const go = turn.node.peers.filter((peer) => peer.go && peer.state === "alive");
  return go.length > 0 && turn.node.data.kind === "valid" && go.every((peer) => peer.status !== "running");
}

function join(turn: Turn, cluster: Parameters<typeof lineageToJoin>[0], reason: Reason): void {
  const { node, view } = turn;
  withoutProposal(turn);
  turn.status("unknown");
  turn.enter("joining", reason, { cluster: cluster.answer.clusterId });
  rememberCluster(turn);
  const step = decideJoin(view, cluster.answer, node.added);
  // etcd refuses to join a cluster of a newer version, which is that of the oldest of its members.
  const atLeast = oldestMinor(cluster.answer.members.flatMap((member) => answerOf(member, view)?.version ?? []));
  switch (step.kind) {
    case "wait":
      return turn.waitFor(step.reason);
    case "removeFormerSelf":
    case "add":
      // A place that its holder cannot fill costs the cluster more than an empty one.
      if (atLeast !== undefined && node.provided !== atLeast) {
        turn.ask("local", { kind: "provideEtcd", atLeast });
        return turn.waitFor({ code: "etcd_needed", text: `getting an etcd of ${atLeast} or newer before it joins` });
      }
      return changeMembers(turn, step, cluster.via);
    case "start": {
      if (node.deeds.has("cluster")) return;
      const lineage = lineageToJoin(cluster, view);
      const { started } = node.record;
      if (started?.lineage.token !== lineage.token || started.lineage.id !== lineage.id) {
        // Joining proves nothing about what this node had pledged to: only a founding in its place does.
        turn.ask("local", {
          kind: "writeRecord",
          record: withoutLost({ ...node.record, pledges: [], started: { lineage, how: "joined", renounced: [] } }),
        });
        return;
      }
      const others: InitialMember[] = cluster.answer.members
        .filter((member) => member.id !== step.member.id && member.name !== "")
        .flatMap((member) => member.peerUrls.map((peerUrl) => ({ name: member.name, peerUrl })));
      const initialCluster = [...others, { name: node.self.name, peerUrl: node.self.peerUrl }];
      turn.ask("local", { kind: "startEtcd", start: { state: "existing", initialCluster, atLeast } });
      return;
    }
    default:
      return step satisfies never;
  }
}

/** The joiner does it itself, through any member with a quorum. */
function changeMembers(
  turn: Turn,
  step: Extract<JoinStep, { kind: "removeFormerSelf" | "add" }>,
  via: readonly string[],
): void {
  if (step.kind === "add") {
    if (turn.ask("cluster", { kind: "memberAdd", via, peerUrl: turn.node.self.peerUrl })) {
      turn.decide("add", step.reason);
    }
    return;
  }
  const { id } = step.member;
  if (turn.ask("cluster", { kind: "memberRemove", via, memberId: id })) {
    turn.decide("removeFormerSelf", step.reason, { member: id });
  }
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
  turn.status("unknown");
  turn.enter(ending.code === 0 ? "stopped" : "failed", ending.reason);
  turn.emit({ kind: "exit", code: ending.code, reason: ending.reason });
}
