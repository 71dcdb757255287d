/**
 * Holding a data-dir: one e2d at a time, and no etcd on it that nobody looks after. The lock file lies beside the
 * data-dir and names the etcd that runs, so that the next e2d finds one that outlived its own.
 */
import { describeError, E2dError } from "../errors.ts";
import type { Clock, FileLock, Locks, Logger, Processes, ProcessIdentity } from "../ports.ts";

export interface HoldPorts {
  locks: Locks;
  processes: Processes;
  clock: Clock;
  log: Logger;
}

export interface Hold {
  /** From here on the next e2d will stop this etcd before it starts its own; undefined: it has ended. */
  noteEtcd(pid: number | undefined): Promise<void>;
  /** Only after etcd has ended. */
  release(): void;
}

export const lockPath = (dataDir: string) => `${dataDir}.e2d.lock`;

/** An e2d that is just ending still holds the lock for a moment. */
const lockWaitMs = 1_500;
/** etcd moves its leadership and closes its database first; a big one takes its time. */
const orphanStopMs = 30_000;
const lookEveryMs = 100;

/**
 * Throws E2dError `data_dir_in_use` while another e2d holds the data-dir, `orphan_stays` when an etcd that a former e2d
 * left behind does not end, or what Locks throws.
 */
export async function holdDataDir(dataDir: string, ports: HoldPorts): Promise<Hold> {
  const { locks, log } = ports;
  const path = lockPath(dataDir);
  const lock = await locks.take(path, lockWaitMs);
  if (lock === undefined) {
    throw new E2dError("data_dir_in_use", `Cannot use data-dir "${dataDir}": another e2d is running on it`, {
      hint: `stop that one first, or give this one another --data-dir; the lock is ${path}`,
    });
  }
  try {
    const left = orphanIn(lock.found);
    if (left !== undefined) await stopOrphan(dataDir, left, ports);
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

async function noteEtcd(lock: FileLock, pid: number | undefined, ports: HoldPorts, log: Logger): Promise<void> {
  try {
    const identity = pid === undefined ? undefined : await ports.processes.identify(pid);
    await lock.write(identity === undefined ? "" : JSON.stringify({ pid: identity.pid, started: identity.started }));
  } catch (error) {
    // The parent-death signal is the first guard; this is the second.
    log.warn("cannot note the running etcd for the next start", { error: describeError(error) });
  }
}

function orphanIn(text: string): Pick<ProcessIdentity, "pid" | "started"> | undefined {
  try {
    const { pid, started } = JSON.parse(text) as Record<string, unknown>;
    if (Number.isSafeInteger(pid) && (pid as number) > 1 && typeof started === "string") {
      return { pid: pid as number, started };
    }
  } catch {
    // Empty after a clean end, and half a note after a crash: then the parent-death signal had its turn.
  }
  return undefined;
}

async function stopOrphan(
  dataDir: string,
  left: Pick<ProcessIdentity, "pid" | "started">,
  { processes, clock, log }: HoldPorts,
): Promise<void> {
  /** Numbers come again: it must be the same start, and an etcd on this very data-dir, or one that is about to end. */
  const runs = async () => {
    const now = await processes.identify(left.pid);
    if (now === undefined || now.started !== left.started) return false;
    return now.args.length === 0 || now.args.includes(`--data-dir=${dataDir}`);
  };
  if (!await runs()) return;
  log.warn("an etcd that a former e2d left behind runs on this data-dir: stopping it", { pid: left.pid });
  const sinceMs = clock.monotonicMs();
  processes.kill(left.pid, "SIGTERM");
  let killed = false;
  while (await runs()) {
    const waitedMs = clock.monotonicMs() - sinceMs;
    if (waitedMs > orphanStopMs && !killed) {
      killed = true;
      log.warn("it does not stop, so it is killed", { pid: left.pid, waitedMs });
      processes.kill(left.pid, "SIGKILL");
    }
    if (waitedMs > 2 * orphanStopMs) {
      throw new E2dError("orphan_stays", `Cannot use data-dir "${dataDir}": etcd process ${left.pid} does not end`, {
        hint: "its disk may hang: look at the kernel's log, and end it by hand",
      });
    }
    await clock.sleep(lookEveryMs);
  }
  log.info("the former etcd has ended", { pid: left.pid });
}
