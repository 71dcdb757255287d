/** `e2d snapshot verify`, and `--deep`: verifies one object of the store. Writes to the work folder alone. */
import type { Logger } from "../../ports.ts";
import { type Rehearsal, type RehearsalRequest, rehearseRestore } from "../../etcd/restore/rehearse.ts";
import { isAuthentic } from "../../snapshot/manifest_mac.ts";
import { allKeys } from "../../snapshot/verified_file.ts";
import { systemClock } from "../../sys/clock.ts";
import { systemFileReader } from "../../sys/file_reader.ts";
import { systemFiles } from "../../sys/files.ts";
import { enableGrpcTls } from "../../sys/grpc/tls.ts";
import { systemProcesses } from "../../sys/process.ts";
import { systemStaging } from "../../sys/staging.ts";
import { provideEtcd } from "../etcd.ts";
import type { Terminal } from "../terminal.ts";
import { temporaryFolder, withWorkFolder } from "../work_folder.ts";
import { openStore, type SnapshotFlags, type TrustFlags, trustOf } from "./access.ts";
import { fetchSelected } from "./transfer.ts";
import { selectSnapshot } from "./select.ts";

export type VerifyFlags = SnapshotFlags & TrustFlags & {
  readonly snapshot?: string | undefined;
  /** Also restores the snapshot into an isolated etcd. */
  readonly deep: boolean;
  readonly etcdDir?: string | undefined;
};

export async function verify(flags: VerifyFlags, terminal: Terminal, log: Logger): Promise<number> {
  return await withWorkFolder(
    { parent: flags.deep ? temporaryFolder() : undefined },
    (folder, signal) => verifyIn(folder, flags, { terminal, log, signal }),
    log,
  );
}

async function verifyIn(
  workDir: string | undefined,
  flags: VerifyFlags,
  { terminal, log, signal }: { terminal: Terminal; log: Logger; signal: AbortSignal },
): Promise<number> {
  const at = await openStore(flags, log);
  const trust = await trustOf(flags);
  const choice = await selectSnapshot(at, flags.snapshot, { trust });
  const { key, manifest } = choice;
  // Before the transfer: a missing etcd must fail early.
  const programs = workDir === undefined ? undefined : await provideEtcd({ etcdDir: flags.etcdDir }, log);
  const path = workDir && `${workDir}/snapshot.db`;
  // One copy of the file, and one in the restored data-dir.
  const options = { title: "verify", path, copies: 2, trust, ownObjectOnly: true, signal };
  const verified = await fetchSelected(at, choice, options, { terminal, log });
  const hasChecksum = verified.etcdSum.kind === "checked";
  const rehearsal = programs === undefined || workDir === undefined || path === undefined
    ? undefined
    : await rehearse({ snapshotPath: path, skipHashCheck: !hasChecksum, programs, workDir }, log, signal);
  const report = {
    key,
    format: verified.kind,
    plainBytes: verified.plainBytes,
    etcdSum: verified.etcdSum.kind,
    sha256: verified.storedSha256,
    manifest: manifest === undefined
      ? "none"
      : isAuthentic(manifest, allKeys(trust.keys))
      ? "authentic"
      : "unauthenticated",
    restored: rehearsal,
  };
  const sum = hasChecksum ? "etcd's sum fits" : "no checksum of etcd, as written by the Go e2d";
  const trial = rehearsal === undefined
    ? ""
    : `; restored for a trial: ${rehearsal.keys} keys at revision ${rehearsal.revision}, ` +
      (rehearsal.hash.compared ? "hash verified" : "hash not compared because a compaction was running");
  terminal.out(
    flags.json
      ? `${JSON.stringify(report, null, 2)}\n`
      : `${key}: good; ${verified.plainBytes} bytes of database, ${sum}${trial}\n`,
  );
  return 0;
}

async function rehearse(request: RehearsalRequest, log: Logger, signal: AbortSignal): Promise<Rehearsal> {
  await enableGrpcTls();
  // The log lines of an isolated etcd matter only for debugging.
  const quiet: Logger = { ...log, info: (message, fields) => log.debug(message, fields), with: () => quiet };
  return await rehearseRestore(request, {
    processes: systemProcesses,
    files: systemFiles,
    staging: systemStaging,
    reader: systemFileReader,
    clock: systemClock,
    log: quiet,
  }, signal);
}
