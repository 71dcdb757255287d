/** Starts, logs and stops one etcd process, and reports its exit with the cause. It never restarts etcd: the core decides. */
import type { Clock, Logger, Process, Processes } from "../../ports.ts";
import { etcdEnvironment } from "./environment.ts";
import { type ExitCause, exitCause } from "./exit_cause.ts";
import { isShutdownNoise, type LogLine, parseLogLine } from "./log_line.ts";

export interface EtcdExit {
  /** The exit status; 128 plus the signal's number when a signal ended it. */
  readonly code: number;
  readonly signal: string | undefined;
  readonly cause: ExitCause;
  /** The last log lines without stack frames, oldest first. */
  readonly tail: readonly string[];
}

export interface EtcdProcess {
  readonly pid: number;
  /** Never rejects. */
  readonly exited: Promise<EtcdExit>;
  /**
   * Sends SIGTERM, and SIGKILL when etcd does not exit within `timeoutMs`. Resolves when it has exited. Lines about
   * connections that the stop closes are logged at debug.
   */
  stop(timeoutMs: number): Promise<EtcdExit>;
  /** Sends SIGKILL: for an operator who asks a second time, and for data that is thrown away. */
  kill(): void;
}

export interface EtcdProcessPorts {
  processes: Processes;
  clock: Clock;
  log: Logger;
  /** Called for each log line. */
  onLine?: (line: LogLine) => void;
}

const tailLines = 30;
/** Frames of Go's stack traces follow the message that gives the cause, and would displace it from the tail. */
const stackFrame = /^\t|^goroutine \d+ \[|^created by |^\S+\(.*\)$/;
const lineMaxChars = 16_384;
/** A child process of etcd may hold the pipes open after etcd has exited: their end is awaited this long. */
const pipeDrainMs = 500;

/** Throws E2dError `process_start`. */
export async function startEtcdProcess(
  program: string,
  args: readonly string[],
  { processes, clock, log, onLine }: EtcdProcessPorts,
): Promise<EtcdProcess> {
  // A terminal sends Ctrl-C to every process of its foreground group. In its own session, etcd is stopped by e2d alone.
  const process = await processes.start(program, args, {
    dieWithParent: true,
    ownSession: true,
    inherit: etcdEnvironment,
  });
  let stopping = false;
  const tail: string[] = [];
  const onText = (line: string) => {
    if (line.trim() === "") return;
    if (!stackFrame.test(line)) tail.push(line.slice(0, 2_000));
    if (tail.length > tailLines) tail.shift();
    const parsed = parseLogLine(line);
    onLine?.(parsed);
    log[stopping && isShutdownNoise(parsed) ? "debug" : parsed.level](parsed.message, parsed.fields);
  };
  const output = Promise.all([readLines(process.stderr, onText), readLines(process.stdout, onText)]);
  const exited = exitOf(process, output, clock, tail);
  let killed = false;
  return {
    pid: process.pid,
    exited,
    async stop(timeoutMs) {
      stopping = true;
      process.kill("SIGTERM");
      const done = new AbortController();
      const overdue = clock.sleep(timeoutMs, done.signal).then(() => {
        if (killed) return;
        log.warn("etcd did not exit after SIGTERM, sending SIGKILL", { pid: process.pid, waitedMs: timeoutMs });
        process.kill("SIGKILL");
      }, () => {});
      const exit = await exited;
      done.abort();
      await overdue;
      if (!isClean(exit) && exit.signal !== "SIGKILL") {
        log.warn("etcd did not stop cleanly", { code: exit.code, lastLines: exit.tail.slice(-5) });
      }
      return exit;
    },
    kill() {
      killed = true;
      process.kill("SIGKILL");
    },
  };
}

/** etcd closes its database on SIGTERM and then sends that signal to itself. */
const isClean = ({ code, signal }: EtcdExit) => code === 0 || signal === "SIGTERM" || code === 128 + 15;

async function exitOf(process: Process, output: Promise<unknown>, clock: Clock, tail: string[]): Promise<EtcdExit> {
  const { code, signal } = await process.exited;
  const done = new AbortController();
  await Promise.race([output, clock.sleep(pipeDrainMs, done.signal).catch(() => {})]);
  done.abort();
  return { code, signal, cause: exitCause(tail), tail: [...tail] };
}

/** Calls `onLine` for each line, cut at {@link lineMaxChars}. Never rejects: a broken pipe counts as its end. */
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
    // The process and its pipe are gone.
  }
  onLine(rest);
}
