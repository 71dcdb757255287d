import { E2dError } from "../errors.ts";
import type { Clock, Process, Processes } from "../ports.ts";
import { etcdEnvironment } from "./environment.ts";
import { versionInOutput } from "./version.ts";

const outputMaxBytes = 65_536;
const answerTimeoutMs = 10_000;

/**
 * Asks a program for its etcd version by running `etcd --version`. Throws E2dError `etcd_not_runnable` when this
 * machine cannot run it and `etcd_not_etcd` when it runs but does not answer as etcd does.
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
      hint: "check that it is executable, made for this machine, and not on a disk mounted noexec",
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
    throw new E2dError("etcd_not_etcd", `Cannot use "${etcd}": it does not answer --version as etcd does`, {
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
  if (/os error 8\b/.test(text)) return "it is made for another kind of machine (exec format error)";
  if (/os error 13\b/.test(text)) return "permission denied";
  if (/os error 2\b/.test(text)) return "it, or the loader it asks for, is not there";
  return "it does not start";
}

/** The beginning of what a program prints; the rest is read and dropped, so that it never waits for us. */
async function readText(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) {
    if (text.length < outputMaxBytes) text += decoder.decode(chunk, { stream: true });
  }
  return text.slice(0, outputMaxBytes);
}
