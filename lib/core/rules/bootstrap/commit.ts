/**
 * How initial members get from a proposal to a running etcd: agree on one plan, fetch and verify its source, pledge,
 * start; one step at a time, each derived from the view alone. A node starts only after every initial member has durably
 * pledged to the same plan, or after one of them has started, which proves that all had. While a legacy peer is present,
 * the original's procedure applies, which has neither pledge nor token.
 */
import type { InitialMember } from "../../facts/effect.ts";
import { isApproved, planOf } from "../../evidence/order.ts";
import { ownLineage } from "../../evidence/lineage.ts";
import { gatheredText } from "../gathering.ts";
import { pledgeOf, proposeBootstrap } from "./proposal.ts";
import { clusterSeen, lookupDigest, takenAtWallMs } from "./source.ts";
import { stopOfBootstrap } from "../stops.ts";
import type { View } from "../../facts/view.ts";
import { settleMs } from "../../evidence/running_cluster.ts";
import type { BootstrapPlan, Pledge } from "../../facts/node_record.ts";
import { type GossipPeer, isPresent } from "../../facts/peer.ts";
import { quotedNames, type Reason } from "../../facts/reason.ts";

/** What this process did for its current proposal. Lost with the process; only the pledge survives it. */
export interface BootstrapProgress {
  readonly plan?: BootstrapPlan;
  /** Since when all initial members have proposed the same plan. */
  readonly agreedSinceMs?: number;
  /** Manifest hash of the source that is verified on this machine. */
  readonly verified?: string;
  readonly offer?: Offer;
}

/** The export of a survivor, as the survivor publishes it. */
type Offer = NonNullable<NonNullable<GossipPeer["facts"]>["offer"]>;

export type BootstrapStep =
  | { readonly kind: "wait"; readonly reason: Reason; readonly plan?: BootstrapPlan }
  | { readonly kind: "export"; readonly plan: BootstrapPlan }
  | { readonly kind: "prepare"; readonly plan: BootstrapPlan; readonly from?: string }
  | { readonly kind: "pledge"; readonly plan: BootstrapPlan; readonly pledge: Pledge }
  | { readonly kind: "commit"; readonly pledge: Pledge; readonly reason: Reason }
  /** Legacy peers are present: publish the status Pending and count. */
  | { readonly kind: "pending"; readonly reason: Reason }
  | { readonly kind: "commitWithLegacyPeers"; readonly members: readonly InitialMember[]; readonly reason: Reason };

/** Names of the initial members whose published facts do not satisfy `test`. Self counts as satisfied. */
function lacking(
  { initialMembers }: Pick<BootstrapPlan, "initialMembers">,
  view: View,
  test: (facts: NonNullable<GossipPeer["facts"]>) => boolean,
): string[] {
  return initialMembers.filter(({ name, nonce, peerUrl }) => {
    if (name === view.self.name) return false;
    const peer = view.peers.find((each) => each.name === name && each.state === "alive");
    const facts = peer?.peerUrl === peerUrl ? peer.facts : undefined;
    return facts === undefined || facts.nonce !== nonce || !test(facts);
  }).map(({ name }) => name);
}

const lackingProposal = (plan: BootstrapPlan, view: View): string[] =>
  lacking(plan, view, (facts) => facts.proposal === plan.digest);

/** Initial members whose newest pledge is another one, or who have not published it yet. */
const lackingPledge = (pledge: Pledge, view: View): string[] =>
  lacking(pledge, view, (facts) => {
    const last = facts.pledges.at(-1);
    return last?.digest === pledge.digest && last.verified === pledge.verified;
  });

/** True when every other initial member proposes this plan now. */
export function agreed(plan: BootstrapPlan, view: View): boolean {
  return lackingProposal(plan, view).length === 0;
}

export function decideBootstrap(view: View, progress: BootstrapProgress): BootstrapStep {
  const stop = stopOfBootstrap(view);
  if (stop !== undefined) return { kind: "wait", reason: stop };
  const committed = commitToPledge(view);
  if (committed !== undefined) return committed;
  if (view.peers.some((peer) => isPresent(peer) && peer.isLegacy)) return bootstrapWithLegacyPeers(view);

  const proposal = proposeBootstrap(view);
  if (proposal.kind === "wait") return proposal;
  const { plan } = proposal;
  const unsettled = viewsSettle(plan, view, progress);
  if (unsettled !== undefined) return { kind: "wait", reason: unsettled, plan };
  if (proposal.ask !== undefined) return { kind: "wait", reason: proposal.ask, plan };
  if (plan.source.kind === "empty") return pledgeStep(plan, view, undefined);
  const gate = approvalMissing(view, plan);
  if (gate !== undefined) return { kind: "wait", reason: gate, plan };
  return verifySource(plan, view, progress);
}

/** The pledge of this node once all others have pledged the same, or one of them has started; undefined: not yet. */
function commitToPledge(view: View): BootstrapStep | undefined {
  const pledge = view.record.pledges.at(-1);
  // An initial member whose address has changed cannot be reached where its pledge names it: it joins instead.
  const inPlace = pledge?.initialMembers.some(({ name, peerUrl }) =>
    name === view.self.name && peerUrl === view.self.peerUrl
  );
  if (pledge === undefined || !inPlace || isBack(view, pledge)) return undefined;
  const started = view.peers.find((peer) =>
    isPresent(peer) && peer.facts?.data.kind === "held" && peer.facts.data.lineage.token === pledge.token
  );
  if (started !== undefined) {
    return {
      kind: "commit",
      pledge,
      reason: { code: "initial_member_started", text: `"${started.name}" has started` },
    };
  }
  if (lackingPledge(pledge, view).length > 0) return undefined;
  return { kind: "commit", pledge, reason: { code: "all_pledged", text: "every initial member has pledged" } };
}

/** The data on this disk was not there when the node pledged: the order of evidence decides between it and the pledge. */
function isBack(view: View, pledge: Pledge): boolean {
  return view.data.kind === "valid" && pledge.replaces !== view.data.clusterId &&
    ownLineage(view)?.token !== pledge.token;
}

/** Why the proposals of the initial members are not settled; undefined: all agreed, and for long enough. */
function viewsSettle(plan: BootstrapPlan, view: View, progress: BootstrapProgress): Reason | undefined {
  const disagree = lackingProposal(plan, view);
  if (disagree.length > 0) {
    const text = `waiting for ${quotedNames(disagree)} to see the same ${plan.initialMembers.length} nodes`;
    return { code: "views_settle", text };
  }
  const settled = progress.plan?.digest === plan.digest && progress.agreedSinceMs !== undefined &&
    (plan.initialMembers.length === 1 || view.nowMs - progress.agreedSinceMs >= settleMs);
  if (settled) return undefined;
  return { code: "views_settle", text: "all initial members see the same nodes; waiting for their views to settle" };
}

/** Every initial member verifies the same source before any of them pledges. */
function verifySource(plan: BootstrapPlan, view: View, progress: BootstrapProgress): BootstrapStep {
  const wait = (code: string, text: string): BootstrapStep => ({ kind: "wait", reason: { code, text }, plan });
  if (plan.source.kind === "survivor") {
    const { name } = plan.source;
    if (name === view.self.name && progress.offer === undefined) return { kind: "export", plan };
    const offer = name === view.self.name
      ? progress.offer
      : view.peers.find((peer) => peer.name === name && peer.state === "alive")?.facts?.offer;
    if (offer === undefined) return wait("export_runs", `waiting for "${name}" to export its data`);
    if (progress.verified !== offer.hash) return { kind: "prepare", plan, from: offer.url };
  } else if (progress.verified === undefined) return { kind: "prepare", plan };
  const hash = progress.verified;
  const unverified = lacking(plan, view, (facts) => facts.verified === hash);
  if (unverified.length > 0) {
    return wait("verifying", `waiting for ${quotedNames(unverified)} to verify ${hash.slice(0, 12)}`);
  }
  return pledgeStep(plan, view, hash);
}

function pledgeStep(plan: BootstrapPlan, view: View, verified: string | undefined): BootstrapStep {
  const pledge = view.record.pledges.at(-1);
  const replaces = view.data.kind === "valid" ? view.data.clusterId : undefined;
  // One plan may be prepared twice: only a pledge to what was verified last counts.
  if (pledge?.digest !== plan.digest || pledge.verified !== verified || pledge.replaces !== replaces) {
    return { kind: "pledge", plan, pledge: pledgeOf(plan, verified, replaces) };
  }
  const text = `pledged; waiting for the pledge of ${quotedNames(lackingPledge(pledge, view))}`;
  return { kind: "wait", reason: { code: "pledged", text }, plan };
}

/** `--restore=ask`, or a snapshot older than `--restore-max-age`: an operator must approve the plan by its name. */
function approvalMissing(view: View, { source, digest }: BootstrapPlan): Reason | undefined {
  const { settings } = view;
  const takenMs = takenAtWallMs(view, source);
  // A snapshot of unknown age counts as older than any limit.
  const tooOld = source.kind === "snapshot" && settings.restoreMaxAgeMs !== undefined &&
    (takenMs === undefined || view.nowWallMs - takenMs > settings.restoreMaxAgeMs);
  if (settings.restore === "auto" && !tooOld) return undefined;
  if (isApproved(view, digest)) return undefined;
  const plan = planOf(digest);
  const takenAt = takenMs === undefined ? "" : ` of ${new Date(takenMs).toISOString().slice(0, 19)}Z`;
  const from = source.kind === "survivor" ? `survivor "${source.name}"` : `${source.kind}${takenAt}`;
  const revision = source.kind === "empty" ? 0 : source.revision;
  return {
    code: settings.restore === "never" ? "restore_never" : tooOld ? "snapshot_too_old" : "restore_asks",
    text: `restore plan ${plan}: ${from} at revision ${revision}, waiting for approval`,
    hint: `run "e2d restore approve ${plan}"`,
  };
}

/**
 * The original bootstraps when N nodes have the status Pending, with all e2d nodes that it knows and the default token.
 * This node starts etcd with exactly the same arguments, and only while exactly N nodes are known: with more, two legacy
 * peers may count differently.
 */
function bootstrapWithLegacyPeers(view: View): BootstrapStep {
  const { self, settings } = view;
  const known = view.peers.filter(isPresent);
  const obstacle = legacyObstacle(view, known);
  if (obstacle !== undefined) return { kind: "wait", reason: obstacle };
  const count = known.length + 1;
  const pending = known.filter((peer) => peer.status === "pending").length + 1;
  const reason = {
    code: "legacy_bootstrap",
    text: `${pending} of ${count} nodes are ready to bootstrap as the Go e2d does`,
  };
  if (pending < settings.requiredSize) return { kind: "pending", reason };
  const members = [...known, self].map(({ name, peerUrl }) => ({ name, peerUrl }))
    .sort((a, b) => `${a.name}=${a.peerUrl}` < `${b.name}=${b.peerUrl}` ? -1 : 1);
  return { kind: "commitWithLegacyPeers", members, reason };
}

/** Why no cluster is bootstrapped together with legacy peers; undefined: exactly N nodes without data are present. */
function legacyObstacle(view: View, known: readonly GossipPeer[]): Reason | undefined {
  const { requiredSize } = view.settings;
  const unclear = known.find((peer) => !peer.isLegacy && (peer.facts === undefined || peer.facts.data.kind !== "none"));
  if (unclear !== undefined) {
    return { code: "peer_holds_data", text: `"${unclear.name}" holds data, or has not reported yet whether it does` };
  }
  const stored = lookupDigest(view);
  if (stored !== "absent" && stored !== "unconfigured") {
    if (view.snapshotLookup.kind === "unknown") {
      return { code: "snapshot_unknown", text: "asking the store for a snapshot" };
    }
    return {
      code: "mixed_restore",
      text: "the store has (or may have) a snapshot, and nodes of the Go e2d cannot agree on a restore",
      hint: "replace the nodes of the Go e2d first, then the snapshot is restored",
    };
  }
  const seen = clusterSeen(view, known);
  if (seen !== undefined) return seen;
  const count = known.length + 1;
  if (count < requiredSize) return { code: "too_few_peers", text: gatheredText(count, view) };
  if (count === requiredSize) return undefined;
  return {
    code: "mixed_too_many",
    text: `${count} nodes are present for -n ${requiredSize}, and nodes of the Go e2d are among them`,
    hint: `stop ${count - requiredSize} of them until the cluster runs`,
  };
}
