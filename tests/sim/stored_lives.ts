/**
 * The lives that a lookup in the simulated store finds, by the rules of lib/snapshot/lives.ts: first the lineage that
 * saved last, in it the highest epoch, in it the youngest branch; the parent of a life is the one before it.
 */
import { hashText } from "./fake_etcd.ts";
import type { StoredSnapshot } from "./world.ts";
import type { StoredLife } from "../../lib/core/facts/snapshot_lookup.ts";

/** The lives of the snapshots that the store returns, oldest first; there is at least one. */
export function livesOf(shown: readonly StoredSnapshot[]): { lives: StoredLife[]; fork: boolean } {
  const byBranch = new Map<string, StoredSnapshot[]>();
  for (const each of shown) {
    const name = `${each.lineage.token} ${each.branch ?? ""}`;
    byBranch.set(name, [...byBranch.get(name) ?? [], each]);
  }
  const last = shown.at(-1)!.lineage.id;
  // Groups are in the order of their births.
  const groups = [...byBranch.values()].reverse().sort(([a], [b]) =>
    Number(b!.lineage.id === last) - Number(a!.lineage.id === last) || b!.lineage.epoch - a!.lineage.epoch
  );
  let fork = new Set(groups.map(([each]) => each!.lineage.id)).size > 1 ||
    groups.some(([each]) =>
      each!.lineage.token === groups[0]![0]!.lineage.token && each!.branch !== groups[0]![0]!.branch
    );
  const lives = groups.map((group): StoredLife => {
    const [born] = group;
    const newest = group.at(-1)!;
    const parent = groups.find(([each]) =>
      each!.lineage.id === born!.lineage.id && each!.lineage.epoch < born!.lineage.epoch
    );
    if (parent !== undefined && parent.at(-1)!.takenAtWallMs > born!.takenAtWallMs) fork = true;
    const { hash, revision, takenAtWallMs } = newest;
    return {
      lineage: newest.lineage,
      newest: { hash, revision, takenAtWallMs },
      ...(born!.branch === undefined ? {} : { branch: born!.branch }),
      ...(parent === undefined ? {} : { parentToken: parent[0]!.lineage.token }),
    };
  });
  return { lives, fork };
}

/** The branch that a life with this token and revision saves to next, by the rule of lib/snapshot/publish.ts. */
export function branchFor(history: readonly StoredSnapshot[], token: string, revision: number): string | undefined {
  const own = history.filter(({ lineage }) => lineage.token === token);
  const last = own.at(-1)?.branch;
  const newest = own.filter(({ branch }) => branch === last).toSorted((a, b) => a.revision - b.revision).at(-1);
  return newest === undefined || newest.revision <= revision ? last : hashText(`branch ${newest.hash}`);
}
