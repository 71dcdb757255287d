/**
 * How founders come from a proposal to a start: agree, get and verify the source, pledge, start. One step at a time,
 * each from the view alone. A node starts only when every founder has durably pledged to the very same founding, or
 * when one of them has started already (which proves that all had). Also the original's way to found, which knows
 * neither pledge nor token, for as long as a Go node is among the peers.
 */
import type { InitialMember } from "./effect.ts";
import { clusterSeen, pledgeOf, proposeFounding } from "./founding.ts";
import { settleMs } from "./start.ts";
import type { Founding, GossipPeer, Pledge, Reason, View } from "./view.ts";

/** What this process did for its current proposal. Lost with the process; the pledge is what lasts. */
export interface Progress {
  readonly founding?: Founding;
  /** Since when all founders have proposed the same. */
  readonly agreedSinceMs?: number;
  /** Manifest hash that lies verified on this machine. */
  readonly verified?: string;
  readonly offer?: { readonly hash: string; readonly revision: number; readonly url: string };
}

export type FoundingStep =
  | { readonly kind: "wait"; readonly reason: Reason; readonly founding?: Founding }
  | { readonly kind: "export"; readonly founding: Founding }
  | { readonly kind: "prepare"; readonly founding: Founding; readonly from?: string }
  | { readonly kind: "pledge"; readonly founding: Founding; readonly pledge: Pledge }
  | { readonly kind: "commit"; readonly pledge: Pledge; readonly reason: Reason }
  /** With Go nodes: say Pending and count. */
  | { readonly kind: "pending"; readonly reason: Reason }
  | { readonly kind: "commitWithGo"; readonly members: readonly InitialMember[]; readonly reason: Reason };

const present = (peer: GossipPeer) => peer.state === "alive" || peer.state === "suspect";
const list = (names: readonly string[]) => [...names].sort().map((name) => `"${name}"`).join(", ");

/** Founders whose facts do not satisfy `test`, by name. Self counts as satisfied. */
function lacking(
  founders: Founding["founders"],
  view: View,
  test: (facts: NonNullable<GossipPeer["facts"]>) => boolean,
): string[] {
  return founders.filter(({ name, nonce, peerUrl }) => {
    if (name === view.self.name) return false;
    const peer = view.peers.find((each) => each.name === name && each.state === "alive");
    const facts = peer?.peerUrl === peerUrl ? peer.facts : undefined;
    return facts === undefined || facts.nonce !== nonce || !test(facts);
  }).map(({ name }) => name);
}

/** True when every other founder proposes this founding now. */
export function agreed(founding: Founding, view: View): boolean {
  return lacking(founding.founders, view, (facts) => facts.proposal === founding.digest).length === 0;
}

export function decideFounding(view: View, progress: Progress): FoundingStep {
  const pledge = view.record.pledges.at(-1);
  // A founder that has moved since cannot be found where its pledge says: it comes in by another way.
  const inPlace = pledge?.founders.some((each) => each.name === view.self.name && each.peerUrl === view.self.peerUrl);
  if (pledge !== undefined && inPlace) {
    const started = view.peers.find((peer) =>
      present(peer) && peer.facts?.data.kind === "held" && peer.facts.data.lineage.token === pledge.token
    );
    if (started !== undefined) {
      return { kind: "commit", pledge, reason: { code: "founder_started", text: `"${started.name}" has started` } };
    }
    if (unpledged(pledge, view).length === 0) {
      return { kind: "commit", pledge, reason: { code: "all_pledged", text: "every founder has pledged" } };
    }
  }
  if (view.peers.some((peer) => present(peer) && peer.go)) return foundWithGo(view);

  const proposal = proposeFounding(view);
  if (proposal.kind === "wait") return proposal;
  const { founding } = proposal;
  const wait = (code: string, text: string, hint?: string): FoundingStep => ({
    kind: "wait",
    reason: { code, text, ...(hint === undefined ? {} : { hint }) },
    founding,
  });
  const pledged = (hash: string | undefined): FoundingStep => {
    // The same founding may be prepared twice; what counts is what was verified last.
    if (pledge?.digest === founding.digest && pledge.verified === hash) {
      return wait("pledged", `pledged; waiting for the pledge of ${list(unpledged(pledge, view))}`);
    }
    return { kind: "pledge", founding, pledge: pledgeOf(founding, hash) };
  };
  const disagree = lacking(founding.founders, view, (facts) => facts.proposal === founding.digest);
  const settled = progress.founding?.digest === founding.digest && progress.agreedSinceMs !== undefined &&
    (founding.founders.length === 1 || view.nowMs - progress.agreedSinceMs >= settleMs);
  if (disagree.length > 0 || !settled) {
    return wait(
      "views_settle",
      disagree.length > 0
        ? `waiting for ${list(disagree)} to see the same ${founding.founders.length} nodes`
        : "all see the same nodes; waiting for that to last",
    );
  }
  if (founding.source.kind === "empty") return pledged(undefined);

  const gate = approvalMissing(view, founding);
  if (gate !== undefined) return { kind: "wait", reason: gate, founding };
  if (founding.source.kind === "survivor") {
    const { name } = founding.source;
    if (name === view.self.name && progress.offer === undefined) return { kind: "export", founding };
    const offer = name === view.self.name
      ? progress.offer
      : view.peers.find((peer) => peer.name === name && peer.state === "alive")?.facts?.offer;
    if (offer === undefined) return wait("export_runs", `waiting for "${name}" to export its data`);
    if (progress.verified !== offer.hash) return { kind: "prepare", founding, from: offer.url };
  } else if (progress.verified === undefined) return { kind: "prepare", founding };
  const hash = progress.verified;
  const unverified = lacking(founding.founders, view, (facts) => facts.verified === hash);
  if (unverified.length > 0) return wait("verifying", `waiting for ${list(unverified)} to verify ${hash.slice(0, 12)}`);
  return pledged(hash);
}

/** Founders whose newest pledge is another one, or whose facts do not say so yet. */
function unpledged(pledge: Pledge, view: View): string[] {
  return lacking(pledge.founders, view, (facts) => {
    const last = facts.pledges.at(-1);
    return last?.digest === pledge.digest && last.verified === pledge.verified;
  });
}

/** `--restore=ask`, or a snapshot older than `--restore-max-age`: a human must name the plan. */
function approvalMissing(view: View, founding: Founding): Reason | undefined {
  const { settings, catalogue } = view;
  const tooOld = founding.source.kind === "snapshot" && catalogue.kind === "newest" &&
    settings.restoreMaxAgeMs !== undefined && view.nowWallMs - catalogue.takenAtWallMs > settings.restoreMaxAgeMs;
  if (settings.restore === "auto" && !tooOld) return undefined;
  const plan = founding.digest.slice(0, 16);
  const approvals = [settings.approved, ...view.peers.map((peer) => peer.facts?.approved ?? [])];
  if (approvals.some((approved) => approved.includes(plan))) return undefined;
  const { source } = founding;
  const takenAt = source.kind === "snapshot" && catalogue.kind === "newest"
    ? ` of ${new Date(catalogue.takenAtWallMs).toISOString().slice(0, 19)}Z`
    : "";
  const from = source.kind === "survivor" ? `survivor "${source.name}"` : `${source.kind}${takenAt}`;
  return {
    code: settings.restore === "never" ? "restore_never" : tooOld ? "snapshot_too_old" : "restore_asks",
    text: `restore plan ${plan}: ${from} at revision ${
      source.kind === "empty" ? 0 : source.revision
    }, waiting for approval`,
    hint: `run "e2d restore approve ${plan}"`,
  };
}

/**
 * The original founds when N nodes say Pending, with all e2d nodes it knows, and the default token. This node matches
 * that to the byte, and only when exactly N are known: with more, two Go nodes may count differently.
 */
function foundWithGo(view: View): FoundingStep {
  const { self, settings } = view;
  const wait = (code: string, text: string, hint?: string): FoundingStep => ({
    kind: "wait",
    reason: { code, text, ...(hint === undefined ? {} : { hint }) },
  });
  const known = view.peers.filter(present);
  const unclear = known.find((peer) => !peer.go && (peer.facts === undefined || peer.facts.data.kind !== "none"));
  if (unclear !== undefined) {
    return wait("waits_for_data", `"${unclear.name}" holds data, or has not said yet whether it does`);
  }
  if (settings.newCluster === undefined && settings.snapshots && view.catalogue.kind !== "absent") {
    return view.catalogue.kind === "unknown" ? wait("catalogue_unknown", "asking the store for a snapshot") : wait(
      "mixed_restore",
      "there is (or may be) a snapshot, and a restore together with nodes of the original cannot be proven",
      "replace the original's nodes first, then the snapshot is restored",
    );
  }
  const seen = clusterSeen(view, known);
  if (seen !== undefined) return seen;
  const count = known.length + 1;
  if (count < settings.requiredSize) {
    return wait("too_few_peers", `${count} of ${settings.requiredSize} nodes have gathered`);
  }
  if (count > settings.requiredSize) {
    return wait(
      "mixed_too_many",
      `${count} nodes are here for -n ${settings.requiredSize}, and nodes of the original are among them`,
      `stop ${count - settings.requiredSize} of them until the cluster runs`,
    );
  }
  const pending = known.filter((peer) => peer.status === "pending").length + 1;
  const reason = { code: "go_founding", text: `${pending} of ${count} nodes are ready to found as the original does` };
  if (pending < settings.requiredSize) return { kind: "pending", reason };
  const members = [...known, self].map(({ name, peerUrl }) => ({ name, peerUrl }))
    .sort((a, b) => `${a.name}=${a.peerUrl}` < `${b.name}=${b.peerUrl}` ? -1 : 1);
  return { kind: "commitWithGo", members, reason };
}
