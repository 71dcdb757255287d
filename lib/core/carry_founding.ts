/** Carries out what commit.ts says: keeps the proposal, prepares, pledges, and goes from the commitment to a running etcd. */
import { agreed, decideFounding } from "./commit.ts";
import { goClusterToken } from "./effect.ts";
import { withoutLost } from "./lineage.ts";
import { settleMs } from "./start.ts";
import { paused, type Turn } from "./turn.ts";
import type { Pledge, Reason } from "./view.ts";

/** Data may be lost by going on: somebody must look. */
const needsOperator = new Set(["snapshot_unreadable", "cluster_seen"]);

export function withoutProposal(turn: Turn): void {
  if (turn.node.progress.founding !== undefined) turn.node.progress = {};
}

/** Keeps the proposal of this life in step with what is seen, and takes the next step towards a founding. */
export function found(turn: Turn): void {
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
      turn.status(step.founding === undefined ? "unknown" : "pending");
      return turn.waitFor(step.reason, needsOperator.has(step.reason.code) ? "error" : "info");
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
      turn.status("pending");
      return turn.waitFor(step.reason);
    case "commitWithGo": {
      const lineage = { id: "", epoch: 0, token: goClusterToken };
      return beginCommit(turn, {
        digest: "go",
        token: goClusterToken,
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

export function beginCommit(turn: Turn, pledge: Pledge, reason: Reason): void {
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
export function carryCommit(turn: Turn, pledge: Pledge): void {
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
      record: withoutLost({ ...node.record, pledges: [], started: { lineage: pledge.lineage, how, renounced } }),
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
