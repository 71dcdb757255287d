/**
 * Groups the snapshots of a history by *life* (one lineage and one cluster token) and *branch*: a branch begins where the
 * data continued at a lower revision than the store holds, and within a branch a higher revision is newer. Owns the order
 * of lives and branches, which of them exist side by side (a fork), and which one stands for the history. Pure. Must never
 * prefer a younger life to an older one that continued after the younger was born: the younger is a drill, a clone or a
 * mistaken restore. Where a life has trusted manifests, only those define its birth, its source and its activity.
 */
import { withoutUndefined } from "../without_undefined.ts";
import { createHash } from "node:crypto";
import type { E2dError } from "../errors.ts";
import type { Manifest } from "./manifest.ts";

/** A readable manifest. */
export interface HistoryEntry {
  readonly manifest: Manifest;
  /** The key of its object in this place. The manifest of a copied history contains the key of the original place. */
  readonly key: string;
  /** By the store's clock. */
  readonly modifiedMs: number;
  /** The key to read: its own object, or the copy at the key if the object is damaged and the copy matches. */
  readonly readKey: string;
  /** Why it cannot be restored. Its manifest still shows that this life existed and which revision it reached. */
  readonly damage?: E2dError;
  /** Why its own object cannot be read, where the copy at the key takes its place. */
  readonly objectDamage?: E2dError;
}

/** One branch of a life. Most lives have only one. */
export interface Life {
  readonly lineage: Manifest["lineage"];
  /** Undefined: the first branch. */
  readonly branch?: string;
  /** Newest first, damaged ones too. Never empty. */
  readonly entries: readonly HistoryEntry[];
  /** Of this branch. Later than the births of earlier branches, independent of the clocks of the nodes. */
  readonly bornAtMs: number;
  /** Of the earliest branch of this life in the store. */
  readonly lifeBornAtMs: number;
  /** When the oldest remaining entry was written, by the store's clock. */
  readonly oldestModifiedMs: number;
  readonly restoredFrom?: NonNullable<Manifest["restoredFrom"]>;
}

/** Tolerated difference between the clocks of stores and nodes. */
export const clocksDifferMs = 60_000;

type LineageOf = Pick<Manifest["lineage"], "id" | "token">;
export interface BranchOf {
  readonly lineage: LineageOf;
  readonly branch?: string | undefined;
}

/** Compares the id too: all clusters of the Go original have the same token. */
export const isSameLife = (a: LineageOf, b: LineageOf) => a.id === b.id && a.token === b.token;

export const isSameBranch = (a: BranchOf, b: BranchOf) => isSameLife(a.lineage, b.lineage) && a.branch === b.branch;

const shortSum = (value: unknown) => createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 8);

/** The last part of the object names of a branch: names of two branches never collide. */
export const lifeTag = ({ lineage: { id, token }, branch }: BranchOf): string =>
  shortSum(branch === undefined ? [id, token] : [id, token, branch]);

/** Equal on two nodes of one cluster that begin a branch after the same snapshot. */
export const branchAfter = ({ manifest: { sha256 } }: HistoryEntry): string => shortSum(["branch", sha256]);

/** The branch of this life that was born last: the life continues on it. */
export const lastBranch = (lineage: LineageOf, lives: readonly Life[]): Life | undefined =>
  lives.filter((life) => isSameLife(life.lineage, lineage)).toSorted((a, b) => a.bornAtMs - b.bornAtMs).at(-1);

/** False if the manifest must not decide anything. A damaged object does not make its manifest untrusted. */
export const isTrusted = ({ damage }: Pick<HistoryEntry, "damage">): boolean =>
  damage === undefined || damage.code === "snapshot_damaged";

/**
 * The entries whose manifests decide: the trusted ones. If none is trusted, all entries, whose decision makes a restore
 * wait.
 */
export function decidingEntries(entries: readonly HistoryEntry[]): readonly HistoryEntry[] {
  const trusted = entries.filter(isTrusted);
  return trusted.length > 0 ? trusted : entries;
}

/** All branches of all lives, the oldest first. */
export function groupLives(entries: readonly HistoryEntry[]): Life[] {
  const groups = new Map<string, HistoryEntry[]>();
  for (const entry of entries) {
    const { lineage: { id, token }, branch } = entry.manifest;
    const name = JSON.stringify([id, token, branch]);
    groups.set(name, [...groups.get(name) ?? [], entry]);
  }
  const branches = [...groups.values()].map(branchOf);
  return branches.map((life) => {
    const births = branches.filter(({ lineage }) => isSameLife(lineage, life.lineage)).map(({ bornAtMs }) => bornAtMs);
    return { ...life, lifeBornAtMs: Math.min(...births) };
  }).sort(olderFirst);
}

function branchOf(entries: readonly HistoryEntry[]): Omit<Life, "lifeBornAtMs"> {
  const deciding = decidingEntries(entries);
  const manifests = deciding.map(({ manifest }) => manifest);
  const restoredFrom = manifests.find((manifest) => manifest.restoredFrom !== undefined)?.restoredFrom;
  const { lineage, branch } = manifests[0]!;
  return {
    lineage,
    ...withoutUndefined({ branch }),
    entries: [...entries].sort(newestFirst),
    bornAtMs: Math.min(...manifests.map(({ bornAt, takenAt }) => Date.parse(bornAt ?? takenAt))),
    oldestModifiedMs: Math.min(...deciding.map(({ modifiedMs }) => modifiedMs)),
    ...withoutUndefined({ restoredFrom }),
  };
}

const newestFirst = ({ manifest: a }: HistoryEntry, { manifest: b }: HistoryEntry) =>
  b.revision - a.revision || b.takenAt.localeCompare(a.takenAt);

const olderFirst = (a: Life, b: Life) =>
  a.lineage.epoch - b.lineage.epoch || a.bornAtMs - b.bornAtMs || (a.lineage.token < b.lineage.token ? -1 : 1);

/**
 * True if the older life saved after the younger one was born: both exist side by side. Never true for two branches of
 * one life, which is one cluster.
 */
export function outlives(older: Life, younger: Life, entries = decidingEntries(older.entries)): boolean {
  const { restoredFrom } = younger;
  if (isSameLife(older.lineage, younger.lineage)) return false;
  const isParent = restoredFrom !== undefined && restoredFrom.token === older.lineage.token;
  // A later branch counts its revisions from a lower one.
  const mayBeSource = isParent &&
    (older.branch === undefined || older.bornAtMs <= younger.lifeBornAtMs + clocksDifferMs);
  return entries.some(({ manifest, modifiedMs }) => {
    // The source of the younger life, or an older snapshot.
    if (mayBeSource && manifest.revision <= restoredFrom.revision) return false;
    if (Date.parse(manifest.takenAt) > younger.lifeBornAtMs + clocksDifferMs) return true;
    // The clock of a node may be wrong. The store's clock alone is not enough: a copied bucket has times in any order.
    return isParent && modifiedMs > younger.oldestModifiedMs + clocksDifferMs;
  });
}

export interface LifeChoice {
  readonly life: Life;
  /** The store does not decide between lives or branches. Without a record that names one, an operator must choose. */
  readonly fork: boolean;
}

/**
 * The life whose newest snapshot stands for the history. Of two lineages the earlier one; of two lives the younger, unless
 * the older one continued after the younger was born. Of two branches of one life the one that was born last, always as a
 * fork: the data of the other one was rolled back, possibly by mistake.
 */
export function chooseLife(lives: readonly Life[]): LifeChoice | undefined {
  const first = lives.toSorted((a, b) => a.bornAtMs - b.bornAtMs)[0];
  if (first === undefined) return undefined;
  const line = lives.filter(({ lineage }) => lineage.id === first.lineage.id).sort(olderFirst);
  let [chosen, ...younger] = line as [Life, ...Life[]];
  let fork = line.length < lives.length;
  for (const life of younger) {
    // An untrusted manifest chooses no life, but it may be true: an operator decides.
    if (line.some((other) => olderFirst(other, life) < 0 && outlives(other, life, other.entries))) fork = true;
    if (!outlives(chosen, life)) chosen = life;
  }
  return { life: chosen, fork: fork || branchesBeside(chosen, lives).length > 0 };
}

/** The other branches of the same life. */
export const branchesBeside = (life: Life, lives: readonly Life[]): Life[] =>
  lives.filter((other) => isSameLife(other.lineage, life.lineage) && other.branch !== life.branch);

/** The presumed source of a life whose manifests do not name one: the next older life of its lineage. */
export function parentOf(lineage: Manifest["lineage"], lives: readonly Life[]): Life | undefined {
  return lives.filter((life) => life.lineage.id === lineage.id && life.lineage.epoch < lineage.epoch)
    .sort(olderFirst).at(-1);
}

/** A life that saved within this time counts as running beside another one. */
const activeMs = 24 * 3_600_000;

export interface LifeConflict {
  /** The other life. */
  readonly lineage: Manifest["lineage"];
  readonly tag: string;
  /** `older`: the life this one was restored from, or one before it, still saves. `younger`: a restored copy saves, too. */
  readonly other: "older" | "younger" | "lineage";
  /** ISO 8601, and revision, of its newest snapshot. */
  readonly takenAt: string;
  readonly revision: number;
}

export interface Standing {
  /** True if the copy at the key belongs to this life: no older life exists beside it. */
  readonly ownsKey: boolean;
  /** Another life that exists beside this one and has saved within a day. */
  readonly conflict?: LifeConflict;
}

/** The relation of a saving life to the other lives of the place. */
export function standingOf(self: Life, lives: readonly Life[], nowMs: number): Standing {
  let ownsKey = true;
  const conflicts: LifeConflict[] = [];
  for (const other of lives) {
    if (isSameLife(other.lineage, self.lineage)) continue;
    const otherLineage = other.lineage.id !== self.lineage.id;
    const older = otherLineage ? other.bornAtMs < self.bornAtMs : olderFirst(other, self) < 0;
    if (!otherLineage && older && !outlives(other, self)) continue;
    if (older) ownsKey = false;
    const { manifest: { takenAt, revision } } = other.entries[0]!;
    if (nowMs - Date.parse(takenAt) > activeMs) continue;
    const kind = otherLineage ? "lineage" : older ? "older" : "younger";
    conflicts.push({ lineage: other.lineage, tag: lifeTag(other), other: kind, takenAt, revision });
  }
  const conflict = conflicts.sort((a, b) => b.takenAt.localeCompare(a.takenAt))[0];
  return { ownsKey, ...withoutUndefined({ conflict }) };
}
