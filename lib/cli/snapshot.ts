/** `e2d snapshot …`: what these commands do once their flags are read. */
import { createHash } from "node:crypto";
import { E2dError } from "../errors.ts";
import type { Logger } from "../ports.ts";
import { openEtcd } from "../etcd/client.ts";
import { type Rehearsal, type RehearsalRequest, rehearseRestore } from "../etcd/rehearse.ts";
import { requireFreeTarget, restoreSnapshot } from "../etcd/restore.ts";
import type { CredentialConfig } from "../manager/node_config.ts";
import { workPath } from "../manager/place.ts";
import { listSnapshots, newestSnapshot, pruneSnapshots, type SnapshotPlace } from "../snapshot/catalogue.ts";
import { checkEtcdSum } from "../snapshot/etcd_sum.ts";
import type { Manifest } from "../snapshot/manifest.ts";
import type { SnapshotKeys } from "../snapshot/open.ts";
import { proveSnapshot } from "../snapshot/proven_file.ts";
import type { Compression } from "../snapshot/v2.ts";
import { wrapSnapshot } from "../snapshot/wrap.ts";
import { observe } from "../streams/observe.ts";
import { readKeysInUse } from "../pki/keys_in_use.ts";
import { systemClock } from "../sys/clock.ts";
import { systemFileReader } from "../sys/file_reader.ts";
import { systemFiles } from "../sys/files.ts";
import { openGrpcStream } from "../sys/grpc_fetch.ts";
import { enableGrpcTls } from "../sys/grpc_tls.ts";
import { systemProcesses } from "../sys/process.ts";
import { systemRandom } from "../sys/random.ts";
import { systemStaging } from "../sys/staging.ts";
import { provideEtcd } from "./etcd.ts";
import { ProgressBar } from "./progress.ts";
import { absolutePath, openPlace, readRecipients } from "./snapshot_place.ts";
import type { Terminal } from "./terminal.ts";

export interface SnapshotFlags {
  /** The URL that was given as an operand, else `--snapshot-backup-url`. */
  readonly url: string;
  readonly s3Endpoint?: string | undefined;
  readonly credentials: CredentialConfig;
  readonly caKey?: string | undefined;
  readonly snapshotRecipient: readonly string[];
  readonly json: boolean;
}

async function place(flags: SnapshotFlags, log: Logger): Promise<SnapshotPlace> {
  if (flags.url === "") {
    throw new E2dError("usage", "which snapshots? a URL is missing", {
      hint: "give it as an argument, or by --snapshot-backup-url or E2D_SNAPSHOT_BACKUP_URL",
    });
  }
  return await openPlace(flags, log);
}

async function keysOf({ caKey, snapshotRecipient }: SnapshotFlags): Promise<SnapshotKeys> {
  const recipients = await readRecipients(snapshotRecipient);
  if (!caKey) return { recipients };
  // During a rollover of the authority there is more than one key beside the CA key.
  const keys = await readKeysInUse(systemFiles, { caKey, pairs: [] });
  return { recipients: [...keys.recipients, ...recipients], former: keys.former, secret: keys.recipients[0] };
}

async function withBar<T>(
  title: string,
  totalBytes: number | undefined,
  terminal: Terminal,
  work: (onProgress: (bytes: number) => void) => Promise<T>,
): Promise<T> {
  const output = { columns: terminal.columns, write: terminal.err };
  const bar = new ProgressBar(title, output, () => performance.now());
  try {
    return await work((receivedBytes) => bar.update({ receivedBytes, totalBytes }));
  } finally {
    bar.end();
  }
}

/** The key of one snapshot of a place: the newest, or one of the history by its name. */
async function choose(
  at: SnapshotPlace,
  name: string | undefined,
): Promise<{ key: string; manifest: Manifest | undefined }> {
  if (name !== undefined) {
    const manifest = (await listSnapshots(at)).find(({ key }) => key === name || key.endsWith(`/${name}`));
    if (manifest !== undefined) return { key: manifest.key, manifest };
    throw new E2dError("snapshot_absent", `Cannot find snapshot "${name}" in ${at.store.name}`, {
      hint: "e2d snapshot list shows what is there",
    });
  }
  const newest = await newestSnapshot(at);
  if (newest?.kind === "manifest") return { key: newest.manifest.key, manifest: newest.manifest };
  if (newest !== undefined) return { key: at.key, manifest: undefined };
  throw new E2dError("snapshot_absent", `Cannot find a snapshot in ${at.store.name} under "${at.key}": there is none`);
}

async function open(at: SnapshotPlace, key: string) {
  const object = await at.store.read(key);
  if (object !== undefined) return object;
  throw new E2dError("snapshot_absent", `Cannot read "${key}" in ${at.store.name}: it went away`);
}

export async function list(flags: SnapshotFlags, terminal: Terminal, log: Logger): Promise<number> {
  const at = await place(flags, log);
  const [manifests, newest] = [await listSnapshots(at), await newestSnapshot(at)];
  if (flags.json) {
    const foreign = newest?.kind === "foreign" ? newest.info : undefined;
    terminal.out(`${JSON.stringify({ snapshots: manifests, ...(foreign && { foreign }) }, null, 2)}\n`);
    return 0;
  }
  if (newest?.kind === "foreign") {
    terminal.out(`${at.key}: ${newest.info.size} bytes, of unknown descent (the Go e2d's, or put there by hand)\n`);
  }
  if (manifests.length === 0 && newest === undefined) terminal.out("there is no snapshot\n");
  for (const manifest of manifests) {
    const { takenAt, revision, size, lineage, key } = manifest;
    const name = key.split("/").at(-1);
    terminal.out(
      `${takenAt}  revision ${revision}  ${size} bytes  ${formText(manifest)}  epoch ${lineage.epoch}  ${name}\n`,
    );
  }
  return 0;
}

/** `v2+gzip sealed`; old manifests do not say whether they are. */
function formText({ format, compression, sealed }: Manifest): string {
  const form = compression === "none" ? format : `${format}+${compression}`;
  return sealed === undefined ? form : `${form} ${sealed ? "sealed" : "open"}`;
}

export async function verify(
  flags: SnapshotFlags & {
    readonly snapshot?: string | undefined;
    /** Restores it for a trial, too. */
    readonly deep: boolean;
    readonly etcdDir?: string | undefined;
  },
  terminal: Terminal,
  log: Logger,
): Promise<number> {
  const at = await place(flags, log);
  const { key, manifest } = await choose(at, flags.snapshot);
  const keys = await keysOf(flags);
  // Before anything is fetched: without etcd there is no trial.
  const programs = flags.deep ? await provideEtcd({ etcdDir: flags.etcdDir }, log) : undefined;
  const { size, stream } = await open(at, key);
  const hash = createHash("sha256");
  const workDir = flags.deep ? await Deno.makeTempDir({ prefix: "e2d-verify-" }) : undefined;
  try {
    const path = `${workDir}/snapshot.db`;
    const kept = workDir === undefined ? undefined : { path, staging: systemStaging };
    const proven = await withBar(
      "verify",
      manifest?.plainBytes ?? size,
      terminal,
      (onProgress) => proveSnapshot(observe(stream, (chunk) => hash.update(chunk)), keys, kept, onProgress),
    );
    const stored = hash.digest("hex");
    if (manifest !== undefined && (stored !== manifest.sha256 || proven.sha256 !== manifest.plainSha256)) {
      throw new E2dError("snapshot_corrupt", `Cannot trust "${key}": it is not what its manifest is about`);
    }
    const summed = proven.etcdSum.kind === "checked";
    const request = { snapshotPath: path, skipHashCheck: !summed };
    const rehearsal = programs === undefined || workDir === undefined
      ? undefined
      : await rehearse({ ...request, programs, workDir }, log);
    const report = {
      key,
      format: proven.kind,
      plainBytes: proven.plainBytes,
      etcdSum: proven.etcdSum.kind,
      sha256: stored,
      ...(rehearsal === undefined ? {} : { restored: rehearsal }),
    };
    const sum = summed ? "etcd's sum fits" : "without a sum of etcd's, as the Go e2d writes them";
    const trial = rehearsal === undefined
      ? ""
      : `; restored for a trial: ${rehearsal.keys} keys at revision ${rehearsal.revision}, ` +
        (rehearsal.hash.compared ? "with the hash of the file" : "hash not compared, a compaction was under way");
    terminal.out(
      flags.json
        ? `${JSON.stringify(report, null, 2)}\n`
        : `${key}: good; ${proven.plainBytes} bytes of database, ${sum}${trial}\n`,
    );
    return 0;
  } finally {
    if (workDir !== undefined) await systemStaging.remove(workDir);
  }
}

async function rehearse(request: RehearsalRequest, log: Logger): Promise<Rehearsal> {
  await enableGrpcTls();
  // etcd has much to say, and it is about a trial.
  const quiet: Logger = { ...log, info: (message, fields) => log.debug(message, fields), with: () => quiet };
  return await rehearseRestore(request, {
    processes: systemProcesses,
    files: systemFiles,
    staging: systemStaging,
    reader: systemFileReader,
    clock: systemClock,
    log: quiet,
  });
}

export async function inspect(
  flags: SnapshotFlags & { readonly snapshot?: string | undefined },
  terminal: Terminal,
  log: Logger,
): Promise<number> {
  const at = await place(flags, log);
  const { key, manifest } = await choose(at, flags.snapshot);
  const { size } = (await at.store.info(key)) ?? { size: 0 };
  terminal.out(`${JSON.stringify({ key, size, ...(manifest === undefined ? {} : { manifest }) }, null, 2)}\n`);
  return 0;
}

export interface SaveFlags extends SnapshotFlags {
  readonly endpoints: readonly string[];
  readonly tls?: { ca: string; certificate: string; key: string } | undefined;
  readonly snapshotEncryption: boolean;
  readonly snapshotCompression: Compression;
  readonly snapshotFormat: "auto" | "v2" | "go-v1";
  readonly dryRun: boolean;
}

/** Writes one snapshot to exactly this URL; never over something. */
export async function save(flags: SaveFlags, terminal: Terminal, log: Logger): Promise<number> {
  const at = await place(flags, log);
  if ((await at.store.list(at.key)).some(({ key }) => key === at.key)) {
    throw new E2dError("file_exists", `Cannot save to "${at.key}" in ${at.store.name}: something is there already`, {
      hint: "give another name; nodes keep their own history by themselves",
    });
  }
  const keys = await keysOf(flags);
  if (flags.snapshotEncryption && keys.recipients.length === 0) {
    throw new E2dError("usage", "--snapshot-encryption needs --ca-key or --snapshot-recipient");
  }
  await enableGrpcTls();
  const client = await openEtcd({
    endpoints: flags.endpoints,
    clock: systemClock,
    tls: flags.tls,
    openStream: openGrpcStream,
  });
  try {
    const endpoint = flags.endpoints[0]!;
    const status = await client.status(endpoint);
    const format = flags.snapshotFormat === "auto" ? "v2" : flags.snapshotFormat;
    if (flags.dryRun) {
      const plan = { key: at.key, revision: status.revision, plainBytes: status.dbSizeBytes, format };
      const what = `revision ${plan.revision} to "${at.key}" in ${at.store.name}: ${plan.plainBytes} bytes of database`;
      terminal.out(flags.json ? `${JSON.stringify(plan, null, 2)}\n` : `would save ${what}, as ${format}\n`);
      return 0;
    }
    const { stream, totalBytes } = await client.snapshot(endpoint);
    const { stream: checked } = checkEtcdSum(stream);
    const wrapped = wrapSnapshot(checked, {
      facts: {
        clusterId: status.clusterId,
        lineage: { id: status.clusterId, epoch: 0, token: "" },
        revision: status.revision,
        etcdVersion: status.version,
        takenAt: new Date(systemClock.wallMs()).toISOString(),
        plainBytes: totalBytes,
      },
      format,
      compression: flags.snapshotCompression,
      sealed: flags.snapshotEncryption,
      keys,
      randomBytes: (length) => systemRandom.bytes(length),
    });
    const { size } = await withBar(
      "save",
      totalBytes,
      terminal,
      (onProgress) => at.store.write(at.key, wrapped, { onProgress }),
    );
    const report = { key: at.key, revision: status.revision, size, plainBytes: totalBytes, format };
    terminal.out(
      flags.json
        ? `${JSON.stringify(report, null, 2)}\n`
        : `saved revision ${status.revision} to "${at.key}" in ${at.store.name}: ${size} bytes\n`,
    );
    return 0;
  } finally {
    client.close();
  }
}

export interface RestoreFlags extends SnapshotFlags {
  readonly snapshot?: string | undefined;
  readonly dataDir: string;
  readonly name: string;
  readonly peerUrl: string;
  /** "a=http://…,b=http://…"; empty: this member alone. */
  readonly initialCluster: string;
  readonly token: string;
  readonly skipHashCheck: boolean;
  readonly etcdDir?: string | undefined;
  readonly dryRun: boolean;
}

export async function restore(flags: RestoreFlags, terminal: Terminal, log: Logger): Promise<number> {
  const at = await place(flags, log);
  const { key, manifest } = await choose(at, flags.snapshot);
  const dataDir = absolutePath(flags.dataDir);
  await requireFreeTarget(dataDir, { files: systemFiles, reader: systemFileReader });
  const programs = flags.dryRun ? undefined : await provideEtcd({ etcdDir: flags.etcdDir }, log);
  const { size, stream } = await open(at, key);
  const path = `${workPath(dataDir)}/${flags.token}.db`;
  if (!flags.dryRun) await systemFiles.makeDirectory(workPath(dataDir), { mode: 0o700 });
  const keys = await keysOf(flags);
  const proven = await withBar(
    flags.dryRun ? "verify" : "fetch",
    manifest?.plainBytes ?? size,
    terminal,
    (onProgress) =>
      proveSnapshot(stream, keys, flags.dryRun ? undefined : { path, staging: systemStaging }, onProgress),
  );
  if (proven.etcdSum.kind === "none" && !flags.skipHashCheck) {
    if (!flags.dryRun) await systemStaging.remove(path);
    throw new E2dError("snapshot_no_sum", `Cannot prove "${key}" whole: it has no sum of etcd's at its end`, {
      hint: "the Go e2d writes them so: pass --skip-hash-check to restore it all the same",
    });
  }
  if (programs === undefined) {
    const plan = { dataDir, key, plainBytes: proven.plainBytes, ...(manifest && { revision: manifest.revision }) };
    const from = manifest === undefined ? "" : `, revision ${manifest.revision}`;
    terminal.out(
      flags.json
        ? `${JSON.stringify(plan, null, 2)}\n`
        : `would restore "${key}" to "${dataDir}": good, ${proven.plainBytes} bytes of database${from}\n`,
    );
    return 0;
  }
  const members = flags.initialCluster === "" ? `${flags.name}=${flags.peerUrl}` : flags.initialCluster;
  try {
    const { data, revisionBumped } = await restoreSnapshot({
      programs,
      snapshotPath: path,
      dataDir,
      name: flags.name,
      peerUrl: flags.peerUrl,
      initialCluster: members.split(",").map((member) => {
        const [name = "", peerUrl = ""] = member.split(/=(.*)/s);
        return { name, peerUrl };
      }),
      token: flags.token,
      skipHashCheck: flags.skipHashCheck,
    }, { processes: systemProcesses, files: systemFiles, staging: systemStaging, reader: systemFileReader });
    terminal.out(
      flags.json
        ? `${JSON.stringify({ dataDir, revisionBumped, ...data }, null, 2)}\n`
        : `restored "${key}" to "${dataDir}": revision ${data.revision}, cluster ${data.clusterId}${
          revisionBumped ? "" : "; this etcd cannot move revisions on: restart whoever watches"
        }\n`,
    );
    return 0;
  } finally {
    await systemStaging.remove(path);
  }
}

export async function prune(
  flags: SnapshotFlags & { readonly snapshotKeep: { hourly: number; daily: number }; readonly dryRun: boolean },
  terminal: Terminal,
  log: Logger,
): Promise<number> {
  const at = await place(flags, log);
  const removed = await pruneSnapshots(at, {
    keep: flags.snapshotKeep,
    nowMs: systemClock.wallMs(),
    dryRun: flags.dryRun,
  });
  const keys = removed.map(({ key }) => key);
  if (flags.json) terminal.out(`${JSON.stringify({ removed: keys, dryRun: flags.dryRun }, null, 2)}\n`);
  else for (const key of keys) terminal.out(`${flags.dryRun ? "would remove" : "removed"} ${key}\n`);
  return 0;
}
