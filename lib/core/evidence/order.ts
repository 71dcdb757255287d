/**
 * The order of evidence: which facts decide over data, and which facts yield. docs/decisions.md states it; only this file
 * ranks two lives of a lineage, data on disks and the contents of a store. A store, a single peer or a copy of an identity
 * must never end a life whose disks are a quorum, and a disk that has not answered yet must never count as gone.
 */
import { lineageOfData, ownLineage, supersedes } from "./lineage.ts";
import { digestOf } from "../facts/digest.ts";
import { freshAnswer } from "./members.ts";
import type { View } from "../facts/view.ts";
import { type EtcdAnswer, type EtcdMember, quorumOf } from "../facts/cluster.ts";
import { type GossipPeer, isPresent } from "../facts/peer.ts";
import type { Lineage } from "../facts/node_record.ts";
import { type Choice, quotedNames, type Reason } from "../facts/reason.ts";
import type { ValidData } from "../facts/data_dir.ts";
import type { StoredLife } from "../facts/snapshot_lookup.ts";

/** Where the disks of one life are, each voter in exactly one list, by name or member id. */
export interface DiskCount {
  readonly voters: number;
  /** Here, with this life's data. */
  readonly holding: readonly string[];
  /** Here, and without this life's data: empty, or with the data of another life. */
  readonly gone: readonly string[];
  /** Not heard of, not looked at, not mounted or not readable: they may hold the data. */
  readonly silent: readonly string[];
}

/** Another life of the own lineage, and what is known of it now. */
export interface RivalLife {
  readonly lineage: Lineage;
  /** The node that this is known from. */
  readonly holder: string;
  /** A quorum of it answers. */
  readonly living: boolean;
  /** It is out of sight, and a record names it. */
  readonly remembered?: true;
}

export type LifeVerdict =
  /** No other life is in sight that the own one would have to be held against. */
  | { readonly kind: "alone" }
  /** The own life continues beside the other one; both report it. */
  | { readonly kind: "stands"; readonly reason: Reason }
  | { readonly kind: "waits"; readonly level: "info" | "error"; readonly reason: Reason }
  /** The own data yields to the other life: it is quarantined. */
  | { readonly kind: "yields"; readonly reason: Reason };

/** The name under which an operator approves a plan: `e2d restore approve PLAN`. */
export const planOf = (digest: string): string => digest.slice(0, 16);

/** A reason with the choices that an operator has, and the commands for them. */
export function withChoices(reason: Omit<Reason, "hint" | "choices">, choices: readonly Choice[], hint = ""): Reason {
  const orders = choices.map(({ plan, label }) => `"e2d restore approve ${plan}": ${label}`).join("; ");
  return { ...reason, hint: `${hint === "" ? "" : `${hint}; or `}run ${orders}`, choices };
}

/** True when an operator approved it at this node or at one of its peers. */
export function isApproved(view: View, digest: string): boolean {
  const plan = planOf(digest);
  return [view.settings.approved, ...view.peers.map((peer) => peer.facts?.approved ?? [])]
    .some((approved) => approved.includes(plan));
}

/**
 * True when this node has waited for disks as long as the operator gave them. Time before the process started, or while
 * it was paused, does not count. `sinceMs`: when the waiting began, if later than that.
 */
export function hasWaited(view: View, sinceMs = 0): boolean {
  const timeoutMs = view.settings.quorumLossTimeoutMs;
  if (timeoutMs === "never") return false;
  return view.nowMs - Math.max(view.bootedAtMs, view.watchingSinceMs, sinceMs) >= timeoutMs;
}

/** Counts the disks of the life that `data` belongs to, by the members that its log lists. */
export function countDisks(view: View, data: ValidData): DiskCount {
  const holding: string[] = [], gone: string[] = [], silent: string[] = [];
  const voters = data.members.filter((member) => !member.isLearner);
  for (const member of voters) {
    const label = member.name === "" ? member.id : member.name;
    if (member.id === data.memberId || holderOf(member, data.clusterId, view) !== undefined) holding.push(label);
    else if (isGone(member, data.clusterId, view)) gone.push(label);
    else silent.push(label);
  }
  return { voters: voters.length, holding, gone, silent };
}

function holderOf(member: EtcdMember, clusterId: string, view: View): GossipPeer | undefined {
  return view.peers.find((peer) => {
    const data = peer.facts?.data;
    return isPresent(peer) && data?.kind === "held" && data.clusterId === clusterId && data.memberId === member.id;
  });
}

/** The node at this member's own address has looked and has other data or none. A name alone can be a copy. */
function isGone(member: EtcdMember, clusterId: string, view: View): boolean {
  return view.peers.some((peer) => {
    if (peer.state !== "alive" || !member.peerUrls.includes(peer.peerUrl)) return false;
    const data = peer.facts?.data;
    if (data?.kind === "none") return data.lost === undefined;
    return data?.kind === "held" && data.clusterId !== "" && data.clusterId !== clusterId;
  });
}

export interface LivingCluster {
  /** The client URL that gave the answer, and the node there. */
  readonly via: string;
  readonly name: string;
  readonly answer: EtcdAnswer;
}

/** Clusters with a quorum that answer here, newest answer first. */
export function livingClusters(view: View): readonly LivingCluster[] {
  const found: LivingCluster[] = [];
  for (const peer of view.peers) {
    if (!isPresent(peer)) continue;
    const answer = freshAnswer(view.endpoints.get(peer.clientUrl), view.nowMs);
    if (answer?.linearizable && answer.leaderId !== undefined) {
      found.push({ via: peer.clientUrl, name: peer.name, answer });
    }
  }
  return found.sort((a, b) => b.answer.raftAppliedIndex - a.answer.raftAppliedIndex);
}

/** A life of the own lineage with a higher epoch, as peers and etcd answers show it; the living one first. */
export function rivalLife(view: View, own: Lineage): RivalLife | undefined {
  const living = livingClusters(view);
  const found: RivalLife[] = [];
  for (const { name, answer } of living) {
    if (typeof answer.lineage === "object" && supersedes(answer.lineage, own)) {
      found.push({ lineage: answer.lineage, holder: name, living: true });
    }
  }
  for (const peer of view.peers) {
    const data = peer.facts?.data;
    if (!isPresent(peer) || data?.kind !== "held" || !supersedes(data.lineage, own)) continue;
    const answers = living.some(({ answer }) => answer.clusterId === data.clusterId);
    found.push({ lineage: data.lineage, holder: peer.name, living: answers });
  }
  // Data of an earlier life that is mounted again hides the data of the later one, which ran on this very machine.
  for (const { lineage } of view.record.former ?? []) {
    if (supersedes(lineage, own)) found.push({ lineage, holder: view.self.name, living: false });
  }
  // The same one of several holders each time: which is named must not change with the order of their answers.
  found.sort((a, b) => Number(b.living) - Number(a.living) || (a.holder < b.holder ? -1 : 1));
  return found[0];
}

/** The life that this node, or a peer with data of the same cluster, waited for an operator to choose against. */
function undecidedLife({ record, peers, self }: View, { clusterId }: ValidData, own: Lineage): RivalLife | undefined {
  const known = [{ name: self.name, lineage: record.undecided }];
  for (const peer of peers) {
    const data = peer.facts?.data;
    if (!isPresent(peer) || data?.kind !== "held" || data.clusterId !== clusterId) continue;
    known.push({ name: peer.name, lineage: peer.facts?.undecided });
  }
  const found = known.find(({ lineage }) => lineage !== undefined && supersedes(lineage, own));
  return found && { lineage: found.lineage!, holder: found.name, living: false, remembered: true };
}

/** The life to write into the record when this data waits for an operator; undefined: nothing new is known. */
export function lifeToRemember(view: View): Lineage | undefined {
  const own = ownLineage(view);
  const rival = own === undefined ? undefined : rivalLife(view, own);
  return rival?.living && view.record.undecided?.token !== rival.lineage.token ? rival.lineage : undefined;
}

/**
 * A life of the own lineage that stands against the own one without being later: it has a quorum, or its nodes wait for an
 * operator to choose between the two.
 */
export function challenger(view: View, own: Lineage): RivalLife | undefined {
  const other = (lineage: Lineage) => lineage.id === own.id && lineage.token !== own.token;
  for (const { name, answer } of livingClusters(view)) {
    const { lineage } = answer;
    if (typeof lineage === "object" && other(lineage)) return { lineage, holder: name, living: true };
  }
  const waiting = view.peers.find((peer) =>
    isPresent(peer) && peer.facts?.data.kind === "held" && other(peer.facts.data.lineage) &&
    peer.facts.undecided?.token === own.token
  );
  if (waiting?.facts?.data.kind !== "held") return undefined;
  return { lineage: waiting.facts.data.lineage, holder: waiting.name, living: false };
}

/** What an operator can approve at a node of the life `own`. */
export function lifeChoices(own: Lineage, other: Lineage): Choice[] {
  return [
    {
      plan: planOf(endLifeDigest(other, own)),
      label: `start this node's data of ${lifeText(own)}, and quarantine that of ${lifeText(other)}`,
    },
    { plan: planOf(endLifeDigest(own, other)), label: `quarantine this node's data of ${lifeText(own)}` },
  ];
}

/** Two lives may have one epoch: the end of the token tells them apart, as in the names of their snapshots. */
const lifeText = ({ epoch, token }: Lineage) => `epoch ${epoch} (life ${token.slice(-8)})`;

/** What an operator approves to end the life `ends` in favour of the life `stays`, at the nodes with data of either. */
export const endLifeDigest = (ends: Lineage, stays: Lineage): string => digestOf("end life", ends.token, stays.token);

/** A life of the own lineage in favour of which an operator ended the own one. */
function chosenLife(view: View, own: Lineage): { holder: string; living: boolean } | undefined {
  const lives = livingClusters(view).flatMap(({ name, answer }) =>
    typeof answer.lineage === "object" ? [{ holder: name, lineage: answer.lineage, living: true }] : []
  );
  for (const { name, facts } of view.peers.filter(isPresent)) {
    if (facts?.data.kind !== "held") continue;
    lives.push({ holder: name, lineage: facts.data.lineage, living: false });
  }
  for (const { lineage } of view.record.former ?? []) {
    lives.push({ holder: view.self.name, lineage, living: false });
  }
  const { undecided } = view.record;
  if (undecided !== undefined) lives.push({ holder: view.self.name, lineage: undecided, living: false });
  return lives.find(({ lineage }) =>
    lineage.id === own.id && lineage.token !== own.token && isApproved(view, endLifeDigest(own, lineage))
  );
}

/**
 * The own data against a newer life of its lineage. A living quorum outranks disks, but only when the own disks are no
 * quorum for certain: a voter that has not spoken gets the quorum-loss time-out, and a life that once stood beside the
 * other one with a quorum of its own ends on an operator's word alone.
 */
export function judgeRival(view: View, data: ValidData): LifeVerdict {
  const own = lineageOfData(data.clusterId, view.record);
  const chosen = chosenLife(view, own);
  if (chosen !== undefined) {
    const text = `an operator gave this data of epoch ${own.epoch} up for the life that "${chosen.holder}" holds`;
    // The data stays until the other life lives: an approval for a life that never comes must not cost both.
    if (chosen.living) return { kind: "yields", reason: { code: "newer_epoch", text } };
    const waits = { code: "newer_epoch_silent", text: `${text}; waiting for its quorum to answer` };
    return { kind: "waits", level: "info", reason: waits };
  }
  const rival = rivalLife(view, own) ?? undecidedLife(view, data, own);
  if (rival === undefined || isPledgedTo(view, rival.lineage)) return { kind: "alone" };
  const other = rival.remembered
    ? `a quorum of epoch ${rival.lineage.epoch} of this lineage was seen, and this node holds epoch ${own.epoch}`
    : `"${rival.holder}" holds epoch ${rival.lineage.epoch} of this lineage, this node epoch ${own.epoch}`;
  const [ends, stays] = [endLifeDigest(own, rival.lineage), endLifeDigest(rival.lineage, own)];
  const choices = [
    { plan: planOf(stays), label: `start this node's data of ${lifeText(own)}` },
    { plan: planOf(ends), label: `quarantine this node's data of ${lifeText(own)}` },
  ];
  // What an operator most probably wants comes first: the side that lives.
  if (rival.living) choices.reverse();
  if (isApproved(view, stays)) {
    return { kind: "stands", reason: { code: "two_epochs", text: `${other}; an operator chose this data` } };
  }
  const { holding, silent, voters } = countDisks(view, data);
  const quorum = quorumOf(voters);
  if (holding.length >= quorum || view.record.rival !== undefined) {
    const text =
      `${other}, and ${holding.length} of ${voters} disks of epoch ${own.epoch} are here: two lives of one ` +
      "cluster, and an operator must choose";
    const reason = withChoices({ code: "two_epochs", text }, choices, "stop the side that is to be given up");
    return isLiving(view, data) && holding.length >= quorum
      ? { kind: "stands", reason }
      : { kind: "waits", level: "error", reason };
  }
  if (holding.length + silent.length >= quorum && !hasWaited(view, view.leaderlessSinceMs)) {
    const text = `${other}; waiting for ${quotedNames(silent)}, whose disk may make a quorum of epoch ${own.epoch}`;
    return { kind: "waits", level: "info", reason: withChoices({ code: "newer_epoch_waits", text }, choices) };
  }
  if (!rival.living) {
    const text = `${other}, and no quorum of epoch ${rival.lineage.epoch} answers yet`;
    const level = rival.remembered ? "error" : "info";
    return { kind: "waits", level, reason: withChoices({ code: "newer_epoch_silent", text }, choices) };
  }
  if (isAhead(data, own, rival.lineage)) {
    const text =
      `${other}; it began with revision ${rival.lineage.from!.revision} of epoch ${own.epoch}, and this node's ` +
      `data is at revision ${data.revision}: writes may be on this disk alone, and an operator must choose`;
    const hint = "look into a copy of this data-dir and save what the other life lacks";
    return { kind: "waits", level: "error", reason: withChoices({ code: "newer_epoch_behind", text }, choices, hint) };
  }
  return { kind: "yields", reason: { code: "newer_epoch", text: other } };
}

/** The life `other` began with older data of the life `own` than this: it is a recovery that lost writes, or a drill. */
function isAhead({ revision }: ValidData, own: Lineage, { from }: Lineage): boolean {
  return from?.token === own.token && revision > from.revision;
}

/**
 * This node pledged its data to that life and is one of those who bootstrap it: it carries the recovery out (commit.ts).
 * Waiting for a quorum of that life would be waiting for itself.
 */
function isPledgedTo({ record, self }: View, { token }: Lineage): boolean {
  const pledge = record.pledges.at(-1);
  return pledge?.token === token &&
    pledge.initialMembers.some(({ name, peerUrl }) => name === self.name && peerUrl === self.peerUrl);
}

/** Another member of the own life runs its etcd: the life continues, and this member completes it. */
function isLiving(view: View, { clusterId }: ValidData): boolean {
  return view.peers.some((peer) => {
    const facts = peer.facts;
    return isPresent(peer) && facts?.data.kind === "held" && facts.data.clusterId === clusterId &&
      (peer.status === "running" || facts.phase === "serving");
  });
}

/**
 * The own data against what the store says. The store never ends a life: it can only make a node without a quorum of
 * disks wait for the others, up to the quorum-loss time-out.
 */
export function judgeStore(view: View, data: ValidData): LifeVerdict {
  const own = lineageOfData(data.clusterId, view.record);
  const { snapshotLookup } = view;
  if (snapshotLookup.kind !== "newest" || snapshotLookup.lineage?.id !== own.id) return { kind: "alone" };
  if (snapshotLookup.epochMax <= own.epoch) return { kind: "alone" };
  const reason = otherLifeStored(snapshotLookup.epochMax, own);
  const { holding, silent, voters } = countDisks(view, data);
  const waits = holding.length < quorumOf(voters) && silent.length > 0 && !hasWaited(view);
  if (!waits) return { kind: "stands", reason };
  const text = `${reason.text}; waiting for ${quotedNames(silent)}`;
  return { kind: "waits", level: "info", reason: { ...reason, code: "newer_epoch_stored", text } };
}

/** `life`: the later one, as far as the store shows it; `saves`: it was seen to save a short while ago. */
export function otherLifeStored(
  epoch: number,
  own: Lineage,
  { life, saves = true }: { readonly life?: StoredLife | undefined; readonly saves?: boolean } = {},
): Reason {
  const tag = life?.tag === undefined ? "" : `; its snapshots end in -${life.tag}`;
  const silent = saves || life === undefined
    ? ""
    : `, and it has saved nothing since ${new Date(life.newest.takenAtWallMs).toISOString().slice(0, 19)}Z`;
  const stop = "a restored copy of this cluster was given the same store: stop the copy, or give it a URL of its own";
  const which = life?.tag === undefined ? "its objects in the store" : `the objects whose names end in -${life.tag}`;
  const remove = `remove ${which} ("e2d snapshot list" shows them)`;
  return {
    code: "other_life_stored",
    text:
      `the store holds epoch ${epoch} of this lineage, and this node's data is of epoch ${own.epoch}${tag}${silent}`,
    hint: `${stop}; then ${remove}`,
  };
}
