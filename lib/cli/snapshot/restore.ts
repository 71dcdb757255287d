/** `e2d snapshot restore`: creates a data-dir and its node record from a snapshot. Must never write to a used data-dir. */
import { E2dError } from "../../errors.ts";
import type { Logger } from "../../ports.ts";
import type { Lineage } from "../../facts/lineage.ts";
import type { EtcdPrograms } from "../../etcd/install/provider.ts";
import { requireFreeTarget, restoreSnapshot } from "../../etcd/restore/restore.ts";
import { copyLineage } from "../../core/evidence/lineage.ts";
import { recordPath, writeRecord } from "../../manager/data_dir/node_record.ts";
import type { SnapshotPlace } from "../../snapshot/lookup.ts";
import { readHistory } from "../../snapshot/history.ts";
import type { Manifest } from "../../snapshot/manifest.ts";
import { systemFileReader } from "../../sys/file_reader.ts";
import { systemFiles } from "../../sys/files.ts";
import { systemProcesses } from "../../sys/process.ts";
import { systemRandom } from "../../sys/random.ts";
import { systemStaging } from "../../sys/staging.ts";
import { provideEtcd } from "../etcd.ts";
import { absolutePath } from "../snapshot_place.ts";
import type { Terminal } from "../terminal.ts";
import { withWorkFolder } from "../work_folder.ts";
import { openStore, shellWord, type SnapshotFlags, type TrustFlags, trustOf } from "./access.ts";
import { fetchSelected } from "./transfer.ts";
import { selectSnapshot } from "./select.ts";

export interface RestoreFlags extends SnapshotFlags, TrustFlags {
  readonly snapshot?: string | undefined;
  readonly dataDir: string;
  readonly name: string;
  readonly peerUrl: string;
  /** "a=http://…,b=http://…". Empty: only this member. */
  readonly initialCluster: string;
  readonly token: string;
  /** The node record next to the data-dir names a new lineage, not the next epoch of the snapshot's. */
  readonly asNewCluster: boolean;
  readonly skipHashCheck: boolean;
  readonly etcdDir?: string | undefined;
  readonly dryRun: boolean;
}

export async function restore(flags: RestoreFlags, terminal: Terminal, log: Logger): Promise<number> {
  const dataDir = absolutePath(flags.dataDir);
  await requireNoRecord(dataDir);
  // The work folder is on the disk of the data-dir, which needs space for the database anyway.
  const parent = dataDir.slice(0, dataDir.lastIndexOf("/")) || "/";
  if (flags.dryRun) return await restoreIn(undefined, { ...flags, dataDir }, { terminal, log, signal: never });
  await requireFreeTarget(dataDir, { files: systemFiles, reader: systemFileReader });
  await systemFiles.makeDirectory(parent);
  return await withWorkFolder(
    { parent },
    (folder, signal) => restoreIn(folder, { ...flags, dataDir }, { terminal, log, signal }),
    log,
  );
}

/** An existing node record describes other data: its lineage and promises must not be applied to the copy. */
async function requireNoRecord(dataDir: string): Promise<void> {
  const path = recordPath(dataDir);
  if (await systemFiles.info(path) === undefined) return;
  throw new E2dError("restore_target_used", `Cannot restore to "${dataDir}": its node record "${path}" exists`, {
    hint: "pass another --data-dir, or rename the record first",
  });
}

/** The arguments of the same restore from another snapshot. */
function sameTarget({ url, dataDir, name, peerUrl, initialCluster, token, asNewCluster }: RestoreFlags): string {
  const given = { "name": name, "peer-url": peerUrl, "initial-cluster": initialCluster, "token": token };
  const flags = Object.entries(given).flatMap(([flag, value]) => value === "" ? [] : [`--${flag} ${shellWord(value)}`]);
  return [shellWord(url), `--data-dir ${shellWord(dataDir)}`, ...flags, ...asNewCluster ? ["--as-new-cluster"] : []]
    .join(
      " ",
    );
}

const never = new AbortController().signal;

async function restoreIn(
  folder: string | undefined,
  flags: RestoreFlags,
  { terminal, log, signal }: { terminal: Terminal; log: Logger; signal: AbortSignal },
): Promise<number> {
  const { dataDir } = flags;
  const at = { ...await openStore(flags, log), restoreArguments: sameTarget(flags) };
  const trust = await trustOf(flags);
  const choice = await selectSnapshot(at, flags.snapshot, { trust, refuseFork: true });
  const { key, manifest } = choice;
  await requireFreeTarget(dataDir, { files: systemFiles, reader: systemFileReader });
  const programs = flags.dryRun ? undefined : await provideEtcd({ etcdDir: flags.etcdDir }, log);
  const path = folder && `${folder}/snapshot.db`;
  // One copy of the file, and one in the data-dir.
  const options = { title: flags.dryRun ? "verify" : "fetch", path, copies: 2, trust, signal };
  const verified = await fetchSelected(at, choice, options, { terminal, log });
  if (verified.etcdSum.kind === "none" && !flags.skipHashCheck) {
    throw new E2dError("snapshot_no_sum", `Cannot verify "${key}": the database has no checksum of etcd at its end`, {
      hint: "the Go e2d writes such snapshots: pass --skip-hash-check to restore it without this check",
    });
  }
  if (programs === undefined || path === undefined) {
    const plan = { dataDir, key, plainBytes: verified.plainBytes, ...(manifest && { revision: manifest.revision }) };
    const from = manifest === undefined ? "" : `, revision ${manifest.revision}`;
    terminal.out(
      flags.json
        ? `${JSON.stringify(plan, null, 2)}\n`
        : `would restore "${key}" to "${dataDir}": good, ${verified.plainBytes} bytes of database${from}\n`,
    );
    return 0;
  }
  const token = flags.token || `${flags.asNewCluster ? "copy" : "restored"}-${systemRandom.bytes(12).toHex()}`;
  const lineage = flags.asNewCluster ? copyLineage(token) : await nextLife(at, manifest, token);
  return await makeDataDir({ key, programs, path, token, lineage }, flags, { terminal, signal });
}

/**
 * The life that a restore by hand begins: the next epoch of the snapshot's lineage, as after an automatic restore, so that
 * the restored cluster continues to save to the same store. Undefined for a snapshot whose lineage is not known.
 */
async function nextLife(
  at: SnapshotPlace,
  manifest: Manifest | undefined,
  token: string,
): Promise<Lineage | undefined> {
  if (manifest === undefined) return undefined;
  const { revision, lineage: { id, epoch, name, token: source } } = manifest;
  const { lives } = await readHistory(at);
  const epochs = lives.filter(({ lineage }) => lineage.id === id).map(({ lineage }) => lineage.epoch);
  const from = { token: source, revision };
  return { id, epoch: Math.max(epoch, ...epochs) + 1, token, from, ...(name !== undefined && { name }) };
}

interface RestoreJob {
  readonly key: string;
  readonly programs: EtcdPrograms;
  /** The fetched database. */
  readonly path: string;
  readonly token: string;
  readonly lineage: Lineage | undefined;
}

async function makeDataDir(
  { key, programs, path, token, lineage }: RestoreJob,
  flags: RestoreFlags,
  { terminal, signal }: { terminal: Terminal; signal: AbortSignal },
): Promise<number> {
  const { dataDir } = flags;
  const members = flags.initialCluster === "" ? `${flags.name}=${flags.peerUrl}` : flags.initialCluster;
  const { data, revisionBumped } = await restoreSnapshot(
    {
      programs,
      snapshotPath: path,
      dataDir,
      name: flags.name,
      peerUrl: flags.peerUrl,
      initialCluster: members.split(",").map((member) => {
        const [name = "", peerUrl = ""] = member.split(/=(.*)/s);
        return { name, peerUrl };
      }),
      token,
      skipHashCheck: flags.skipHashCheck,
    },
    { processes: systemProcesses, files: systemFiles, staging: systemStaging, reader: systemFileReader },
    signal,
  );
  if (lineage !== undefined) {
    const { clusterId, memberId } = data;
    const started = { lineage, how: "restored", clusterId, memberId, renounced: [] } as const;
    await writeRecord(systemFiles, dataDir, { nonce: systemRandom.bytes(8).toHex(), pledges: [], started });
  }
  const resync = revisionBumped ? "" : "; this etcd cannot raise revisions: restart all clients that watch";
  const own = lineage === undefined
    ? ""
    : `\n${flags.asNewCluster ? "new cluster: " : ""}lineage ${lineage.id}, epoch ${lineage.epoch}, token ${token}`;
  terminal.out(
    flags.json
      ? `${JSON.stringify({ dataDir, revisionBumped, ...data, ...(lineage && { lineage }) }, null, 2)}\n`
      : `restored "${key}" to "${dataDir}": revision ${data.revision}, cluster ${data.clusterId}${resync}${own}\n`,
  );
  return 0;
}
