/**
 * Whether a cluster that serves has the redundancy that it promises: voters that are silent, and fewer voters than the
 * cluster record names. Every serving node reports both. Decides nothing: replace.ts decides who is removed, and the
 * times named here are those of its conditions, as this node sees them.
 */
import { clientEvidence, nodesOf, reportedHung } from "../../evidence/member_evidence.ts";
import { changeInProgress, goneForMs, unreachableForMs } from "../../evidence/members.ts";
import { durationText } from "../../../units.ts";
import type { View } from "../../facts/view.ts";
import type { EtcdAnswer, EtcdMember } from "../../facts/cluster.ts";
import type { Plan } from "../../facts/plan.ts";
import { quotedNames, type Reason } from "../../facts/reason.ts";
import { refusalToRemove, successorWaits } from "./removal_safety.ts";
import { clockText, leftInOrderUntilMs } from "../recovery_outlook.ts";

/** Above a restart of a small etcd, and one lost question of a follower's node, which asks each 5 s. */
export const silentAfterMs = 7_000;
/** Where etcd answers and gossip alone is silent: gossip needs its time after a restart of e2d. */
const managerSilentAfterMs = 10_000;

export const codes = { silent: "voter_silent", few: "voters_missing" } as const;

export interface ReducedRedundancy {
  readonly level: "info" | "warn";
  /** The text stays the same as long as the same members are missing; the hint names times. */
  readonly reason: Reason;
}

/** How a voter is silent: etcd and perhaps gossip (`etcd`), its node's gossip alone (`manager`), or it was stopped. */
interface SilentVoter {
  readonly member: EtcdMember;
  readonly how: "etcd" | "manager" | "stopped";
  readonly forMs: number;
}

/**
 * Voters that do not answer; undefined: all do. INFO while all that are silent left gossip in order a moment ago. `own`
 * is the own etcd's answer with a quorum. A member that the `plan` restarts or defragments now is expected to be silent.
 */
export function silentVoters(view: View, own: EtcdAnswer, plan: Plan | undefined): ReducedRedundancy | undefined {
  const voters = own.members.filter((member) => !member.isLearner);
  const silent = voters.flatMap((member) => member.id === own.memberId ? [] : silenceOf(member, view, plan) ?? []);
  if (silent.length === 0) return undefined;
  const answering = voters.length - silent.filter(({ how }) => how !== "manager").length;
  const names = (how: SilentVoter["how"]) =>
    quotedNames(silent.filter((each) => each.how === how).map(({ member }) => label(member)));
  const texts = [
    [names("etcd"), "silent"],
    [names("stopped"), "stopped normally"],
    [names("manager"), "silent by gossip, and etcd there answers"],
  ].filter(([who]) => who !== "").map(([who, what]) => `${who}: ${what}`);
  const text = `${answering} of ${voters.length} voters answer; ${texts.join("; ")}`;
  const hint = silent.map((each) => outlookOf(each, view, own)).join("; ");
  const level = silent.every(({ how }) => how === "stopped") ? "info" : "warn";
  return { level, reason: { code: codes.silent, text, hint } };
}

/** Fewer voters than the cluster record names; undefined: enough, or a plan changes their number now. */
export function missingVoters(view: View, own: EtcdAnswer, plan: Plan | undefined): ReducedRedundancy | undefined {
  const voters = own.members.filter((member) => !member.isLearner).length;
  const size = own.recordedSize ?? view.settings.requiredSize;
  if (voters >= size || plan?.purpose === "scale") return undefined;
  const joining = changeInProgress(own.members);
  if (joining !== undefined) {
    const text = `the cluster has ${voters} of its ${size} voters; ${quotedNames([label(joining)])} is joining`;
    return { level: "warn", reason: { code: codes.few, text } };
  }
  const standby = standbyNodes(view);
  const hint = view.settings.paused
    ? "automatic action is paused: e2d resume lets nodes join"
    : standby.length > 0
    ? `${quotedNames(standby)} can join; e2d why there tells what it waits for`
    : `start ${size - voters === 1 ? "another node" : `${size - voters} more nodes`} with the same settings`;
  return { level: "warn", reason: { code: codes.few, text: `the cluster has ${voters} of its ${size} voters`, hint } };
}

const label = ({ name, peerUrls, id }: EtcdMember) => name || (peerUrls[0] ?? id);

function silenceOf(member: EtcdMember, view: View, plan: Plan | undefined): SilentVoter | undefined {
  const goneMs = goneForMs(member, view);
  if (clientEvidence(member, view).kind === "answers") {
    return (goneMs ?? 0) < managerSilentAfterMs ? undefined : { member, how: "manager", forMs: goneMs! };
  }
  const stopped = leftInOrderUntilMs(member, view) !== undefined;
  // Its address may have been silent before there was this member.
  const listedMs = view.nowMs - (view.memberSinceMs.get(member.id) ?? view.nowMs);
  const forMs = Math.min(listedMs, Math.max(goneMs ?? 0, unreachableForMs(member, view)));
  if (forMs < silentAfterMs) return undefined;
  const changes = plan?.operations.some((operation) =>
    (operation.kind === "upgrade" || operation.kind === "defragment") && operation.memberId === member.id
  );
  if (changes && goneMs === undefined && !reportedHung(member, view)) return undefined;
  return { member, how: stopped ? "stopped" : "etcd", forMs };
}

function outlookOf({ member, how, forMs }: SilentVoter, view: View, own: EtcdAnswer): string {
  const who = `"${label(member)}"`;
  if (how === "manager") return `look at e2d on the machine of ${who}: it stays a member while its etcd answers`;
  const since = `${who} since ${clockText(view, view.nowMs - forMs)} UTC`;
  if (how === "stopped") {
    return `${since}, expected back until ${clockText(view, leftInOrderUntilMs(member, view)!)} UTC`;
  }
  if (goneForMs(member, view) === undefined && !reportedHung(member, view)) {
    return `${since}; its node is there: see e2d status on it`;
  }
  return `${since}; ${removalOf(member, view, own)}`;
}

/** When it is removed, and who takes its place. The conditions are those of replace.ts. */
function removalOf(member: EtcdMember, view: View, own: EtcdAnswer): string {
  const { settings, nowMs } = view;
  if (settings.paused) return "it is not removed while automatic action is paused";
  const timeoutMs = settings.healthCheckTimeoutMs;
  const known = nodesOf(member, view).length > 0;
  const leftMs = Math.max(
    timeoutMs - unreachableForMs(member, view),
    known ? 0 : timeoutMs - (goneForMs(member, view) ?? timeoutMs),
  );
  const refusal = refusalToRemove(member, own, view);
  const place = successorWaits(member, own, view)
    ? `${quotedNames(standbyNodes(view))} ${standbyNodes(view).length === 1 ? "takes" : "take"} its place`
    : "no standby node is here: start another node with the same settings";
  if (refusal !== undefined) return `it stays a member, because ${refusal}; ${place}`;
  const when = leftMs > 0
    ? `it is removed at ${clockText(view, nowMs + leftMs)} UTC unless it answers`
    : `it has been silent for ${
      durationText(timeoutMs)
    } or more; e2d why on the leader's node tells what its removal waits for`;
  return `${when}; ${place}`;
}

const standbyNodes = ({ peers }: View) =>
  peers.filter(({ state, facts }) => state === "alive" && facts?.data.kind === "none").map(({ name }) => name);
