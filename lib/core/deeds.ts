/** The answers to deeds, into facts: what was done, and what failed and rests before it is asked for again. */
import type { AnsweredEffect } from "./effect.ts";
import type { DoneValue } from "./event.ts";
import { type Draft, nonceOf, type Slot } from "./node.ts";
import { etcdChanged, etcdGone } from "./own_etcd.ts";
import { retryAfterMs, type Turn } from "./turn.ts";
import type { Source } from "./view.ts";

const defragRestMs = 60_000;
const downgradeRestMs = 10_000;
const roomRestMs = 300_000;
const formerNoncesMax = 8;

export function answered(turn: Turn, id: number, value: DoneValue): void {
  const { node, now } = turn;
  const taken = take(turn, id);
  if (taken === undefined) return;
  const { slot, effect } = taken;
  if (node.failing.has(slot)) node.failing = new Map([...node.failing].filter(([each]) => each !== slot));
  switch (effect.kind) {
    case "writeRecord":
      node.record = effect.record;
      node.recordKept = true;
      lookAgain(turn);
      return;
    case "moveDataAside":
      // A recovery in progress keeps its promise in memory and writes it again; all else begins anew.
      if (node.committing === undefined) forgetRecord(turn);
      node.added = undefined;
      node.data = { kind: "unknown" };
      turn.emit({ kind: "inspectData" });
      return;
    case "startEtcd":
      node.committing = undefined;
      if (node.etcd.kind !== "ready" && node.etcd.kind !== "exited") etcdChanged(turn, "starting");
      return;
    case "stopEtcd":
      etcdChanged(turn, "stopped");
      return;
    case "prepareSource":
      if (value.kind === "sourceVerified" && node.progress.founding?.digest === effect.founding.digest) {
        node.progress = { ...node.progress, verified: value.hash };
      }
      return;
    case "exportSurvivor":
      if (value.kind === "exported" && node.progress.founding?.digest === effect.founding.digest) {
        const { hash, revision, url } = value;
        node.progress = { ...node.progress, offer: { hash, revision, url } };
      }
      return;
    case "restoreData": {
      const { digest, source } = effect.founding;
      node.restored = digest;
      turn.notice("warn", "restored", { code: "restored", text: restoredText(node, source) });
      return;
    }
    case "provideEtcd":
      node.provided = effect.atLeast;
      return;
    case "memberAdd":
      if (value.kind === "memberAdded") node.added = value.memberId;
      askAgain(turn);
      return;
    case "memberPromote":
      // Asked for by the joiner and by the leader's node: whose asking was heard is told.
      turn.notice("info", "promoted", { code: "caught_up", text: `member ${effect.memberId} votes now` });
      askAgain(turn);
      return;
    case "memberRemove":
    case "memberUpdate":
    case "moveLeader":
      askAgain(turn);
      return;
    case "checkRecord":
      node.recordChecked = true;
      if (value.kind === "recordChecked") checkSize(turn, value.size, value.formerSizes);
      return;
    case "allowDowngrade":
      // The members look only each few seconds whether they may.
      turn.rest("cluster", downgradeRestMs);
      askAgain(turn);
      return;
    case "upgradeEtcd":
      turn.notice("info", "upgraded", { code: "plan_goes_on", text: `this member runs etcd ${effect.to} now` });
      askAgain(turn);
      return;
    case "changeRecord":
    case "defragment":
      askAgain(turn);
      return;
    case "makeRoom":
      if (value.kind === "roomMade") {
        turn.notice("warn", "room made", { code: "room_made", text: `the database was full: ${value.detail}` });
      }
      // One that fills at once again is not stopped again at once.
      turn.rest("care", defragRestMs);
      askAgain(turn);
      return;
    case "hashMembers":
      if (value.kind === "membersHashed") {
        const { revision, voters } = effect;
        node.hashes = { revision, voters, hashes: value.hashes, atMs: now.monotonicMs };
      }
      return;
    case "disarmCorrupt":
      askAgain(turn);
      return;
    case "writePlan":
      node.plan = effect.plan;
      if (effect.plan !== undefined && node.requested?.id === effect.plan.id) node.requested = undefined;
      return;
    case "clearVolatile":
      node.cleared = true;
      return;
    case "compareHashes":
      node.compared = true;
      if (value.kind === "hashesCompared" && !value.equal) {
        node.backup = { ...node.backup, diverged: true };
        turn.notice("error", "members differ", { code: "members_differ", text: `HashKV differs: ${value.detail}` });
      }
      return;
    case "takeSnapshot":
      node.backup = {
        ...node.backup,
        attemptedAtMs: now.monotonicMs,
        revision: value.kind === "snapshotTaken"
          ? Math.max(node.backup.revision, value.revision)
          : node.backup.revision,
      };
      if (value.kind === "snapshotTaken" && value.saved) node.lastSnapshotAtWallMs = now.wallMs;
      return;
    default:
      return effect satisfies never;
  }
}

export function failed(turn: Turn, id: number, code: string, message: string): void {
  const { node, now } = turn;
  const taken = take(turn, id);
  if (taken === undefined) return;
  const { slot, effect } = taken;
  node.failing = new Map(node.failing).set(slot, { kind: effect.kind, text: message, atMs: now.monotonicMs });
  turn.notice("warn", `${effect.kind} failed`, { code, text: message });
  // A learner that is nearly there is asked about often: waiting costs the cluster its third vote.
  turn.rest(slot, effect.kind === "memberPromote" ? retryAfterMs / 4 : retryAfterMs);
  switch (effect.kind) {
    case "startEtcd":
      // It never ran, so what was begun (a founding, a join) may be begun again in the same way.
      node.etcd = { kind: "stopped" };
      etcdGone(turn);
      return;
    case "moveDataAside":
    case "stopEtcd":
      turn.emit({ kind: "inspectData" });
      return;
    case "prepareSource":
    case "exportSurvivor":
    case "provideEtcd":
      // What has to be fetched from elsewhere is not there a second later.
      turn.rest(slot, 10 * retryAfterMs);
      return;
    case "takeSnapshot":
      node.backup = { ...node.backup, attemptedAtMs: now.monotonicMs };
      return;
    case "defragment":
      // It may still go on at that member.
      turn.rest(slot, defragRestMs);
      askAgain(turn);
      return;
    case "makeRoom":
      // Each time forgets revisions and stops members: not as often as there is no room.
      turn.rest(slot, roomRestMs);
      askAgain(turn);
      return;
    case "writePlan":
      // Somebody else's plan may be there, which has to be known before the next is written.
      node.planReadMs = undefined;
      askAgain(turn);
      return;
    default:
      askAgain(turn);
      return;
  }
}

function take(turn: Turn, id: number): { slot: Slot; effect: AnsweredEffect } | undefined {
  const { node } = turn;
  for (const [slot, effect] of node.deeds) {
    if (effect.id !== id) continue;
    const deeds = new Map(node.deeds);
    deeds.delete(slot);
    node.deeds = deeds;
    const rests = new Map(node.rests);
    rests.delete(slot);
    node.rests = rests;
    return { slot, effect };
  }
  return undefined;
}

/** What was found in the data-dir while a deed was under way there was not taken. */
function lookAgain(turn: Turn): void {
  if (turn.node.data.kind === "unknown") turn.emit({ kind: "inspectData" });
}

export function forgetRecord(turn: Turn): void {
  const { node } = turn;
  const { seen } = node.record;
  const formerNonces = [...node.record.formerNonces ?? [], node.record.nonce].slice(-formerNoncesMax);
  node.record = {
    nonce: nonceOf(node.seed, node.nonces++),
    formerNonces,
    pledges: [],
    ...(seen === undefined ? {} : { seen }),
  };
  node.recordKept = false;
}

/** After a restore everybody asks what is missing. */
function restoredText({ catalogue }: Draft, source: Source): string {
  if (source.kind === "empty") return "the data-dir was made anew";
  const what = source.kind === "survivor" ? `the data of "${source.name}"` : "a snapshot";
  const takenAt = source.kind === "snapshot" && catalogue.kind === "newest" && catalogue.hash === source.hash
    ? ` of ${new Date(catalogue.takenAtWallMs).toISOString().slice(0, 19)}Z`
    : "";
  return `the data-dir was made from ${what}${takenAt}, revision ${source.revision}: what was written later is not in it`;
}

export function checkSize(turn: Turn, size: number, formerSizes: readonly number[]): void {
  const { node } = turn;
  const own = node.settings.requiredSize;
  if (size === own) return;
  if (formerSizes.includes(own)) {
    node.settings = { ...node.settings, requiredSize: size };
    turn.notice("info", "size adopted", {
      code: "size_adopted",
      text: `the cluster was scaled from ${own} to ${size}; this node follows`,
    });
    return;
  }
  node.ending = {
    code: 1,
    reason: {
      code: "size_contradicts_record",
      text: `-n ${own} contradicts the cluster's record, which says ${size}`,
      hint: `start this node with -n ${size}, or change the cluster with "e2d scale"`,
    },
  };
  turn.enter("leaving", node.ending.reason);
}

/** What the members said before a change is old news: ask them all again at once. */
function askAgain(turn: Turn): void {
  const { node } = turn;
  node.asked = new Map();
  node.voidedAtMs = turn.now.monotonicMs;
  node.endpoints = new Map([...node.endpoints].map(([url, facts]) => [url, { ...facts, atMs: -Infinity }]));
}
