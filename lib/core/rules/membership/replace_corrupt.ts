/**
 * The reaction of the leader's node to the alarm CORRUPT, by which etcd reports a member with different data. etcd then
 * rejects writes on all members and still serves reads, statuses, hashes and member changes (3.4 to 3.7). The alarm alone
 * is no evidence: all other members must agree on their hashes at one revision and be a majority. The leader's node removes
 * the member; the node of that member quarantines its data and joins again.
 */
import { withoutUndefined } from "../../../without_undefined.ts";
import { answerOf, changeInProgress, isHealthy, peerOf } from "../../evidence/members.ts";
import type { View } from "../../facts/view.ts";
import { refusalToRemove } from "./removal_safety.ts";
import {
  type EtcdAnswer,
  type EtcdMember,
  type HashEvidence,
  type MemberEndpoint,
  quorumOf,
} from "../../facts/cluster.ts";
import type { Reason } from "../../facts/reason.ts";

export type CorruptDecision =
  | { readonly kind: "nothing" }
  /** Of a member that is none any more: etcd keeps it for ever. */
  | { readonly kind: "disarm"; readonly memberId: string; readonly reason: Reason }
  | {
    readonly kind: "hash";
    readonly members: readonly MemberEndpoint[];
    readonly revision: number;
    readonly voters: readonly string[];
  }
  /** The accused leads: the node of its successor continues. */
  | { readonly kind: "moveLeader"; readonly to: string; readonly reason: Reason }
  | { readonly kind: "remove"; readonly member: EtcdMember; readonly reason: Reason }
  /** `replace`: a dead member may be replaced meanwhile. Not where it may be the dead one whose data is right. */
  | { readonly kind: "wait"; readonly replace: boolean; readonly reason: Reason };

/** To act on; older evidence is asked for anew. */
const proofFreshMs = 10_000;
/** HashKV reads a whole database: where nothing comes of it, it is not asked for more often than this. */
const askAgainMs = 60_000;

const byHand = 'compare the members and remove the wrong one by "etcdctl member remove"; docs/operate.md tells how';

/** Ids that the alarm names, etcd's 0 among them: it found a difference, and no majority on either side. */
function accusedIds(own: EtcdAnswer): string[] {
  const ids = own.alarms.filter(({ type }) => type === "CORRUPT").map(({ memberId }) => memberId);
  return [...new Set(ids)].sort();
}

/** `own` leads, by a linearizable answer. `evidence` is the last there is. */
export function decideCorrupt(view: View, own: EtcdAnswer, evidence: HashEvidence | undefined): CorruptDecision {
  const ids = accusedIds(own);
  if (ids.length === 0) return { kind: "nothing" };
  const accusedMembers = own.members.filter(({ id }) => ids.includes(id));
  const [accused] = accusedMembers;
  if (ids.includes("0")) {
    return wait("corrupt_unnamed", "members differ, and etcd cannot tell whose data is wrong", { hint: byHand });
  }
  if (accused === undefined) {
    const reason = { code: "stale_alarm", text: `member ${ids[0]!} was removed: its alarm CORRUPT is disarmed` };
    // While a member is accused none is disarmed: older etcd may take writes again with the first.
    return { kind: "disarm", memberId: ids[0]!, reason };
  }
  if (accusedMembers.length > 1) {
    return wait(
      "corrupt_many",
      `etcd accuses ${accusedMembers.map(label).join(", ")} of wrong data: one at most is replaced`,
      {
        hint: byHand,
      },
    );
  }
  const busy = changeInProgress(own.members);
  if (busy !== undefined) {
    return wait("change_runs", `${label(accused)} is accused of wrong data and stays while ${label(busy)} is joining`, {
      replace: true,
    });
  }
  const voters = own.members.filter((member) => !member.isLearner);
  const others = voters.filter(({ id }) => id !== accused.id);
  if (others.length < quorumOf(voters.length)) {
    const text = `${
      label(accused)
    } is accused of wrong data, and ${others.length} of ${voters.length} voters prove nothing`;
    return wait("corrupt_no_majority", text, { hint: byHand });
  }
  const asked: MemberEndpoint[] = [];
  let revision = Infinity;
  for (const member of others) {
    const answer = member.id === own.memberId ? own : answerOf(member, view);
    const endpoint = member.clientUrls[0];
    if (answer === undefined || endpoint === undefined || !isHealthy(member, own, view)) {
      const text = `${label(accused)} is accused of wrong data, and ${label(member)} does not answer to be compared`;
      return wait("corrupt_other_silent", text, { replace: true, hint: "bring that member back" });
    }
    asked.push({ memberId: member.id, endpoint });
    revision = Math.min(revision, answer.revision);
  }
  const endpoint = accused.clientUrls[0];
  const answers = accused.id === own.memberId || answerOf(accused, view) !== undefined;
  if (answers && endpoint !== undefined) asked.push({ memberId: accused.id, endpoint });
  const voterIds = voters.map(({ id }) => id).sort();
  const hash: CorruptDecision = { kind: "hash", members: asked, revision, voters: voterIds };
  if (evidence === undefined || evidence.voters.join() !== voterIds.join()) return hash;
  const verdict = judge(accused, others, evidence);
  const ageMs = view.nowMs - evidence.atMs;
  if (verdict !== undefined) return ageMs <= askAgainMs ? verdict : hash;
  if (ageMs > proofFreshMs) return hash;
  return replaceAccused(accused, others, { view, own, evidence });
}

/** All others agree, and the accused member does not agree with them. */
function replaceAccused(
  accused: EtcdMember,
  others: readonly EtcdMember[],
  { view, own, evidence }: { view: View; own: EtcdAnswer; evidence: HashEvidence },
): CorruptDecision {
  const differs = evidence.hashes.some(({ memberId }) => memberId === accused.id)
    ? `${label(accused)} has other data than all others at revision ${evidence.revision}`
    : `${label(accused)} is accused of wrong data and gives no hash at revision ${evidence.revision}`;
  if (accused.id === own.memberId) {
    // The node of the original would not go on with it.
    const to = others.find((member) => peerOf(member, view)?.isLegacy === false) ?? others[0]!;
    return { kind: "moveLeader", to: to.id, reason: { code: "member_corrupt", text: `${differs}, and leads` } };
  }
  const refusal = refusalToRemove(accused, own, view);
  if (refusal !== undefined) {
    return wait("removal_unsafe", `${differs}, and stays a member, because ${refusal}`, { replace: true });
  }
  return { kind: "remove", member: accused, reason: { code: "member_corrupt", text: `${differs}; all others agree` } };
}

/** Why the accused is not replaced; undefined: the others agree, and it does not agree with them. */
function judge(
  accused: EtcdMember,
  others: readonly EtcdMember[],
  { revision, hashes }: HashEvidence,
): CorruptDecision | undefined {
  const hashOf = (member: EtcdMember) => hashes.find(({ memberId }) => memberId === member.id);
  const first = others[0] === undefined ? undefined : hashOf(others[0]);
  const theirs = hashOf(accused);
  for (const member of others) {
    const each = hashOf(member);
    if (first === undefined || each === undefined) {
      const silent = others.find((other) => hashOf(other) === undefined)!;
      const text = `${label(accused)} is accused of wrong data, and ${
        label(silent)
      } gives no hash at revision ${revision}`;
      return wait("corrupt_other_silent", text, { replace: true });
    }
    if (each.compactRevision !== first.compactRevision) return incomparable(accused);
    if (each.hash !== first.hash) {
      const text = `etcd accuses ${label(accused)} of wrong data, and the others differ among themselves`;
      return wait("corrupt_others_differ", text, { hint: byHand });
    }
  }
  if (theirs === undefined || first === undefined) return undefined;
  if (theirs.compactRevision !== first.compactRevision) return incomparable(accused);
  if (theirs.hash !== first.hash) return undefined;
  return wait(
    "corrupt_equal",
    `etcd accuses ${label(accused)}, whose data equals the others' at revision ${revision}`,
    {
      replace: true,
      hint: 'look into that member\'s log; "etcdctl alarm disarm" ends the alarm',
    },
  );
}

const incomparable = (accused: EtcdMember) =>
  wait("corrupt_incomparable", `${label(accused)} is accused of wrong data, and a compaction is on its way`, {
    replace: true,
  });

function wait(
  code: string,
  text: string,
  { hint, replace = false }: { hint?: string; replace?: boolean },
): Extract<CorruptDecision, { kind: "wait" }> {
  return { kind: "wait", replace, reason: { code, text, ...withoutUndefined({ hint }) } };
}

const label = ({ id, name }: EtcdMember) => `"${name || id}"`;
