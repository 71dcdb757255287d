import type { LogFields, Logger, LogLevel } from "../../lib/ports.ts";

export interface LogLine {
  level: LogLevel;
  message: string;
  fields: LogFields;
}

/** A logger that stores its lines. */
export class TestLog implements Logger {
  readonly lines: LogLine[];
  readonly #fields: LogFields;

  constructor(lines: LogLine[] = [], fields: LogFields = {}) {
    this.lines = lines;
    this.#fields = fields;
  }

  debug = (message: string, fields?: LogFields) => this.#add("debug", message, fields);
  info = (message: string, fields?: LogFields) => this.#add("info", message, fields);
  warn = (message: string, fields?: LogFields) => this.#add("warn", message, fields);
  error = (message: string, fields?: LogFields) => this.#add("error", message, fields);
  with = (fields: LogFields): Logger => new TestLog(this.lines, { ...this.#fields, ...fields });

  #add(level: LogLevel, message: string, fields: LogFields = {}): void {
    this.lines.push({ level, message, fields: { ...this.#fields, ...fields } });
  }

  get text(): string {
    return JSON.stringify(this.lines);
  }
}
