/**
 * Two lives that save to one store at the same time: a restore drill beside production, a recovered minority beside the
 * majority that came back, a copied URL. Owns the report of it, on every node of both. Decides nothing: each life keeps its
 * own snapshots, and an operator ends one of the two.
 */
import type { SnapshotLookup, StoredLife } from "../facts/snapshot_lookup.ts";
import type { Lineage } from "../facts/node_record.ts";
import type { Reason } from "../facts/reason.ts";

/** Clocks of nodes differ; see lib/snapshot/lives.ts. */
const clocksDifferMs = 60_000;
/** A life that was stopped is history. */
const activeMs = 24 * 3_600_000;

/** The other life that saves beside the own one; of several, the one that saved last. */
export function otherLife(own: Lineage, lookup: SnapshotLookup, nowWallMs: number): Reason | undefined {
  if (lookup.kind !== "newest") return undefined;
  const lives = lookup.lives ?? [];
  const self = lives.find(({ lineage }) => lineage.id === own.id && lineage.token === own.token);
  if (self === undefined) return undefined;
  // Another branch under the own token is what a rollback left behind: the same cluster.
  const other = lives.filter(({ lineage }) => lineage.id !== self.lineage.id || lineage.token !== self.lineage.token)
    .filter((life) => sideBySide(self, life))
    .filter(({ newest }) => nowWallMs - newest.takenAtWallMs <= activeMs)
    .toSorted((a, b) => b.newest.takenAtWallMs - a.newest.takenAtWallMs)[0];
  if (other === undefined) return undefined;
  const { lineage, tag } = other;
  const who = lineage.id === own.id ? `another life of this cluster (epoch ${lineage.epoch})` : "another cluster";
  return {
    code: "two_lives_saved",
    text: `${who} saves to the same store: its snapshots end in -${tag}, those of this one (epoch ${own.epoch}) in -` +
      `${self.tag}`,
    hint: "stop one of the two, or give one a --snapshot-backup-url of its own; each keeps its own snapshots meanwhile",
  };
}

/** True when each of the two has saved something after the other was born. */
function sideBySide(a: StoredLife, b: StoredLife): boolean {
  // Unknown: the newest is as old as the life can be.
  const born = ({ bornAtWallMs, newest }: StoredLife) => bornAtWallMs ?? newest.takenAtWallMs;
  const [older, younger] = born(a) <= born(b) ? [a, b] : [b, a];
  return older.newest.takenAtWallMs > born(younger) + clocksDifferMs;
}
