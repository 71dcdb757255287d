/**
 * The exclusive use of a data-dir: one e2d at a time, and no orphaned etcd. The lock file is beside the data-dir and
 * names the running etcd, so that the next e2d stops an etcd that outlived its e2d.
 */
import { describeError, E2dError } from "../../errors.ts";
import type { Clock, FileLock, Locks, Logger, Processes, ProcessIdentity } from "../../ports.ts";

export interface LockPorts {
  locks: Locks;
  processes: Processes;
  clock: Clock;
  log: Logger;
}

export interface DataDirLock {
  /** Records the running etcd: the next e2d stops it before it starts its own. Undefined: etcd has exited. */
  noteEtcd(pid: number | undefined): Promise<void>;
  /** Must be called only after etcd has exited. */
  release(): void;
}

export const lockPath = (dataDir: string) => `${dataDir}.e2d.lock`;

/** An e2d that is exiting holds the lock a little longer. */
const lockWaitMs = 1_500;
/** etcd transfers its leadership and closes its database first; a large one takes time. */
const orphanStopMs = 30_000;
const pollMs = 100;

/**
 * Takes the lock and stops an orphaned etcd. Throws E2dError `data_dir_in_use` while another e2d holds the lock,
 * `orphan_stays` when the orphaned etcd does not exit, or what Locks throws.
 */
export async function lockDataDir(dataDir: string, ports: LockPorts): Promise<DataDirLock> {
  const { locks, log } = ports;
  const path = lockPath(dataDir);
  const lock = await locks.take(path, lockWaitMs);
  if (lock === undefined) {
    throw new E2dError("data_dir_in_use", `Cannot use data-dir "${dataDir}": another e2d is running on it`, {
      hint: `stop the other e2d, or start this one with another --data-dir; the lock is ${path}`,
    });
  }
  try {
    const orphan = orphanIn(lock.found);
    if (orphan !== undefined) await stopOrphan(dataDir, orphan, ports);
    await lock.write("");
  } catch (error) {
    lock.release();
    throw error;
  }
  return {
    noteEtcd: (pid) => noteEtcd(lock, pid, ports, log),
    release: () => lock.release(),
  };
}

async function noteEtcd(lock: FileLock, pid: number | undefined, ports: LockPorts, log: Logger): Promise<void> {
  try {
    const identity = pid === undefined ? undefined : await ports.processes.identify(pid);
    await lock.write(identity === undefined ? "" : JSON.stringify({ pid: identity.pid, started: identity.started }));
  } catch (error) {
    // Not fatal: the parent-death signal is the first protection against an orphan, the lock file the second.
    log.warn("cannot record the running etcd in the lock file", { error: describeError(error) });
  }
}

function orphanIn(text: string): Pick<ProcessIdentity, "pid" | "started"> | undefined {
  try {
    const { pid, started } = JSON.parse(text) as Record<string, unknown>;
    if (Number.isSafeInteger(pid) && (pid as number) > 1 && typeof started === "string") {
      return { pid: pid as number, started };
    }
  } catch {
    // Empty after a clean exit, incomplete after a crash; the parent-death signal ends etcd in that case.
  }
  return undefined;
}

async function stopOrphan(
  dataDir: string,
  left: Pick<ProcessIdentity, "pid" | "started">,
  { processes, clock, log }: LockPorts,
): Promise<void> {
  /** Pids are reused: the start time must match, and the process must be an etcd on this data-dir, or one that is exiting. */
  const runs = async () => {
    const now = await processes.identify(left.pid);
    if (now === undefined || now.started !== left.started) return false;
    return now.args.length === 0 || now.args.includes(`--data-dir=${dataDir}`);
  };
  if (!await runs()) return;
  log.warn("stopping an orphaned etcd that a former e2d left behind on this data-dir", { pid: left.pid });
  const sinceMs = clock.monotonicMs();
  processes.kill(left.pid, "SIGTERM");
  let killed = false;
  while (await runs()) {
    const waitedMs = clock.monotonicMs() - sinceMs;
    if (waitedMs > orphanStopMs && !killed) {
      killed = true;
      log.warn("killing the orphaned etcd: it ignores SIGTERM", { pid: left.pid, waitedMs });
      processes.kill(left.pid, "SIGKILL");
    }
    if (waitedMs > 2 * orphanStopMs) {
      throw new E2dError("orphan_stays", `Cannot use data-dir "${dataDir}": etcd process ${left.pid} does not exit`, {
        hint: "its disk may hang: check the kernel's log (dmesg), then kill the process",
      });
    }
    await clock.sleep(pollMs);
  }
  log.info("the orphaned etcd has exited", { pid: left.pid });
}
