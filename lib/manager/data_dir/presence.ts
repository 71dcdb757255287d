/**
 * Checks every 3 s that the data-dir of the running etcd still exists: etcd continues on deleted files, and acknowledges
 * writes that are lost when it exits. One stat call per check; nothing is opened, synced or changed. A failed check is
 * not reported to the core.
 */
import type { Clock, Files, Logger } from "../../ports.ts";
import type { Event } from "../../core/facts/event.ts";
import { describeError } from "../../errors.ts";

const everyMs = 3_000;

export interface PresenceOptions {
  readonly dataDir: string;
  readonly files: Pick<Files, "info">;
  readonly clock: Clock;
  readonly log: Pick<Logger, "debug">;
  readonly signal: AbortSignal;
  /** Pid of the running etcd; undefined while none runs. */
  readonly etcdPid: () => number | undefined;
  readonly deliver: (event: Extract<Event, { kind: "dataDirLooked" }>) => void;
}

/** Resolves when `signal` is aborted. */
export async function watchDataDir(options: PresenceOptions): Promise<void> {
  const { dataDir, files, clock, log, signal, etcdPid, deliver } = options;
  // The folder that the etcd with this pid was first seen with. Before that it may not have created its folder.
  let first: { readonly pid: number; readonly identity: string | undefined } | undefined;
  while (!signal.aborted) {
    await clock.sleep(everyMs, signal).catch(() => {});
    if (signal.aborted) return;
    const pid = etcdPid();
    if (pid === undefined) continue;
    try {
      const info = await files.info(`${dataDir}/member`, { followLinks: true });
      // etcd was stopped or restarted meanwhile: the result does not belong to this pid.
      if (etcdPid() !== pid) continue;
      if (first?.pid !== pid) {
        if (info !== undefined) first = { pid, identity: info.identity };
        continue;
      }
      const found = info === undefined ? "absent" : info.identity === first.identity ? "there" : "replaced";
      deliver({ kind: "dataDirLooked", found });
    } catch (error) {
      log.debug("cannot check the data-dir", { error: describeError(error) });
    }
  }
}
