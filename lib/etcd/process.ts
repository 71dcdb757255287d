/** One etcd process: started, listened to, stopped. What its end means is for others to decide. */
import type { Clock, Logger, Process, Processes } from "../ports.ts";
import { etcdEnvironment } from "./environment.ts";
import { type ExitCause, exitCause } from "./exit_cause.ts";
import { parseLogLine } from "./log_line.ts";

export interface EtcdExit {
  /** The exit status; 128 and the signal's number when a signal ended it. */
  readonly code: number;
  readonly signal: string | undefined;
  readonly cause: ExitCause;
  /** Its last lines but for stack frames, oldest first. */
  readonly tail: readonly string[];
}

export interface EtcdProcess {
  readonly pid: number;
  /** Never rejects. */
  readonly exited: Promise<EtcdExit>;
  /** SIGTERM, and SIGKILL when it does not end in `timeoutMs`. Resolves when it has ended. */
  stop(timeoutMs: number): Promise<EtcdExit>;
  /** SIGKILL now: for an operator who asks a second time, and where nothing is to be kept. */
  hurry(): void;
}

export interface EtcdProcessPorts {
  processes: Processes;
  clock: Clock;
  log: Logger;
}

const tailLines = 30;
/** Frames of Go's stack traces: they follow the words that say why, and would push those out. */
const frame = /^\t|^goroutine \d+ \[|^created by |^\S+\(.*\)$/;
const lineMaxChars = 16_384;
/** A child that the process left behind may hold the pipe open: the last words are waited for this long. */
const lastWordsMs = 500;

/** Throws E2dError `process_start`. */
export async function startEtcdProcess(
  program: string,
  args: readonly string[],
  { processes, clock, log }: EtcdProcessPorts,
): Promise<EtcdProcess> {
  const process = await processes.start(program, args, { dieWithParent: true, inherit: etcdEnvironment });
  const tail: string[] = [];
  const note = (line: string) => {
    if (line.trim() === "") return;
    if (!frame.test(line)) tail.push(line.slice(0, 2_000));
    if (tail.length > tailLines) tail.shift();
    const { level, message, fields } = parseLogLine(line);
    log[level](message, fields);
  };
  const words = Promise.all([readLines(process.stderr, note), readLines(process.stdout, note)]);
  const exited = endOf(process, words, clock, tail);
  let killed = false;
  return {
    pid: process.pid,
    exited,
    async stop(timeoutMs) {
      process.kill("SIGTERM");
      const done = new AbortController();
      const overdue = clock.sleep(timeoutMs, done.signal).then(() => {
        if (killed) return;
        log.warn("etcd does not stop, so it is killed", { pid: process.pid, waitedMs: timeoutMs });
        process.kill("SIGKILL");
      }, () => {});
      const exit = await exited;
      done.abort();
      await overdue;
      return exit;
    },
    hurry() {
      killed = true;
      process.kill("SIGKILL");
    },
  };
}

async function endOf(process: Process, words: Promise<unknown>, clock: Clock, tail: string[]): Promise<EtcdExit> {
  const { code, signal } = await process.exited;
  const done = new AbortController();
  await Promise.race([words, clock.sleep(lastWordsMs, done.signal).catch(() => {})]);
  done.abort();
  return { code, signal, cause: exitCause(tail), tail: [...tail] };
}

/** Hands on each line, cut at {@link lineMaxChars}. Never rejects: a pipe that breaks has said all it had. */
async function readLines(stream: ReadableStream<Uint8Array>, onLine: (line: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for await (const chunk of stream) {
      rest += decoder.decode(chunk, { stream: true });
      const lines = rest.split("\n");
      rest = lines.pop()!;
      for (const line of lines) onLine(line.slice(0, lineMaxChars));
      if (rest.length > lineMaxChars) {
        onLine(rest.slice(0, lineMaxChars));
        rest = "";
      }
    }
  } catch {
    // The process is gone, and its pipe with it.
  }
  onLine(rest);
}
