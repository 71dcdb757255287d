/**
 * What a new cluster is made from, by the order of evidence: a survivor's disk before any snapshot, a snapshot of the
 * lineage that records name before any other, an empty cluster only where the store has proven that it holds nothing and
 * no node has seen a cluster. Where the facts contradict each other it names the choices and leaves them to an operator.
 */
import { withoutUndefined } from "../../../without_undefined.ts";
import { digestOf } from "../../facts/digest.ts";
import type { View } from "../../facts/view.ts";
import type { QuorumLoss } from "../quorum_loss.ts";
import type { SnapshotLookup, StoredLife } from "../../facts/snapshot_lookup.ts";
import type { GossipPeer, LookupDigest, PeerFacts } from "../../facts/peer.ts";
import type { Lineage, Source } from "../../facts/node_record.ts";
import type { Reason } from "../../facts/reason.ts";
import type { Settings } from "../../facts/settings.ts";
import { isGivenUp } from "../../evidence/lineage.ts";

/** The lineage that a restore continues; undefined: a new one begins. */
export type Parent = Pick<Lineage, "id" | "epoch" | "name" | "from"> | undefined;

export interface SourceChoice {
  readonly source: Source;
  readonly parent: Parent;
  /** For an operator: `the snapshot of …`. */
  readonly label: string;
}

export type SourceOutcome =
  /** The first choice is taken, unless `ask` says that an operator must approve one of them. */
  | { readonly kind: "choices"; readonly choices: readonly SourceChoice[]; readonly ask?: Omit<Reason, "hint"> }
  | { readonly kind: "wait"; readonly reason: Reason };

type Newest = Extract<SnapshotLookup, { kind: "newest" }>;

const wait = (code: string, text: string, hint?: string): SourceOutcome => ({
  kind: "wait",
  reason: { code, text, ...withoutUndefined({ hint }) },
});

/**
 * What this node publishes of the store, and what all initial members must find alike; undefined: it does not know yet. Of
 * a store with snapshots it is the digest of everything that {@link sourceOf} decides from.
 */
export function lookupDigest(view: View): LookupDigest | undefined {
  const { snapshotLookup, settings } = view;
  if (!settings.snapshots) return "unconfigured";
  switch (snapshotLookup.kind) {
    case "unknown":
      return undefined;
    case "unconfigured":
    case "absent":
    case "unreadable":
      return snapshotLookup.kind;
    case "newest":
      // An operator began anew beside these snapshots, by a name that has not begun a cluster yet.
      return beginsAnew(settings, snapshotLookup) ? "absent" : `newest:${digestOfStore(snapshotLookup)}`;
    default:
      return snapshotLookup satisfies never;
  }
}

/** In the order that the store shows the lives in: of several that fit a rule takes the first. */
function digestOfStore(newest: Newest): string {
  const lives = livesOf(newest).map(({ lineage, newest: { hash, revision, takenAtWallMs }, parentToken }) => [
    hash,
    revision,
    takenAtWallMs,
    ...lineage === undefined ? [] : [lineage.id, lineage.epoch, lineage.token, lineage.name ?? ""],
    parentToken ?? "",
  ]);
  const { hash, lineage, epochMax, fork = false } = newest;
  return digestOf("store", JSON.stringify([hash, lineage?.id ?? "", epochMax, fork, lives]));
}

/** `--new-cluster NAME` with snapshots in the store: it counts until a cluster of that name has saved one. */
function beginsAnew({ newCluster }: Settings, lookup: Newest): boolean {
  return newCluster !== undefined && !livesOf(lookup).some(({ lineage }) => lineage?.name === newCluster);
}

/** When the snapshot of that hash was taken; undefined: it is not among those that the store shows. */
export function takenAtWallMs({ snapshotLookup }: Pick<View, "snapshotLookup">, source: Source): number | undefined {
  if (source.kind !== "snapshot" || snapshotLookup.kind !== "newest") return undefined;
  return livesOf(snapshotLookup).find(({ newest }) => newest.hash === source.hash)?.newest.takenAtWallMs;
}

/** Different stores, or different lives and epochs in one, have different digests. */
const foundText = (found: LookupDigest) =>
  found.startsWith("newest:")
    ? `with snapshots (digest ${found.slice("newest:".length, "newest:".length + 12)})`
    : found;

type Life = Omit<StoredLife, "lineage"> & { readonly lineage: Lineage | undefined };

function livesOf({ hash, revision, takenAtWallMs, lineage, lives }: Newest): readonly Life[] {
  return lives !== undefined && lives.length > 0 ? lives : [{ lineage, newest: { hash, revision, takenAtWallMs } }];
}

export function sourceOf(view: View, here: readonly GossipPeer[], loss: QuorumLoss | undefined): SourceOutcome {
  const { snapshotLookup, settings } = view;
  const own = lookupDigest(view);
  if (own === undefined) return wait("snapshot_unknown", "asking the store for a snapshot");
  if (own === "unreadable" && snapshotLookup.kind === "unreadable") {
    return wait(
      "snapshot_unreadable",
      `the snapshot cannot be read (${snapshotLookup.why}), and an unreadable snapshot never becomes an empty cluster`,
      snapshotLookup.hint ??
        "restore the access to the store; to begin empty, pass a --snapshot-backup-url of its own to all nodes",
    );
  }
  for (const peer of here) {
    const theirs = peer.facts?.snapshotLookup;
    if (peer.facts === undefined || theirs === own) continue;
    if (theirs === undefined) return wait("snapshot_unknown", `"${peer.name}" is asking the store for a snapshot`);
    return wait(
      "snapshot_contradiction",
      `this node finds the store ${foundText(own)}, "${peer.name}" finds it ${foundText(theirs)}`,
      "give all nodes the same snapshot URL, credentials, key and --new-cluster",
    );
  }
  const stored = snapshotLookup.kind === "newest" && own.startsWith("newest:") ? snapshotLookup : undefined;
  if (loss !== undefined) return fromSurvivor(loss, stored);
  if (stored === undefined) {
    const seen = clusterSeen(view, here);
    if (seen !== undefined) return { kind: "wait", reason: seen };
    return { kind: "choices", choices: [{ source: { kind: "empty" }, parent: undefined, label: "an empty cluster" }] };
  }
  if (settings.restore === "never") {
    return wait(
      "restore_never",
      "there is a snapshot, no node holds data, and --restore=never forbids to restore it",
      "pass --restore=auto to restore it, or --new-cluster with a new NAME to begin empty",
    );
  }
  return fromStore(view, here, stored);
}

/**
 * A survivor's disk outranks every snapshot. A snapshot of its very life with a higher revision shows that it lags, and
 * a newer life in the store that it may have been recovered elsewhere: then an operator chooses.
 */
function fromSurvivor(loss: QuorumLoss, stored: Newest | undefined): SourceOutcome {
  const { id, epoch, name, token } = loss.lineage;
  const lives = (stored === undefined ? [] : livesOf(stored)).filter(({ lineage }) => lineage?.id === id);
  const storedMax = stored?.lineage?.id === id ? stored.epochMax : 0;
  const epochMax = Math.max(epoch, ...lives.map(({ lineage }) => lineage!.epoch), storedMax);
  const from = { token, revision: loss.revision };
  const parent = { id, epoch: epochMax, from, ...withoutUndefined({ name }) };
  const survivor: SourceChoice = {
    source: { kind: "survivor", name: loss.name, revision: loss.revision },
    parent,
    label: `the data of "${loss.name}" at revision ${loss.revision}`,
  };
  const newer = lives.find(({ lineage }) => lineage!.epoch > epoch);
  const ahead = lives.find(({ lineage, newest }) => lineage!.token === token && newest.revision > loss.revision);
  const rival = newer ?? ahead;
  if (rival === undefined) return { kind: "choices", choices: [survivor] };
  const choices = [survivor, choiceOf(rival, parent.epoch)];
  const text = newer === undefined
    ? `"${loss.name}" has revision ${loss.revision}, and the store a snapshot of revision ${rival.newest.revision}`
    : `the store holds epoch ${newer.lineage!.epoch} of this lineage, and "${loss.name}" has epoch ${epoch}`;
  const code = newer === undefined ? "survivor_behind" : "other_life_stored";
  return { kind: "choices", choices, ask: { code, text: `${text}: an operator must choose` } };
}

function choiceOf({ lineage, newest, branch }: Life, epochMax: number): SourceChoice {
  const { hash, revision, takenAtWallMs } = newest;
  const at = new Date(takenAtWallMs).toISOString().slice(0, 19);
  const part = branch === undefined ? "" : `, branch ${branch}`;
  const epoch = lineage === undefined ? "" : ` (epoch ${lineage.epoch}, life ${lineage.token.slice(-8)}${part})`;
  return {
    source: { kind: "snapshot", hash, revision },
    parent: lineage === undefined ? undefined : {
      id: lineage.id,
      epoch: Math.max(lineage.epoch, epochMax),
      from: { token: lineage.token, revision },
      ...withoutUndefined({ name: lineage.name }),
    },
    label: `the snapshot of ${at}Z at revision ${revision}${epoch}`,
  };
}

/** The newest snapshot of the lineage that records name; where they name none and the store has a fork, all of them. */
function fromStore(view: View, here: readonly GossipPeer[], stored: Newest): SourceOutcome {
  const lives = livesOf(stored);
  const known = knownLineages(view, here);
  const named = lives.filter(({ lineage }) => lineage !== undefined && known.some(({ id }) => id === lineage.id));
  const candidates = named.length > 0 ? named : lives;
  if (known.length > 0 && named.length === 0) {
    const choices = lives.map((life) => choiceOf(life, epochMaxOf(life, lives, stored)));
    const text =
      "the store holds no snapshot of the cluster that this node's record names, but one of another or unknown descent";
    return { kind: "choices", choices, ask: { code: "other_lineage_stored", text } };
  }
  const best = bestOf(candidates, known);
  const choices = [best, ...candidates.filter((life) => life !== best)]
    .map((life) => choiceOf(life, epochMaxOf(life, lives, stored)));
  // A record names a life, and none of its branches: which disks were rolled back, and whether on purpose, no node knows.
  const branches = candidates.filter(({ lineage }) => isSameLife(lineage, best.lineage)).length;
  if (branches > 1) {
    const text = `the store holds ${branches} branches of epoch ${best.lineage?.epoch}: a disk was rolled back, and ` +
      "the cluster went on from there: an operator must choose";
    return { kind: "choices", choices, ask: { code: "stored_fork", text } };
  }
  // Nothing in the store tells a recovery from a copy that was started beside the cluster.
  const remembered = latestKnown(candidates, known);
  if (remembered !== undefined && remembered !== best) {
    const text = `the store holds epoch ${best.lineage?.epoch} of this lineage, which was restored from epoch ` +
      `${remembered.lineage?.epoch}, and the records here name no later life than that: an operator must choose`;
    return { kind: "choices", choices, ask: { code: "other_life_stored", text } };
  }
  const decided = best.branch === undefined && known.some(({ token }) => token === best.lineage?.token);
  if (stored.fork !== true || decided) return { kind: "choices", choices };
  const text = "the store holds snapshots of more than one life that may be the right one: an operator must choose";
  return { kind: "choices", choices, ask: { code: "stored_fork", text } };
}

/** The latest life that a record names by its token. */
function latestKnown(candidates: readonly Life[], known: readonly Lineage[]): Life | undefined {
  const own = candidates.filter(({ lineage }) => known.some(({ token }) => token === lineage?.token));
  return own.sort((a, b) => b.lineage!.epoch - a.lineage!.epoch)[0];
}

/** The life that a record names, or the last of those that were restored from its last snapshot one after another. */
function bestOf(candidates: readonly Life[], known: readonly Lineage[]): Life {
  let best = latestKnown(candidates, known);
  for (let next = best; next !== undefined;) {
    best = next;
    const token = best.lineage!.token;
    const takenAtWallMs = best.newest.takenAtWallMs;
    next = candidates.find((life) =>
      life.parentToken === token && life.newest.takenAtWallMs >= takenAtWallMs &&
      (life.lineage?.epoch ?? 0) > best!.lineage!.epoch
    );
  }
  return best ?? candidates[0]!;
}

const isSameLife = (a: Lineage | undefined, b: Lineage | undefined) =>
  a !== undefined && a.id === b?.id && a.token === b.token;

function epochMaxOf({ lineage }: Life, lives: readonly Life[], stored: Newest): number {
  const epochs = lives.flatMap((each) =>
    each.lineage !== undefined && each.lineage.id === lineage?.id ? each.lineage.epoch : []
  );
  return Math.max(0, ...epochs, stored.lineage?.id === lineage?.id ? stored.epochMax : 0);
}

/**
 * The lineages of data that nodes here had and have no more, as their records name them; and of the clusters that they
 * saw last, also where a disk's own part of it was given up. A token of "" is a life that is not known.
 */
function knownLineages({ record, settings }: View, here: readonly GossipPeer[]): readonly Lineage[] {
  const known = record.lost === undefined ? [] : [record.lost.lineage];
  for (const seen of [record.seen, ...here.map(({ facts }) => facts?.seen)]) {
    if (seen?.lineageId === undefined || isGivenUp(settings, seen)) continue;
    known.push({ id: seen.lineageId, epoch: 1, token: seen.token ?? "" });
  }
  for (const { facts } of here) {
    if (facts?.data.kind === "none" && facts.data.lost !== undefined) known.push(facts.data.lost);
  }
  return known.filter(({ epoch }) => epoch > 0);
}

/** Why nothing empty is bootstrapped: a node here has seen a cluster, whose data must be somewhere. */
export function clusterSeen({ record, settings, self }: View, here: readonly GossipPeer[]): Reason | undefined {
  const witnesses: { name: string; seen: PeerFacts["seen"] }[] = [{ name: self.name, seen: record.seen }];
  for (const { name, facts } of here) witnesses.push({ name, seen: facts?.seen });
  const witness = witnesses.find(({ seen }) => seen !== undefined && !isGivenUp(settings, seen));
  if (witness === undefined) return undefined;
  return {
    code: "cluster_seen",
    text: `"${witness.name}" has seen cluster ${
      witness.seen!.clusterId
    } run; no node here holds its data, and no empty one takes its place`,
    hint: "start the nodes with its data, or mount their disks and start them again; to give it up, pass " +
      "--new-cluster with a new NAME to all",
  };
}
