/** Runs an etcd program to learn its version. */
import { E2dError } from "../../errors.ts";
import type { Clock, Process, Processes } from "../../ports.ts";
import { etcdEnvironment } from "../process/environment.ts";
import { versionInOutput } from "../version.ts";

const outputMaxBytes = 65_536;
const answerTimeoutMs = 10_000;

/**
 * The version that `etcd --version` prints. Throws E2dError `etcd_not_runnable` when this machine cannot run the program,
 * `etcd_not_etcd` when its output is not that of etcd, or the signal's reason.
 */
export async function programVersion(
  etcd: string,
  { processes, clock }: { processes: Processes; clock: Clock },
  signal?: AbortSignal,
): Promise<string> {
  let process: Process;
  try {
    process = await processes.start(etcd, ["--version"], { dieWithParent: true, inherit: etcdEnvironment });
  } catch (cause) {
    throw new E2dError("etcd_not_runnable", `Cannot run "${etcd}": ${whyNot(cause)}`, {
      cause,
      hint: "check that it is executable, built for this platform, and not on a disk mounted noexec",
    });
  }
  const done = new AbortController();
  const overdue = clock.sleep(answerTimeoutMs, signal ? AbortSignal.any([signal, done.signal]) : done.signal);
  const timely = overdue.then(() => {
    throw new E2dError("etcd_not_etcd", `Cannot use "${etcd}": no answer to --version in ${answerTimeoutMs} ms`, {
      hint: "pass a folder with an official etcd with --etcd-dir",
    });
  });
  try {
    const answer = Promise.all([readText(process.stdout), readText(process.stderr), process.exited]);
    const [output, , { code }] = await Promise.race([answer, timely]);
    const version = code === 0 ? versionInOutput(output) : undefined;
    if (version !== undefined) return version;
    throw new E2dError("etcd_not_etcd", `Cannot use "${etcd}": its output of --version is not that of etcd`, {
      hint: "pass a folder with an official etcd with --etcd-dir",
    });
  } catch (error) {
    process.kill("SIGKILL");
    throw error;
  } finally {
    done.abort();
  }
}

/** ENOEXEC (8), EACCES (13) and ENOENT (2) have plain names. */
function whyNot(cause: unknown): string {
  const text = cause instanceof Error ? `${cause.message} ${String(cause.cause ?? "")}` : String(cause);
  if (/os error 8\b/.test(text)) return "it is built for another platform (exec format error)";
  if (/os error 13\b/.test(text)) return "permission denied";
  if (/os error 2\b/.test(text)) return "the program or its loader does not exist";
  return "it cannot be started";
}

/** The beginning of the output. The rest is read and dropped, so that the program never blocks on a full pipe. */
async function readText(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) {
    if (text.length < outputMaxBytes) text += decoder.decode(chunk, { stream: true });
  }
  return text.slice(0, outputMaxBytes);
}
