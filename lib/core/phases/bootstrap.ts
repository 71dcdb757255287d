/** Executes the steps of commit.ts: the proposal, its preparation, the pledge, and the commitment up to a running etcd. */
import { withoutUndefined } from "../../without_undefined.ts";
import { agreed, decideBootstrap } from "../rules/bootstrap/commit.ts";
import { explainSilence } from "../rules/gossip_keys.ts";
import { besideLegacyPeers } from "../rules/etcd_range.ts";
import { beginAnew } from "../evidence/lineage.ts";
import { legacyClusterToken } from "../evidence/lineage.ts";
import { settleMs } from "../evidence/running_cluster.ts";
import type { Turn } from "../state/turn.ts";
import type { Pledge } from "../facts/node_record.ts";
import type { Reason } from "../facts/reason.ts";

export function clearProposal(turn: Turn): void {
  if (turn.node.bootstrap.progress.plan !== undefined) turn.node.bootstrap.progress = {};
}

/** Updates the proposal of this process from the view, and takes the next step of the bootstrap. */
/** Notes which plan this node proposes, and since when all initial members have agreed to it. */
function noteProposal(turn: Turn): void {
  const { node, now } = turn;
  const first = decideBootstrap(turn.view, node.bootstrap.progress);
  const plan = "plan" in first ? first.plan : undefined;
  if (plan?.digest !== node.bootstrap.progress.plan?.digest) {
    node.bootstrap.progress = plan === undefined ? {} : { plan };
  }
  if (plan !== undefined) {
    if (!agreed(plan, turn.view)) {
      const { agreedSinceMs: _, ...rest } = node.bootstrap.progress;
      node.bootstrap.progress = rest;
    } else if (node.bootstrap.progress.agreedSinceMs === undefined) {
      node.bootstrap.progress = { ...node.bootstrap.progress, agreedSinceMs: now.monotonicMs };
    }
    if (node.bootstrap.progress.agreedSinceMs !== undefined) {
      const settledMs = node.bootstrap.progress.agreedSinceMs + settleMs;
      if (settledMs > now.monotonicMs) turn.wakeAt(settledMs);
    }
  }
}

export function advanceBootstrap(turn: Turn): void {
  const { node } = turn;
  noteProposal(turn);
  const step = decideBootstrap(turn.view, node.bootstrap.progress);
  switch (step.kind) {
    case "wait":
      turn.setStatus(step.plan === undefined ? "unknown" : "pending");
      return turn.waitFor(explainSilence(step.reason, turn.view));
    case "export":
      if (turn.request("source", { kind: "exportSurvivor", plan: step.plan })) {
        turn.recordDecision("export", { code: "best_source", text: "this node has the newest data of all survivors" });
      }
      return;
    case "prepare":
      turn.request("source", {
        kind: "prepareSource",
        plan: step.plan,
        ...withoutUndefined({ from: step.from }),
      });
      return;
    case "pledge": {
      // A node may pledge again to a former plan: the latest pledge is the last one.
      const others = node.disk.record.pledges.filter(({ token }) => token !== step.pledge.token);
      const pledges = [...others, step.pledge].slice(-pledgesMax);
      if (turn.request("local", { kind: "writeRecord", record: { ...node.disk.record, pledges } })) {
        turn.recordDecision("pledge", { code: "views_agree", text: "all initial members propose the same plan" }, {
          digest: step.pledge.digest.slice(0, 8),
          initialMembers: step.pledge.initialMembers.map((each) => each.name).join(" "),
          source: step.pledge.source.kind,
        });
      }
      return;
    }
    case "commit":
      return beginCommit(turn, step.pledge, step.reason);
    case "pending":
      turn.setStatus("pending");
      return turn.waitFor(step.reason);
    case "commitWithLegacyPeers": {
      const lineage = { id: "", epoch: 0, token: legacyClusterToken };
      return beginCommit(turn, {
        digest: "go",
        token: legacyClusterToken,
        lineage,
        initialMembers: step.members.map((member) => ({ ...member, nonce: "" })),
        source: { kind: "empty" },
      }, step.reason);
    }
    default:
      return step satisfies never;
  }
}

/** The maximum number of unresolved pledges; only repeated failures of bootstraps lead to as many. */
const pledgesMax = 16;

export function beginCommit(turn: Turn, pledge: Pledge, reason: Reason): void {
  const { node } = turn;
  node.bootstrap.committing = pledge;
  node.bootstrap.restored = undefined;
  turn.enter(pledge.source.kind === "empty" ? "bootstrapping" : "restoring", reason, {
    digest: pledge.digest.slice(0, 8),
    initialMembers: pledge.initialMembers.map((each) => each.name).join(" "),
    source: pledge.source.kind,
    epoch: pledge.lineage.epoch,
  });
  executeCommit(turn, pledge);
}

/** From the commitment to a running etcd, one effect per call. */
export function executeCommit(turn: Turn, pledge: Pledge): void {
  const { node } = turn;
  if (!turn.isFree("local")) return;
  const mine = node.disk.record.started?.lineage.token === pledge.token;
  if (node.ownEtcd.etcd.kind === "starting" || node.ownEtcd.etcd.kind === "ready") {
    if (!mine) turn.request("local", { kind: "stopEtcd" });
    return;
  }
  switch (node.disk.data.kind) {
    case "unknown":
      return;
    case "damaged":
    case "unreadable":
      // Data that may not be possible to quarantine must not be replaced.
      node.bootstrap.committing = undefined;
      return turn.enter("gathering", { code: "data_changed", text: `the data-dir became ${node.disk.data.kind}` });
    case "valid":
      if (!mine) {
        // The record keeps the pledge: a disk without data and pledge could not take part in the recovery after a crash.
        turn.request("local", { kind: "quarantineData", label: "superseded", keepRecord: true });
        return;
      }
      break;
    case "absent":
    case "empty":
      break;
    default:
      return node.disk.data satisfies never;
  }
  if (!mine) {
    const renounced = node.disk.record.pledges.map((each) => each.token).filter((token) => token !== pledge.token);
    const [how, pledges] = pledge.source.kind === "empty" ? ["founded", []] as const : ["restored", [pledge]] as const;
    const started = { lineage: pledge.lineage, how, renounced };
    turn.request("local", { kind: "writeRecord", record: beginAnew({ ...node.disk.record, pledges, started }) });
    return;
  }
  if (pledge.source.kind !== "empty" && node.bootstrap.restored !== pledge.digest) {
    turn.request("local", { kind: "restoreData", plan: pledge });
    return;
  }
  if (endKeptPledge(turn)) return;
  const initialCluster = pledge.initialMembers.map(({ name, peerUrl }) => ({ name, peerUrl }));
  // etcd 3.4 and 3.6 cannot be in one cluster, and the version of a legacy peer's etcd is unknown before it runs.
  const range = pledge.digest === "go" ? besideLegacyPeers : {};
  turn.request("local", { kind: "startEtcd", start: { state: "new", initialCluster, token: pledge.token, range } });
}

/**
 * Deletes the pledge to the own life from the record before etcd starts on its data: an existing pledge proves that no etcd
 * has voted under it (apply/event.ts). Until then the pledge protects the prepared source. False: there is no such pledge.
 */
export function endKeptPledge(turn: Turn): boolean {
  const { disk: { record } } = turn.node;
  const pledges = record.pledges.filter(({ token }) => token !== record.started?.lineage.token);
  if (pledges.length === record.pledges.length) return false;
  turn.request("local", { kind: "writeRecord", record: { ...record, pledges } });
  return true;
}
