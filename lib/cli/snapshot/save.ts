/** `e2d snapshot save`: writes one snapshot of a running cluster. Must never overwrite an object. */
import { E2dError } from "../../errors.ts";
import type { Logger } from "../../ports.ts";
import { type EtcdClient, openEtcd } from "../../etcd/client/client.ts";
import type { EtcdStatus } from "../../facts/etcd.ts";
import type { SnapshotPlace } from "../../snapshot/lookup.ts";
import { fastestMac } from "../../snapshot/format/keys.ts";
import type { SnapshotKeys } from "../../snapshot/format/unseal.ts";
import { withDatabase } from "../../snapshot/pipeline.ts";
import { watchedStore } from "../../snapshot/progress.ts";
import type { Compression } from "../../snapshot/format/v2.ts";
import { sameThreadCodec } from "../../snapshot/format/codec.ts";
import { systemClock } from "../../sys/clock.ts";
import { openGrpcStream } from "../../sys/grpc/fetch.ts";
import { enableGrpcTls } from "../../sys/grpc/tls.ts";
import { systemRandom } from "../../sys/random.ts";
import { systemStaging } from "../../sys/staging.ts";
import type { Terminal } from "../terminal.ts";
import { temporaryFolder, withWorkFolder } from "../work_folder.ts";
import { keysOf, openStore, type SnapshotFlags } from "./access.ts";
import { withProgressBar } from "./transfer.ts";

export interface SaveFlags extends SnapshotFlags {
  readonly endpoints: readonly string[];
  readonly tls?: { ca: string; certificate: string; key: string } | undefined;
  readonly snapshotEncryption: boolean;
  readonly snapshotCompression: Compression;
  readonly snapshotFormat: "auto" | "v2" | "go-v1";
  readonly dryRun: boolean;
}

/** Writes one snapshot to exactly this URL. Throws E2dError `file_exists` instead of overwriting an object. */
export async function save(flags: SaveFlags, terminal: Terminal, log: Logger): Promise<number> {
  const at = await openStore(flags, log);
  if ((await at.store.list(at.key)).some(({ key }) => key === at.key)) {
    throw new E2dError("file_exists", `Cannot save to "${at.key}" in ${at.store.name}: the object already exists`, {
      hint: "pass a URL with another name; nodes save to their own history automatically",
    });
  }
  const keys = await keysOf(flags);
  if (flags.snapshotEncryption && keys.recipients.length + (keys.publicRecipients?.length ?? 0) === 0) {
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
      const action = `save revision ${plan.revision} to "${at.key}" in ${at.store.name}`;
      terminal.out(
        flags.json
          ? `${JSON.stringify(plan, null, 2)}\n`
          : `would ${action}: ${plan.plainBytes} bytes of database, as ${format}\n`,
      );
      return 0;
    }
    return await withWorkFolder(
      // /tmp may be a tmpfs, or share the disk of this machine's etcd: only an explicitly set TMPDIR is used.
      { parent: Deno.env.get("TMPDIR") ? temporaryFolder() : undefined, optional: true },
      (folder, signal) =>
        saveFrom({ client, endpoint, status, at, keys, format, folder, signal }, flags, { terminal, log }),
      log,
    );
  } finally {
    client.close();
  }
}

interface SaveSource {
  readonly client: EtcdClient;
  readonly endpoint: string;
  readonly status: EtcdStatus;
  readonly at: SnapshotPlace;
  readonly keys: SnapshotKeys;
  readonly format: "v2" | "go-v1";
  readonly folder: string | undefined;
  readonly signal: AbortSignal;
}

async function saveFrom(
  { client, endpoint, status, at, keys, format, folder, signal }: SaveSource,
  flags: SaveFlags,
  { terminal, log }: { terminal: Terminal; log: Logger },
): Promise<number> {
  const request = {
    open: (signal: AbortSignal) => client.snapshot(endpoint, { signal }),
    expectedBytes: status.dbSizeBytes,
    spoolPath: folder && `${folder}/spool.db`,
    signal,
  };
  const ports = { clock: systemClock, log, staging: systemStaging };
  const { size, plainBytes } = await withDatabase(request, async ({ stream, totalBytes }, progress, signal) => {
    const sealed = sameThreadCodec.seal(stream, {
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
      mac: fastestMac(systemClock),
      randomBytes: (length) => systemRandom.bytes(length),
    });
    const { size } = await withProgressBar(
      "save",
      totalBytes,
      terminal,
      (onProgress) => watchedStore(at.store, progress).write(at.key, sealed.stream, { onProgress, signal }),
    );
    return { size, plainBytes: totalBytes };
  }, ports);
  const report = { key: at.key, revision: status.revision, size, plainBytes, format };
  terminal.out(
    flags.json
      ? `${JSON.stringify(report, null, 2)}\n`
      : `saved revision ${status.revision} to "${at.key}" in ${at.store.name}: ${size} bytes\n`,
  );
  return 0;
}
