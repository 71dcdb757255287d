/**
 * Which snapshots may be restored. With encryption, a manifest must not decide anything before its MAC is verified: anyone
 * with write access to the store can create one. Unknown is never absent: an untrusted manifest that may be the newest
 * makes an automatic decision wait.
 */
import { E2dError } from "../errors.ts";
import type { Manifest } from "./manifest.ts";
import { isAuthentic, keyFits } from "./manifest_mac.ts";
import type { SnapshotKeys } from "./format/unseal.ts";
import { allKeys } from "./verified_file.ts";

export interface SnapshotTrust {
  readonly keys: SnapshotKeys;
  /** `--snapshot-encryption` without `--snapshot-allow-unsealed`. */
  readonly requireSealed: boolean;
}

/** Throws E2dError `snapshot_unsealed`, `snapshot_wrong_key` or `manifest_unauthentic` for a manifest that is not trusted. */
export function requireTrusted(manifest: Manifest, { keys, requireSealed }: SnapshotTrust): void {
  const all = allKeys(keys);
  if (isAuthentic(manifest, all)) return;
  const { key, authentication } = manifest;
  if (authentication !== undefined && keyFits(manifest, all)) {
    throw new E2dError("manifest_unauthentic", `Cannot trust manifest "${key}": it fails authentication`, {
      hint: "it was changed in the store; restore another snapshot by name: e2d snapshot list shows them",
    });
  }
  if (!requireSealed) return;
  if (authentication !== undefined) {
    throw new E2dError("snapshot_wrong_key", `Cannot trust manifest "${key}": it was made for other keys`, {
      hint:
        "pass --ca-key of the cluster that made it, or --snapshot-recipient with a key file it was sealed for; an " +
        "identity authenticates no manifest",
    });
  }
  if (manifest.sealed === false) {
    throw new E2dError(
      "snapshot_unsealed",
      `Cannot use snapshot "${key}": it is not sealed, and --snapshot-encryption is on`,
      {
        hint: "anyone who can write to the store can have made it; to accept it nonetheless: --snapshot-allow-unsealed",
      },
    );
  }
  throw new E2dError("manifest_unauthentic", `Cannot trust manifest "${key}": it has no MAC`, {
    hint: "an e2d from before manifests had one, or anyone who can write to the store, made it; restore it by name " +
      "(e2d snapshot restore --snapshot), or accept it with --snapshot-allow-unsealed",
  });
}

/**
 * The error for an unmanaged file at the key. It may belong to another cluster, or be an older one of this cluster; a seal
 * with the right key does not rule that out.
 */
export function undescribed(key: string): E2dError {
  return new E2dError("manifest_unauthentic", `Cannot trust snapshot "${key}": no manifest describes it`, {
    hint: "restore it by hand (e2d snapshot restore), or accept it with --snapshot-allow-unsealed",
  });
}
