/**
 * Whether N gathered nodes may found a cluster, and with whom. Decides the proposal that a node would take part in;
 * agreement, pledge and start are in commit.ts. It never proposes while any reachable peer holds data that may still
 * live, while anything is unknown, or while too many known addresses are silent for two groups to be excluded.
 */
import { digestOf } from "./digest.ts";
import { type QuorumLoss, quorumLost } from "./quorum.ts";
import {
  type CatalogueDigest,
  type Founder,
  type Founding,
  type GossipPeer,
  type Lineage,
  type PeerFacts,
  type Pledge,
  quorumOf,
  type Reason,
  type SeenCluster,
  type Settings,
  type Source,
  type View,
} from "./view.ts";

export type Proposal =
  | { readonly kind: "propose"; readonly founding: Founding }
  | { readonly kind: "wait"; readonly reason: Reason; readonly spare?: boolean };

const wait = (code: string, text: string, hint?: string): Waiting => ({
  kind: "wait",
  reason: { code, text, ...(hint === undefined ? {} : { hint }) },
});

const present = (peer: GossipPeer) => peer.state === "alive" || peer.state === "suspect";
const list = (names: readonly string[]) => [...names].sort().map((name) => `"${name}"`).join(", ");

export function proposeFounding(view: View): Proposal {
  const { self, settings, record } = view;
  const size = settings.requiredSize;
  const here = view.peers.filter(present);

  const silent = here.filter((peer) => !peer.go && peer.facts === undefined);
  if (silent.length > 0) {
    return wait("facts_missing", `waiting for ${list(silent.map((peer) => peer.name))} to say whether it holds data`);
  }
  const looking = here.filter((peer) => peer.facts?.data.kind === "unknown");
  if (looking.length > 0) {
    return wait("peer_looks", `waiting for ${list(looking.map((peer) => peer.name))} to look at its data-dir`);
  }
  const otherSize = here.find((peer) => peer.facts !== undefined && peer.facts.requiredSize !== size);
  if (otherSize !== undefined) {
    return wait(
      "size_contradiction",
      `"${otherSize.name}" was started with -n ${otherSize.facts!.requiredSize}, this node with -n ${size}`,
      "start all nodes with the same -n",
    );
  }
  const unusable = here.find((peer) => peer.facts?.data.kind === "unusable");
  if (unusable !== undefined) {
    return wait(
      "peer_data_unusable",
      `"${unusable.name}" has a data-dir that it cannot use, and nobody else may found over it`,
      `repair its data-dir or move it aside`,
    );
  }

  // A peer's data always comes first, unless those who hold it have all found their quorum lost.
  const loss = quorumLost(view);
  const holders = here.filter((peer) => peer.facts?.data.kind === "held");
  if (loss === undefined && holders.length > 0) {
    return wait(
      "waits_for_data",
      `${list(holders.map((peer) => peer.name))} holds data and starts first; this node joins once its etcd answers`,
    );
  }

  const candidates: Founder[] = [{ name: self.name, peerUrl: self.peerUrl, nonce: record.nonce }];
  for (const peer of here) {
    if (peer.state === "alive" && peer.facts !== undefined) {
      candidates.push({ name: peer.name, peerUrl: peer.peerUrl, nonce: peer.facts.nonce });
    }
  }
  candidates.sort(byName);
  const twice = candidates.find((each, index) =>
    candidates.some((other, at) => at !== index && (other.name === each.name || other.peerUrl === each.peerUrl))
  );
  if (twice !== undefined) {
    return wait("same_address_twice", `two nodes have the name "${twice.name}" or the peer URL "${twice.peerUrl}"`);
  }
  if (candidates.length < size) {
    return wait("too_few_peers", `${candidates.length} of ${size} nodes have gathered`);
  }

  // For a lost quorum the silence of the others is what its time-out has waited out.
  const missing = loss === undefined ? unaccounted(view) : [];
  if (missing.length >= quorumOf(size)) {
    return wait(
      "too_many_silent",
      `${list(missing)} cannot be reached and could be a cluster of their own`,
      "start them, or take the addresses of machines that are gone out of the bootstrap list",
    );
  }

  const silentVoters = loss === undefined ? silentCluster(view, candidates) : [];
  if (silentVoters.length > 0) {
    return wait(
      "cluster_silent",
      `a cluster of ${list(silentVoters)} ran a while ago and may run still`,
      "start its members, which get --quorum-loss-timeout to come back; to give it up, pass --new-cluster NAME to all",
    );
  }

  const source = sourceOf(view, here, loss);
  if (source.kind === "wait") return source;
  const founders = chooseFounders(candidates, view, here, loss);
  if (founders === undefined) {
    return wait(
      "pledged_elsewhere",
      "an earlier founding may still come true: too few of those who pledged to it are here to rule it out",
      "bring its nodes back, or pass --new-cluster on a clean data-dir",
    );
  }
  const founding = foundingOf(founders, source.source, source.lineage);
  if (!founders.some((each) => each.name === self.name)) {
    return {
      kind: "wait",
      spare: true,
      reason: {
        code: "spare",
        text: `${list(founders.map((each) => each.name))} found the cluster; this node is a spare`,
      },
    };
  }
  return { kind: "propose", founding };
}

const byName = (a: { name: string }, b: { name: string }) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0;

/**
 * Known addresses that nobody here answers for: bootstrap peers, and every peer that gossip still remembers. As long
 * as fewer than a quorum are silent, they can neither be a living cluster nor found one of their own.
 */
export function unaccounted(view: View): string[] {
  const known = new Set(view.settings.seeds);
  const here = new Set([view.self.gossipAddr]);
  for (const peer of view.peers) (peer.state === "alive" ? here : known).add(peer.gossipAddr);
  return [...known].filter((address) => !here.has(address));
}

/**
 * Voters of the last cluster that this node saw alive and that are not here. Even one may be a cluster still: those
 * who are here hold no data, and may have been removed after this node last looked. The missing get the quorum-loss
 * time-out to come back, as survivors would give it to them.
 */
function silentCluster(view: View, candidates: readonly Founder[]): readonly string[] {
  const { lastCluster, nowMs, watchingSinceMs, record, settings } = view;
  const timeoutMs = settings.quorumLossTimeoutMs;
  if (lastCluster === undefined || record.seen !== undefined && givenUp(settings, record.seen)) return [];
  if (timeoutMs !== "never" && nowMs - Math.max(lastCluster.atMs, watchingSinceMs) >= timeoutMs) return [];
  const missing = lastCluster.voters.filter((voter) =>
    !candidates.some((each) => each.peerUrl === voter.peerUrl || each.name === voter.name)
  );
  return missing.map((voter) => voter.name);
}

/** The founding as all its founders compute it: equal input gives equal token and digest everywhere. */
export function foundingOf(
  founders: readonly Founder[],
  source: Source,
  parent: { id: string; epoch: number } | undefined,
): Founding {
  const sorted = [...founders].sort(byName);
  const digest = digestOf(
    "founding",
    ...sorted.flatMap((each) => [each.name, each.peerUrl, each.nonce]),
    JSON.stringify(source),
    parent === undefined ? "" : `${parent.id} ${parent.epoch}`,
  );
  const token = `e2d-${digest.slice(0, 24)}`;
  const lineage: Lineage = parent === undefined
    ? { id: token, epoch: 1, token }
    : { id: parent.id, epoch: parent.epoch + 1, token };
  return { founders: sorted, source, lineage, digest };
}

/** What this node says of the store. `--new-cluster` makes it blind to what is there. */
export function catalogueDigest(view: View): CatalogueDigest | undefined {
  const { catalogue, settings } = view;
  if (!settings.snapshots) return "unconfigured";
  if (settings.newCluster !== undefined) return "absent";
  switch (catalogue.kind) {
    case "unknown":
      return undefined;
    case "unconfigured":
    case "absent":
    case "unreadable":
      return catalogue.kind;
    case "newest":
      return `newest:${catalogue.hash}`;
    default:
      return catalogue satisfies never;
  }
}

type Waiting = Extract<Proposal, { kind: "wait" }>;
type SourceOutcome = { kind: "source"; source: Source; lineage: { id: string; epoch: number } | undefined } | Waiting;

function sourceOf(view: View, here: readonly GossipPeer[], loss: QuorumLoss | undefined): SourceOutcome {
  const { catalogue, settings } = view;
  const own = catalogueDigest(view);
  if (own === undefined) return wait("catalogue_unknown", "asking the store for a snapshot");
  if (own === "unreadable" && catalogue.kind === "unreadable") {
    return wait(
      "snapshot_unreadable",
      `the snapshot cannot be read (${catalogue.why}), and an unreadable snapshot never becomes an empty cluster`,
      catalogue.hint ?? "mend the access to the store, or pass --new-cluster NAME to begin empty",
    );
  }
  for (const peer of here) {
    const theirs = peer.facts?.catalogue;
    if (peer.facts === undefined || theirs === own) continue;
    if (theirs === undefined) return wait("catalogue_unknown", `"${peer.name}" is asking the store for a snapshot`);
    return wait(
      "catalogue_contradiction",
      `this node finds the store ${own}, "${peer.name}" finds it ${theirs}`,
      "give all nodes the same snapshot URL, credentials and key",
    );
  }
  const stored = catalogue.kind === "newest" && own.startsWith("newest:") ? catalogue : undefined;
  if (loss !== undefined) {
    const sameLine = stored?.lineage?.id === loss.lineage.id ? stored : undefined;
    const epoch = Math.max(loss.lineage.epoch, sameLine?.epochMax ?? 0);
    // On equal revisions the survivor wins: its log may hold what the snapshot has not.
    if (sameLine !== undefined && sameLine.revision > loss.revision) {
      return source({ kind: "snapshot", hash: sameLine.hash, revision: sameLine.revision }, loss.lineage.id, epoch);
    }
    return source({ kind: "survivor", name: loss.name, revision: loss.revision }, loss.lineage.id, epoch);
  }
  if (stored === undefined) {
    return clusterSeen(view, here) ?? { kind: "source", source: { kind: "empty" }, lineage: undefined };
  }
  if (settings.restore === "never") {
    return wait(
      "restore_never",
      "there is a snapshot, nobody holds data, and --restore=never forbids to restore it",
      "pass --restore=auto to restore it, or --new-cluster NAME to begin empty",
    );
  }
  const from: Source = { kind: "snapshot", hash: stored.hash, revision: stored.revision };
  if (stored.lineage === undefined) return { kind: "source", source: from, lineage: undefined };
  return source(from, stored.lineage.id, Math.max(stored.lineage.epoch, stored.epochMax));
}

/** Why nothing empty is founded: somebody here knows of a cluster, whose data must be somewhere. */
export function clusterSeen({ record, settings, self }: View, here: readonly GossipPeer[]): Waiting | undefined {
  const witnesses: { name: string; seen: PeerFacts["seen"] }[] = [{ name: self.name, seen: record.seen }];
  for (const { name, facts } of here) witnesses.push({ name, seen: facts?.seen });
  const witness = witnesses.find(({ seen }) => seen !== undefined && !givenUp(settings, seen));
  if (witness === undefined) return undefined;
  return wait(
    "cluster_seen",
    `"${witness.name}" has seen cluster ${
      witness.seen!.clusterId
    } run; nobody here holds its data, and no empty one takes its place`,
    "start the nodes with its data, or mount their disks and start them again; to give it up, pass --new-cluster with a new NAME to all",
  );
}

/** `--new-cluster` names what comes after a cluster, and gives up no later one. */
function givenUp({ newCluster }: Settings, seen: Pick<SeenCluster, "newCluster">): boolean {
  return newCluster !== undefined && newCluster !== seen.newCluster;
}

const source = (from: Source, id: string, epoch: number): SourceOutcome => ({
  kind: "source",
  source: from,
  lineage: { id, epoch },
});

/**
 * The N first by name, but whoever must be in it comes first: survivors, then the founders of an unresolved pledge
 * whose founders are all here. Undefined when an unresolved pledge cannot be ruled out.
 */
function chooseFounders(
  candidates: readonly Founder[],
  view: View,
  here: readonly GossipPeer[],
  loss: QuorumLoss | undefined,
): readonly Founder[] | undefined {
  const pledges: { founders: readonly Founder[] }[] = [...view.record.pledges];
  for (const peer of here) pledges.push(...peer.facts?.pledges ?? []);
  // A disk is itself under its former nonces, too: under those it starts nothing any more. And a node without data
  // that has a founder's name and address proves that what that founder had is gone.
  const nonces = new Map<string, readonly string[]>([
    [view.self.name, [view.record.nonce, ...view.record.formerNonces ?? []]],
  ]);
  for (const peer of here) {
    if (peer.facts !== undefined) nonces.set(peer.name, [peer.facts.nonce, ...peer.facts.formerNonces]);
  }
  const isHere = (each: Founder) =>
    nonces.get(each.name)?.includes(each.nonce) === true ||
    candidates.some((one) => one.name === each.name && one.peerUrl === each.peerUrl);
  const among = (founders: readonly Founder[], set: readonly Founder[]) =>
    founders.filter((each) => isHere(each) && set.some((one) => one.name === each.name)).length;

  const rank = (founder: Founder) => {
    if (loss?.survivors.includes(founder.name)) return 0;
    const pledged = pledges.some((pledge) =>
      pledge.founders.some((each) => each.name === founder.name && isHere(each))
    );
    return pledged ? 1 : 2;
  };
  const chosen = [...candidates].sort((a, b) => rank(a) - rank(b) || byName(a, b)).slice(0, view.settings.requiredSize);
  // A pledge is ruled out when so many of its founders take part in this one that the others are no quorum.
  const open = pledges.some((pledge) => {
    const size = pledge.founders.length;
    return size - among(pledge.founders, chosen) >= quorumOf(size);
  });
  return open ? undefined : chosen;
}

/** A pledge for this founding. */
export function pledgeOf(founding: Founding, verified: string | undefined): Pledge {
  return { ...founding, token: founding.lineage.token, ...(verified === undefined ? {} : { verified }) };
}
