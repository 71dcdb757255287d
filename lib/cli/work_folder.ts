/**
 * The work folder of commands that store a plaintext database temporarily. The folder belongs to this process and is
 * removed on success, failure, SIGINT, SIGTERM and SIGHUP. The next command removes the folder of a killed process.
 */
import { describeError } from "../errors.ts";
import type { Logger } from "../ports.ts";
import { openProcessFolder, type ProcessFolder } from "../snapshot/work_folder.ts";
import { systemClock } from "../sys/clock.ts";
import { systemFiles } from "../sys/files.ts";
import { systemLocks } from "../sys/lock.ts";
import { systemStaging } from "../sys/staging.ts";

const signals = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
/** Time for child processes to exit and files to close after a signal. */
const graceMs = 3_000;

export const temporaryFolder = (): string => (Deno.env.get("TMPDIR") || "/tmp").replace(/(?<=.)\/+$/, "");

export interface WorkOptions {
  /** The folder in which the work folder is created. Undefined: `work` gets no folder. */
  readonly parent: string | undefined;
  /** If no safe folder can be created, `work` gets none and the command continues. */
  readonly optional?: boolean;
}

/** Resolves with what `work` returns, or with the exit status of a signal. Throws what openProcessFolder and `work` throw. */
export async function withWorkFolder(
  { parent, optional = false }: WorkOptions,
  work: (folder: string | undefined, signal: AbortSignal) => Promise<number>,
  log: Logger,
): Promise<number> {
  const stop = new AbortController();
  const { promise: stopped, resolve } = Promise.withResolvers<number>();
  const listeners = Object.entries(signals).map(([name, status]) => {
    const listener = () => {
      stop.abort(new Error(`ended by ${name}`));
      resolve(status);
    };
    Deno.addSignalListener(name as keyof typeof signals, listener);
    return () => Deno.removeSignalListener(name as keyof typeof signals, listener);
  });
  let folder: ProcessFolder | undefined;
  try {
    folder = await openFolder(parent, optional, log);
    const working = work(folder?.path, stop.signal);
    working.catch(() => {});
    const first = await Promise.race([working, stopped]);
    if (!stop.signal.aborted) return first;
    await Promise.race([working.catch(() => {}), systemClock.sleep(graceMs)]);
    return await stopped;
  } catch (error) {
    if (stop.signal.aborted) return await stopped;
    throw error;
  } finally {
    await folder?.close();
    for (const remove of listeners) remove();
  }
}

async function openFolder(
  parent: string | undefined,
  optional: boolean,
  log: Logger,
): Promise<ProcessFolder | undefined> {
  if (parent === undefined) return undefined;
  try {
    return await openProcessFolder(parent, { files: systemFiles, staging: systemStaging, locks: systemLocks });
  } catch (error) {
    if (!optional) throw error;
    log.warn("continuing without a local copy of the database", { error: describeError(error) });
    return undefined;
  }
}
