/**
 * Which snapshot stands for a place. Each lies under `<key>.history/` beside a manifest that is written last; `<key>` is a
 * copy of the newest one, for nodes of the Go original and for operators. Must never return "absent" without a
 * {@link VerifiedAbsence}, and never skip a damaged newest snapshot for an older one.
 */
import { withoutUndefined } from "../without_undefined.ts";
import { E2dError, isE2dError, wordsOf } from "../errors.ts";
import type { StoredInfo } from "../storage/store.ts";
import { VerifiedAbsence } from "./absence.ts";
import { readHeadCopy } from "./head_copy.ts";
import { claimOf, damagesOf, type History, readHistory, type SnapshotPlace } from "./history.ts";
import { chooseLife, isTrusted, type Life, type LifeChoice, lifeTag } from "./lives.ts";
import type { Manifest } from "./manifest.ts";
import { withOlder } from "./older_snapshot.ts";
import { incomplete, mayBeNewest, newerAtKey } from "./newest_evidence.ts";
import type { SnapshotLookup, StoredLife } from "../facts/snapshot_lookup.ts";

export { objectKeyOf, openStored, type SnapshotPlace } from "./history.ts";
export {
  copyToKey,
  isNewestOfItsLife,
  keepLastCopy,
  type Publication,
  type Published,
  publishSnapshot,
} from "./publish.ts";
export { pruneSnapshots } from "./prune.ts";
export { explainDamage } from "./older_snapshot.ts";

export type NewestSnapshot =
  | {
    readonly kind: "manifest";
    readonly hash: string;
    readonly manifest: Manifest;
    readonly epochMax: number;
    /** Where the store does not decide between lives or branches: the newest whole snapshot of each. Else empty. */
    readonly forks: readonly Manifest[];
  }
  /** A file at the key without a manifest: written by the Go original or by an operator. */
  | { readonly kind: "unmanaged"; readonly hash: string; readonly info: StoredInfo };

/**
 * All whole snapshots of the history: the youngest life and branch first, and in each the newest first. Omits damaged
 * snapshots and unreadable manifests (see readHistory). Throws the store's errors.
 */
export async function listSnapshots({ store, key }: SnapshotPlace, signal?: AbortSignal): Promise<Manifest[]> {
  const { lives } = await readHistory({ store, key }, signal);
  return lives.toReversed().flatMap(({ entries }) =>
    entries.filter(({ damage }) => damage === undefined).map(({ manifest }) => manifest)
  );
}

type Lookup =
  | { readonly kind: "absent"; readonly verified: VerifiedAbsence }
  | Extract<NewestSnapshot, { kind: "unmanaged" }>
  | Extract<NewestSnapshot, { kind: "manifest" }> & { readonly choice: LifeChoice; readonly history: History };

/** Throws the store's errors, and an E2dError for each state in which a restore must not choose. */
async function lookUp(place: SnapshotPlace, signal?: AbortSignal): Promise<Lookup> {
  const first = await lookOnce(place, signal);
  if (!(first instanceof E2dError)) return first;
  const second = await lookOnce(place, signal);
  if (second instanceof E2dError) throw second;
  // The first answers showed snapshots.
  if (second.kind === "absent") throw first;
  return second;
}

/** Returns an error if answers contradict each other: a save between them causes that once, a stale listing repeatedly. */
async function lookOnce(place: SnapshotPlace, signal?: AbortSignal): Promise<Lookup | E2dError> {
  const history = await readHistory(place, signal);
  const { lives, entries, unread, disputed } = history;
  if (disputed[0] !== undefined) return contradictory(place, disputed[0]);
  const choice = chooseLife(lives);
  if (choice === undefined) return await withoutManifests(place, history, signal);
  const newer = await newerAtKey(place, history, choice.life, signal);
  if (newer !== undefined && !(newer instanceof E2dError)) return unmanaged(newer);
  const top = choice.life.entries[0]!;
  if (top.damage !== undefined) throw withOlder(top.damage, place, history);
  const unknown = unread.find((each) => mayBeNewest(each, choice.life, lives));
  if (unknown !== undefined) throw withOlder(unknown.error, place, history);
  if (newer !== undefined) return withOlder(newer, place, history);
  const epochMax = Math.max(
    ...entries.filter((entry) => entry.manifest.lineage.id === top.manifest.lineage.id && isTrusted(entry))
      .map(({ manifest }) => manifest.lineage.epoch),
  );
  const forks = choice.fork ? newestWhole([choice.life, ...lives.filter((life) => life !== choice.life)]) : [];
  return { kind: "manifest", hash: top.manifest.sha256, manifest: top.manifest, epochMax, forks, choice, history };
}

const newestWhole = (lives: readonly Life[]): Manifest[] =>
  lives.flatMap(({ entries }) => entries.find(({ damage }) => damage === undefined)?.manifest ?? []);

const contradictory = ({ store, key }: SnapshotPlace, name: string) =>
  new E2dError(
    "store_contradiction",
    `Cannot trust ${store.name}: of two listings of the history of "${key}" one has "${name}", one has not`,
    { hint: "look again; a store whose listings lag must not decide which snapshot is the newest" },
  );

async function withoutManifests(
  place: SnapshotPlace,
  { head, unread, loose }: History,
  signal?: AbortSignal,
): Promise<Lookup> {
  if (unread[0] !== undefined) throw unread[0].error;
  if (head === undefined && loose.length === 0) {
    return { kind: "absent", verified: await VerifiedAbsence.verify(place, signal) };
  }
  const uploaded = loose.find(({ key }) => claimOf(key) !== undefined) ?? (head === undefined ? loose[0] : undefined);
  if (uploaded !== undefined) throw incomplete(place, `"${uploaded.key}" is there, and no manifest`);
  if (await readHeadCopy(place, signal) === undefined) return unmanaged(head!);
  throw incomplete(place, `"${place.key}" is the copy of a snapshot, and its history is gone`);
}

/**
 * Undefined: verified absence. Throws the store's errors, and an E2dError if the newest snapshot is damaged or cannot be
 * determined.
 */
export async function newestSnapshot(place: SnapshotPlace, signal?: AbortSignal): Promise<NewestSnapshot | undefined> {
  const found = await lookUp(place, signal);
  if (found.kind === "absent") return undefined;
  if (found.kind === "unmanaged") return found;
  const { kind, hash, manifest, epochMax, forks } = found;
  return { kind, hash, manifest, epochMax, forks };
}

/** The hash is equal on every node that finds the same file. */
const unmanaged = (info: StoredInfo): Extract<NewestSnapshot, { kind: "unmanaged" }> => ({
  kind: "unmanaged",
  hash: `foreign-${info.size}-${info.modifiedMs}`,
  info,
});

type Newest = Extract<SnapshotLookup, { kind: "newest" }>;
export type LatestSnapshot =
  | Extract<SnapshotLookup, { kind: "absent" | "unreadable" }>
  | Newest & Required<Pick<Newest, "lives" | "fork" | "damaged">>;

/** The newest snapshot of a place as lib/core decides over it. Never throws: a failure is `unreadable`, never `absent`. */
export async function latestSnapshot(place: SnapshotPlace, signal?: AbortSignal): Promise<LatestSnapshot> {
  try {
    const found = await lookUp(place, signal);
    if (found.kind === "absent") return absent(found.verified);
    return found.kind === "unmanaged" ? unmanagedNewest(found) : managedNewest(found);
  } catch (error) {
    return unreadable(error);
  }
}

/** A lookup that failed. Its code, text and hint become the reason of the wait. */
export function unreadable(error: unknown): Extract<SnapshotLookup, { kind: "unreadable" }> {
  const code = isE2dError(error) ? error.code : "unexpected";
  const { text: why, hint } = wordsOf(error);
  return { kind: "unreadable", code, why, ...withoutUndefined({ hint }) };
}

function unmanagedNewest({ hash, info }: Extract<Lookup, { kind: "unmanaged" }>): LatestSnapshot {
  const none = { lives: [], fork: false, damaged: [] };
  return { kind: "newest", hash, revision: 0, takenAtWallMs: info.modifiedMs, verified: false, epochMax: 0, ...none };
}

function managedNewest(
  { hash, manifest, epochMax, choice, history }: Extract<Lookup, { kind: "manifest" }>,
): LatestSnapshot {
  const { revision, lineage, takenAt, verifiedAt } = manifest;
  return {
    kind: "newest",
    hash,
    revision,
    lineage,
    takenAtWallMs: Date.parse(takenAt),
    verified: true,
    verifiedAtWallMs: Date.parse(verifiedAt),
    epochMax,
    lives: storedLives(choice.life, history.lives),
    fork: choice.fork,
    damaged: damagesOf(history).map(({ key, why }) => ({ key, why })),
  };
}

/** The only way to make the result "absent". */
function absent({ asked: _ }: VerifiedAbsence): { readonly kind: "absent" } {
  return { kind: "absent" };
}

/** The chosen life first. Omits lives with a damaged newest snapshot: no older one stands for them. */
function storedLives(chosen: Life, lives: readonly Life[]): StoredLife[] {
  return [chosen, ...lives.filter((life) => life !== chosen)].flatMap(
    (life) => {
      const { lineage, branch, entries, bornAtMs, restoredFrom } = life;
      const { damage, manifest: { sha256: hash, revision, takenAt, verifiedAt } } = entries[0]!;
      if (damage !== undefined) return [];
      const newest = { hash, revision, takenAtWallMs: Date.parse(takenAt), verifiedAtWallMs: Date.parse(verifiedAt) };
      const parent = restoredFrom === undefined ? {} : { parentToken: restoredFrom.token };
      const part = branch === undefined ? {} : { branch };
      return [{ lineage, ...part, newest, bornAtWallMs: bornAtMs, tag: lifeTag(life), ...parent }];
    },
  );
}
