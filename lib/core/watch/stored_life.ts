/**
 * Reports a later life of the own lineage in the store: a restored copy of this cluster uses its URL. The report states
 * whether that life still saves and how to remove its snapshots, and never makes a node not ready.
 */
import { lineageOfData } from "../evidence/lineage.ts";
import { otherLifeStored } from "../evidence/order.ts";
import { backupLimitMs } from "../rules/backup.ts";
import type { Turn } from "../state/turn.ts";
import type { StoredLife } from "../facts/snapshot_lookup.ts";
import type { Lineage } from "../facts/node_record.ts";

const code = "other_life_stored";

/** Called in each turn. An error while that life saves, a warning afterwards, resolved when its snapshots are deleted. */
export function reportStoredLife(turn: Turn): void {
  const { node, now } = turn;
  const own = node.disk.data.kind === "valid" ? lineageOfData(node.disk.data.clusterId, node.disk.record) : undefined;
  const stored = node.snapshots.store.newest;
  if (own === undefined || stored?.lineage?.id !== own.id || stored.epochMax <= own.epoch) {
    node.snapshots.storedLife = undefined;
    return turn.resolve(code);
  }
  const life = laterLife(own, stored.lives ?? []);
  const hash = life?.newest.hash ?? "";
  // A new snapshot of that life shows that it saves, independently of the clocks.
  if (node.snapshots.storedLife === undefined) node.snapshots.storedLife = { hash, savedAtMs: undefined };
  else if (node.snapshots.storedLife.hash !== hash) node.snapshots.storedLife = { hash, savedAtMs: now.monotonicMs };
  const limitMs = backupLimitMs(node.settings.snapshotIntervalMs);
  const { savedAtMs } = node.snapshots.storedLife;
  const isYoung = life !== undefined && now.wallMs - life.newest.takenAtWallMs < limitMs;
  const saves = isYoung || savedAtMs !== undefined && now.monotonicMs - savedAtMs < limitMs;
  turn.report(saves ? "error" : "warn", otherLifeStored(stored.epochMax, own, { life, saves }), { keepsReady: true });
}

/** The later life that saved last. */
function laterLife(own: Lineage, lives: readonly StoredLife[]): StoredLife | undefined {
  return lives.filter(({ lineage }) => lineage.id === own.id && lineage.epoch > own.epoch)
    .toSorted((a, b) => b.newest.takenAtWallMs - a.newest.takenAtWallMs)[0];
}
