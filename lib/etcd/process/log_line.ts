/** Reads etcd's log: the level and message of a line, and which operations block etcd meanwhile. */
import type { LogFields, LogLevel } from "../../ports.ts";

/** One line of etcd's log. */
export interface LogLine {
  level: LogLevel;
  message: string;
  fields: LogFields;
}

const levels: Readonly<Record<string, LogLevel>> = { debug: "debug", info: "info", warn: "warn", warning: "warn" };

/**
 * Parses a line of etcd's zap logger. Any other line (a panic, an old logger) becomes the message as it is, at `warn`:
 * etcd prints outside its log only when something is wrong.
 */
export function parseLogLine(line: string): LogLine {
  if (line.startsWith("{")) {
    try {
      const { level, ts: _time, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
      if (typeof level === "string" && typeof msg === "string") {
        return { level: isRetriedByEtcd(msg, fields) ? "info" : levels[level] ?? "error", message: msg, fields };
      }
    } catch {
      // Not JSON after all: the line itself is the message.
    }
  }
  return { level: "warn", message: line, fields: {} };
}

/**
 * True for an error that etcd itself corrects: etcd 3.6 and 3.7 read the storage version every four seconds, and until
 * the first batch of writes of a new cluster is on disk they log that the term is missing (server/etcdserver/version).
 */
function isRetriedByEtcd(message: string, { error }: LogFields): boolean {
  return /^failed to (update storage|detect schema) version$/i.test(message) &&
    String(error).endsWith("missing term information");
}

/**
 * True for lines that etcd 3.4 to 3.7 logs in every orderly stop: warnings about the connections that it closes, and one
 * error for each listener ("mux: server closed"). Other errors, for example that the database does not close, count.
 */
export function isShutdownNoise({ level, message }: LogLine): boolean {
  return level === "warn" || message.startsWith("setting up serving from embedded etcd failed");
}

/** Messages of etcd 3.4 to 3.7 around operations during which a member does not answer. */
const longOperations: readonly { readonly begins: RegExp; readonly ends: RegExp }[] = [
  { begins: /^(starting (to )?defragment|defragmenting$)/, ends: /^(finished|failed to) defragment/ },
  { begins: /^applying snapshot/, ends: /^applied snapshot/ },
];

/** Follows a log: knows whether etcd is in an operation during which it does not answer. */
export class LongOperation {
  #ends: RegExp | undefined;

  /** Takes the next line's message, and returns whether such an operation is in progress after it. */
  observe(message: string): boolean {
    if (this.#ends?.test(message)) this.#ends = undefined;
    this.#ends = longOperations.find(({ begins }) => begins.test(message))?.ends ?? this.#ends;
    return this.#ends !== undefined;
  }
}
