/**
 * Which bootstrap plan a node proposes: whether N nodes without data have gathered, which of them are the initial members,
 * and from which source. Agreement, pledge and start belong to commit.ts. It never proposes a plan while a peer holds
 * data that may still be a cluster's, while a fact is unknown, or while so many known addresses are silent that they
 * could bootstrap a cluster of their own.
 */
import { withoutUndefined } from "../../../without_undefined.ts";
import { digestOf } from "../../facts/digest.ts";
import { isApproved, planOf, withChoices } from "../../evidence/order.ts";
import { unlistedCluster } from "../../evidence/foreign_peers.ts";
import { type Parent, sourceOf, type SourceOutcome } from "./source.ts";
import { evidenceAwaited } from "./awaited.ts";
import type { View } from "../../facts/view.ts";
import { gatheredText, unaccounted } from "../gathering.ts";
import { type QuorumLoss, quorumLost } from "../quorum_loss.ts";
import type { BootstrapMember, BootstrapPlan, Lineage, Pledge, Source } from "../../facts/node_record.ts";
import { type GossipPeer, isPresent } from "../../facts/peer.ts";
import { quorumOf } from "../../facts/cluster.ts";
import { quotedNames, type Reason } from "../../facts/reason.ts";

export type Proposal =
  /** `ask`: an operator must choose between sources first. */
  | { readonly kind: "propose"; readonly plan: BootstrapPlan; readonly ask?: Reason }
  /** `isStandby`: others are the initial members. */
  | { readonly kind: "wait"; readonly reason: Reason; readonly isStandby?: boolean };

export function proposeBootstrap(view: View): Proposal {
  const here = view.peers.filter(isPresent);
  const loss = quorumLost(view);
  const candidates = candidatesOf(view, here.filter(({ name }) => !loss?.outlived.includes(name)));
  const obstacle = peerObstacle(view, here) ?? dataHolder(here, loss) ?? gatheringObstacle(view, candidates, loss);
  if (obstacle !== undefined) return { kind: "wait", reason: obstacle };
  const sources = sourceOf(view, here, loss);
  if (sources.kind === "wait") return sources;
  const initialMembers = chooseInitialMembers(candidates, view, here, loss);
  if (initialMembers === undefined) {
    return {
      kind: "wait",
      reason: {
        code: "pledged_elsewhere",
        text: "an earlier pledge may still be carried out: too few of its initial members are present to rule it out",
        hint: "bring its nodes back, or pass --new-cluster on a clean data-dir",
      },
    };
  }
  return proposeFrom(sources, initialMembers, candidates, view, loss);
}

/** Plans from the sources in order: an approved one first, otherwise the first one. */
function proposeFrom(
  sources: Extract<SourceOutcome, { kind: "choices" }>,
  initialMembers: readonly BootstrapMember[],
  candidates: readonly BootstrapMember[],
  view: View,
  loss: QuorumLoss | undefined,
): Proposal {
  const { self, settings } = view;
  const plans = sources.choices.map(({ source, parent }) =>
    bootstrapPlanOf(initialMembers, source, parent, settings.newCluster)
  );
  const approved = plans.find(({ digest }) => isApproved(view, digest));
  const plan = approved ?? plans[0]!;
  if (!initialMembers.some(({ name }) => name === self.name)) {
    const members = initialMembers.map(({ name, peerUrl }) => ({ name, peerUrls: [peerUrl] }));
    const names = quotedNames(initialMembers.map(({ name }) => name));
    const standby = { code: "standby", text: `${names} bootstrap the cluster; this node is a standby node` };
    return { kind: "wait", isStandby: true, reason: unlistedCluster(view, members) ?? standby };
  }
  if (approved !== undefined) return { kind: "propose", plan };
  // A restore that needs an approval waits for nothing else: the approval ends the other waits, too.
  const needsApproval = plan.source.kind === "snapshot" && settings.restore !== "auto";
  const awaited = loss === undefined && !needsApproval ? evidenceAwaited(view, plan, candidates) : undefined;
  if (awaited !== undefined) return { kind: "wait", reason: awaited };
  if (sources.ask === undefined) return { kind: "propose", plan };
  const choices = sources.choices.map(({ label }, at) => ({ plan: planOf(plans[at]!.digest), label }));
  return { kind: "propose", plan, ask: withChoices(sources.ask, choices) };
}

/** Why the facts of the peers permit no proposal: missing, contradictory, or about data that cannot be used. */
function peerObstacle({ settings: { requiredSize } }: View, here: readonly GossipPeer[]): Reason | undefined {
  const silent = here.filter((peer) => !peer.isLegacy && peer.facts === undefined);
  if (silent.length > 0) {
    const names = quotedNames(silent.map(({ name }) => name));
    return { code: "facts_missing", text: `waiting for ${names} to report whether it holds data` };
  }
  const inspecting = here.filter((peer) => peer.facts?.data.kind === "unknown");
  if (inspecting.length > 0) {
    const names = quotedNames(inspecting.map(({ name }) => name));
    return { code: "peer_inspecting", text: `waiting for ${names} to inspect its data-dir` };
  }
  const otherSize = here.find((peer) => peer.facts !== undefined && peer.facts.requiredSize !== requiredSize);
  if (otherSize !== undefined) {
    return {
      code: "size_contradiction",
      text: `"${otherSize.name}" was started with -n ${
        otherSize.facts!.requiredSize
      }, this node with -n ${requiredSize}`,
      hint: "start all nodes with the same -n",
    };
  }
  const unusable = here.find((peer) => peer.facts?.data.kind === "unusable");
  if (unusable === undefined) return undefined;
  return {
    code: "peer_data_unusable",
    text: `"${unusable.name}" has a data-dir that it cannot use, and no cluster is bootstrapped in its place`,
    hint: `run "e2d status" on "${unusable.name}": repair its data-dir, or run the "e2d restore approve" that it ` +
      "names; move a data-dir that cannot be read away by hand, together with its .e2d.json",
  };
}

/** Data of a peer comes first, unless every node that holds data reports that its quorum is lost. */
function dataHolder(here: readonly GossipPeer[], loss: QuorumLoss | undefined): Reason | undefined {
  const holders = here.filter((peer) => peer.facts?.data.kind === "held").map(({ name }) => name);
  if (loss !== undefined || holders.length === 0) return undefined;
  const text =
    `${quotedNames(holders)} ${holders.length === 1 ? "holds data and starts" : "hold data and start"} first; ` +
    "this node joins once a member answers with a quorum";
  return { code: "peer_holds_data", text };
}

/** Nodes that may be initial members: this node and every living peer that published its facts, by name. */
function candidatesOf({ self, record }: View, here: readonly GossipPeer[]): BootstrapMember[] {
  const candidates: BootstrapMember[] = [{ name: self.name, peerUrl: self.peerUrl, nonce: record.nonce }];
  for (const peer of here) {
    if (peer.state === "alive" && peer.facts !== undefined) {
      candidates.push({ name: peer.name, peerUrl: peer.peerUrl, nonce: peer.facts.nonce });
    }
  }
  return candidates.sort(byName);
}

/** Too few candidates, two with one identity, or so many silent addresses that they could be a cluster. */
function gatheringObstacle(
  view: View,
  candidates: readonly BootstrapMember[],
  loss: QuorumLoss | undefined,
): Reason | undefined {
  const size = view.settings.requiredSize;
  const twice = candidates.find((each, index) =>
    candidates.some((other, at) => at !== index && (other.name === each.name || other.peerUrl === each.peerUrl))
  );
  if (twice !== undefined) {
    return {
      code: "same_address_twice",
      text: `two nodes have the name "${twice.name}" or the peer URL "${twice.peerUrl}"`,
      hint: "start one of the two with a --name and a --peer-addr of its own, or stop it",
    };
  }
  if (candidates.length < size) return { code: "too_few_peers", text: gatheredText(candidates.length, view) };
  // After a quorum loss the silent members have already had the quorum-loss time-out.
  const missing = loss === undefined ? unaccounted(view) : [];
  if (missing.length < quorumOf(size)) return undefined;
  return {
    code: "too_many_silent",
    text: `${quotedNames(missing)} cannot be reached and could be a cluster of their own`,
    hint: "start them, or take the addresses of machines that are gone out of the bootstrap list",
  };
}

const byName = (a: { name: string }, b: { name: string }) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0;

/** The plan as every initial member computes it: equal input gives an equal token and digest on each. */
export function bootstrapPlanOf(
  initialMembers: readonly BootstrapMember[],
  source: Source,
  parent: Parent,
  newCluster?: string,
): BootstrapPlan {
  const sorted = [...initialMembers].sort(byName);
  const name = parent === undefined ? source.kind === "empty" ? newCluster : undefined : parent.name;
  const digest = digestOf(
    // Part of every digest: nodes of different e2d releases must compute the same one.
    "founding",
    ...sorted.flatMap((each) => [each.name, each.peerUrl, each.nonce]),
    JSON.stringify(source),
    parent === undefined ? "" : `${parent.id} ${parent.epoch}`,
    ...(name === undefined ? [] : [`named ${name}`]),
  );
  const token = `e2d-${digest.slice(0, 24)}`;
  const named = name === undefined ? {} : { name };
  const lineage: Lineage = parent === undefined ? { id: token, epoch: 1, token, ...named } : {
    id: parent.id,
    epoch: parent.epoch + 1,
    token,
    ...named,
    ...parent.from === undefined ? {} : { from: parent.from },
  };
  return { initialMembers: sorted, source, lineage, digest };
}

/**
 * N candidates: survivors first, then initial members of unresolved pledges, then by name. Undefined: an unresolved pledge
 * cannot be ruled out, because those of its initial members that are not chosen could be a quorum.
 */
function chooseInitialMembers(
  candidates: readonly BootstrapMember[],
  view: View,
  here: readonly GossipPeer[],
  loss: QuorumLoss | undefined,
): readonly BootstrapMember[] | undefined {
  const pledges: Pick<Pledge, "initialMembers">[] = [...view.record.pledges];
  for (const peer of here) pledges.push(...peer.facts?.pledges ?? []);
  // A disk counts under its former nonces as well: it starts nothing any more under those. A node without data at an
  // initial member's name and address proves that what that member held is gone.
  const nonces = new Map<string, readonly string[]>([
    [view.self.name, [view.record.nonce, ...view.record.formerNonces ?? []]],
  ]);
  for (const peer of here) {
    if (peer.facts !== undefined) nonces.set(peer.name, [peer.facts.nonce, ...peer.facts.formerNonces]);
  }
  const isHere = (each: BootstrapMember) =>
    nonces.get(each.name)?.includes(each.nonce) === true ||
    candidates.some((one) => one.name === each.name && one.peerUrl === each.peerUrl);

  const rank = ({ name }: BootstrapMember) => {
    if (loss?.survivors.includes(name)) return 0;
    const pledged = pledges.some((pledge) => pledge.initialMembers.some((each) => each.name === name && isHere(each)));
    return pledged ? 1 : 2;
  };
  const chosen = [...candidates].sort((a, b) => rank(a) - rank(b) || byName(a, b)).slice(0, view.settings.requiredSize);
  const isOpen = ({ initialMembers }: Pick<Pledge, "initialMembers">) => {
    const takePart = initialMembers.filter((each) => isHere(each) && chosen.some(({ name }) => name === each.name));
    return initialMembers.length - takePart.length >= quorumOf(initialMembers.length);
  };
  return pledges.some(isOpen) ? undefined : chosen;
}

/** This node's pledge to the plan. `verified`: manifest hash of its source; undefined when that is empty. */
/** `replaces`: cluster id of the data on this disk, if there is valid data. */
export function pledgeOf(plan: BootstrapPlan, verified: string | undefined, replaces?: string): Pledge {
  return {
    ...plan,
    token: plan.lineage.token,
    ...withoutUndefined({ verified }),
    ...withoutUndefined({ replaces }),
  };
}
