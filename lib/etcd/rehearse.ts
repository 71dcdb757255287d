/** A restore that is thrown away: proves that etcd itself makes of a snapshot what the snapshot holds. */
import { E2dError } from "../errors.ts";
import { type KeySummary, summarizeKeys } from "./key_bucket.ts";
import { inQuarantine, type QuarantinePorts } from "./quarantine.ts";
import { type RestorePorts, type RestoreRequest, restoreSnapshot } from "./restore.ts";

export interface RehearsalRequest {
  readonly programs: RestoreRequest["programs"] & { readonly etcd: string; readonly version: string };
  /** The plain database. */
  readonly snapshotPath: string;
  /** Empty, for this user alone; left as it is afterwards. */
  readonly workDir: string;
  readonly skipHashCheck: boolean;
}

export interface Rehearsal {
  readonly keys: number;
  readonly revision: number;
  /** HashKV of the restored member; `compared` is false where the snapshot was taken while a compaction ran. */
  readonly hash: { readonly value: number; readonly compared: boolean };
}

/**
 * Throws E2dError `snapshot_differs` when the restored etcd has another number of keys, another revision or another hash
 * than the file; what restoreSnapshot, inQuarantine and summarizeKeys throw; or the signal's reason.
 */
export async function rehearseRestore(
  { programs, snapshotPath, workDir, skipHashCheck }: RehearsalRequest,
  ports: RestorePorts & QuarantinePorts,
  signal?: AbortSignal,
): Promise<Rehearsal> {
  const held = await summarizeKeys(snapshotPath, ports.reader);
  if (held === undefined) throw new E2dError("snapshot_absent", `Cannot read "${snapshotPath}": there is no such file`);
  const name = "rehearsal";
  const peerUrl = "http://127.0.0.1:1";
  await restoreSnapshot(
    {
      programs,
      snapshotPath,
      dataDir: `${workDir}/data`,
      name,
      peerUrl,
      initialCluster: [{ name, peerUrl }],
      token: name,
      // The hash is about revisions, too.
      bumpRevision: 0,
      skipHashCheck,
    },
    ports,
    signal,
  );
  const request = {
    etcd: programs.etcd,
    version: programs.version,
    copyDir: `${workDir}/data`,
    name,
    socketDir: workDir,
  };
  return await inQuarantine(request, ports, async (client, endpoint, signal) => {
    const { revision } = await client.status(endpoint, { signal });
    const { count } = await client.range("\0", { end: "\0", countOnly: true });
    const { hash } = await client.hashKv(endpoint, 0, { signal, timeoutMs: 600_000 });
    return compare(held, { keys: count, revision, hash });
  }, signal);
}

function compare(held: KeySummary, found: { keys: number; revision: number; hash: number }): Rehearsal {
  const compared = held.hashes.length > 0;
  const same = held.keys === found.keys && held.revision === found.revision &&
    (!compared || held.hashes.includes(found.hash));
  if (!same) {
    throw new E2dError(
      "snapshot_differs",
      `Cannot trust the snapshot: it holds ${held.keys} keys at revision ${held.revision} (hash ${
        held.hashes.join(" or ")
      }), and etcd restores ${found.keys} keys at revision ${found.revision} (hash ${found.hash})`,
      { hint: "keep it, take a new one, and report this" },
    );
  }
  return { keys: found.keys, revision: found.revision, hash: { value: found.hash, compared } };
}
