import type { LogFields, LogLevel } from "../ports.ts";

/** One line of etcd's log. */
export interface LogLine {
  level: LogLevel;
  message: string;
  fields: LogFields;
}

const levels: Readonly<Record<string, LogLevel>> = { debug: "debug", info: "info", warn: "warn", warning: "warn" };

/**
 * Reads a line as etcd's zap logger writes it. What is no such line (a panic, an old logger) is its own message, at
 * `warn`: etcd says nothing outside its log unless something is wrong.
 */
export function parseLogLine(line: string): LogLine {
  if (line.startsWith("{")) {
    try {
      const { level, ts: _time, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
      if (typeof level === "string" && typeof msg === "string") {
        return { level: levels[level] ?? "error", message: msg, fields };
      }
    } catch {
      // Not JSON after all: told as it is.
    }
  }
  return { level: "warn", message: line, fields: {} };
}
