/** Restores a snapshot into a temporary data-dir and verifies that etcd serves exactly the keys that the file contains. */
import { E2dError } from "../../errors.ts";
import { type KeySummary, summarizeKeys } from "../data/key_bucket.ts";
import { type IsolatedEtcdPorts, withIsolatedEtcd } from "./isolated_etcd.ts";
import { type RestorePorts, type RestoreRequest, restoreSnapshot } from "./restore.ts";

export interface RehearsalRequest {
  readonly programs: RestoreRequest["programs"] & { readonly etcd: string; readonly version: string };
  /** The plain database. */
  readonly snapshotPath: string;
  /** An empty folder that only this user may enter; the caller removes it. */
  readonly workDir: string;
  readonly skipHashCheck: boolean;
}

export interface Rehearsal {
  readonly keys: number;
  readonly revision: number;
  /** HashKV of the restored member; `compared` is false when the snapshot was taken during a compaction. */
  readonly hash: { readonly value: number; readonly compared: boolean };
}

/**
 * Throws E2dError `snapshot_differs` when the restored etcd has another number of keys, revision or hash than the file;
 * `snapshot_absent`; what restoreSnapshot, withIsolatedEtcd and summarizeKeys throw; or the signal's reason.
 */
export async function rehearseRestore(
  { programs, snapshotPath, workDir, skipHashCheck }: RehearsalRequest,
  ports: RestorePorts & IsolatedEtcdPorts,
  signal?: AbortSignal,
): Promise<Rehearsal> {
  const expected = await summarizeKeys(snapshotPath, ports.reader);
  if (expected === undefined) {
    throw new E2dError("snapshot_absent", `Cannot read "${snapshotPath}": there is no such file`);
  }
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
      // The hash covers revisions.
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
  return await withIsolatedEtcd(request, ports, async (client, endpoint, signal) => {
    const { revision } = await client.status(endpoint, { signal });
    const { count } = await client.range("\0", { end: "\0", countOnly: true });
    const { hash } = await client.hashKv(endpoint, 0, { signal, timeoutMs: 600_000 });
    return compare(expected, { keys: count, revision, hash });
  }, signal);
}

function compare(expected: KeySummary, found: { keys: number; revision: number; hash: number }): Rehearsal {
  const compared = expected.hashes.length > 0;
  const same = expected.keys === found.keys && expected.revision === found.revision &&
    (!compared || expected.hashes.includes(found.hash));
  if (!same) {
    throw new E2dError(
      "snapshot_differs",
      `Cannot verify the snapshot: it has ${expected.keys} keys at revision ${expected.revision} (hash ${
        expected.hashes.join(" or ")
      }), but etcd restored ${found.keys} keys at revision ${found.revision} (hash ${found.hash})`,
      { hint: "keep the snapshot, take a new one, and report this" },
    );
  }
  return { keys: found.keys, revision: found.revision, hash: { value: found.hash, compared } };
}
