/** Selects the snapshot that a command reads. Must never choose between two lives or branches for a restore. */
import { E2dError, isE2dError } from "../../errors.ts";
import { newestSnapshot, objectKeyOf, type SnapshotPlace } from "../../snapshot/lookup.ts";
import { findNamed, type NamedSnapshot } from "../../snapshot/named.ts";
import type { Manifest } from "../../snapshot/manifest.ts";
import { requireTrusted, type SnapshotTrust } from "../../snapshot/trust.ts";

/** Selects a snapshot of the store: by its name in the history, or the newest. Throws E2dError `snapshot_absent`. */
export async function selectSnapshot(
  at: SnapshotPlace,
  name: string | undefined,
  { trust, refuseFork = false }: { readonly trust?: SnapshotTrust; readonly refuseFork?: boolean } = {},
): Promise<NamedSnapshot> {
  if (name !== undefined) return await findNamed(at, name);
  const newest = await newestSnapshot({
    ...at,
    requireTrusted: trust && ((manifest) => requireTrusted(manifest, trust)),
  }).catch(async (error) => {
    // The operator named a single file: its encryption and etcd's checksum are verified, and no automatic decision uses it.
    if (!isE2dError(error, "history_incomplete") || await at.store.info(at.key) === undefined) throw error;
    return "single" as const;
  });
  if (newest === "single") return { key: at.key, manifest: undefined, named: true };
  if (newest?.kind === "manifest") {
    const { manifest, forks } = newest;
    if (refuseFork && forks.length > 0) throw storedFork(at, forks);
    return { key: objectKeyOf(at.key, manifest), manifest, named: false };
  }
  if (newest !== undefined) return { key: at.key, manifest: undefined, named: false };
  throw new E2dError(
    "snapshot_absent",
    `Cannot find a snapshot in ${at.store.name} under "${at.key}": the store contains none`,
  );
}

/** Nothing in the store decides between these, so an operator must choose one: the rule of the automatic restore. */
function storedFork(at: SnapshotPlace, forks: readonly Manifest[]): E2dError {
  const choices = forks.map((manifest) => {
    const { takenAt, revision, lineage: { epoch, token }, branch } = manifest;
    const part = branch === undefined ? "" : `, branch ${branch}`;
    const name = objectKeyOf(at.key, manifest).split("/").at(-1);
    return `"e2d snapshot restore ${at.restoreArguments} --snapshot ${name}": the snapshot of ` +
      `${takenAt.slice(0, 19)}Z at revision ${revision} (epoch ${epoch}, life ${token.slice(-8)}${part})`;
  });
  return new E2dError(
    "stored_fork",
    `Cannot choose a snapshot under "${at.key}" in ${at.store.name}: it holds more than one life or branch that may be ` +
      "the right one",
    { hint: `run ${choices.join("; ")}` },
  );
}
