/** The log of this process, on standard error: text on a terminal, otherwise one JSON object per line. Masks secrets. */
import { describeError, E2dError } from "../errors.ts";
import type { LogFields, Logger, LogLevel } from "../ports.ts";

export interface LogOptions {
  format: "text" | "json";
  /** Include debug lines. */
  verbose: boolean;
  colour: boolean;
  /** Prefix each line with its level for systemd's journal (sd-daemon(3)). */
  priorities?: boolean;
  wallMs: () => number;
  write: (line: string) => void;
}

const valueMaxChars = 8_192;
const depthMax = 6;
/** Whole words of a field's name. The path of a key and an etcd key are not secrets. */
const secretName =
  /(^|_)(secret|token|password|passphrase|authorization|cookie|credential|private)(_|$)|(^|_)(access|secret|api)_key$/;

/** Of syslog(3). */
const journalPriorities: Record<LogLevel, number> = { debug: 7, info: 6, warn: 4, error: 3 };

export function createLogger(options: LogOptions, fields: LogFields = {}): Logger {
  const line = (level: LogLevel) => (message: string, more: LogFields = {}) => {
    if (level === "debug" && !options.verbose) return;
    try {
      const priority = options.priorities ? `<${journalPriorities[level]}>` : "";
      options.write(priority + format(options, level, message, { ...fields, ...more }));
    } catch {
      // A log that cannot be written must not stop the node.
    }
  };
  return {
    debug: line("debug"),
    info: line("info"),
    warn: line("warn"),
    error: line("error"),
    with: (more) => createLogger(options, { ...fields, ...more }),
  };
}

/** `auto` is text on a terminal. NO_COLOR as in https://no-color.org. */
export function systemLogger(format: "auto" | "text" | "json", verbose: boolean): Logger {
  const terminal = Deno.stderr.isTerminal();
  const chosen = format === "auto" ? terminal ? "text" : "json" : format;
  const encoder = new TextEncoder();
  return createLogger({
    format: chosen,
    verbose,
    colour: terminal && !Deno.env.get("NO_COLOR"),
    priorities: writesToJournal(Deno.env.get("JOURNAL_STREAM")),
    wallMs: () => Date.now(),
    write(line) {
      const data = encoder.encode(line);
      for (let at = 0; at < data.length;) at += Deno.stderr.writeSync(data.subarray(at));
    },
  });
}

/** The variable has device and inode of the journal's socket; standard error may have been redirected since. */
function writesToJournal(stream: string | undefined): boolean {
  if (!stream) return false;
  try {
    const { dev, ino } = Deno.statSync("/proc/self/fd/2");
    return stream === `${dev}:${ino}`;
  } catch {
    return false;
  }
}

function format(options: LogOptions, level: LogLevel, message: string, fields: LogFields): string {
  const time = new Date(options.wallMs()).toISOString();
  const shown = masked(fields, 0) as Record<string, unknown>;
  if (options.format === "json") {
    // These come first, and no field of the same name replaces them.
    const own: Record<string, unknown> = { time, level, message };
    for (const [name, value] of Object.entries(shown)) own[name in own ? `${name}_` : name] = value;
    return `${JSON.stringify(own)}\n`;
  }
  const paint = (code: number, text: string) => options.colour ? `\x1b[${code}m${text}\x1b[0m` : text;
  const colours: Record<LogLevel, number> = { debug: 90, info: 36, warn: 33, error: 31 };
  const parts = Object.entries(shown).map(([name, value]) => `${paint(90, `${name}=`)}${plain(value)}`);
  const head = `${paint(90, time.slice(11, 23))} ${paint(colours[level], level.toUpperCase().padEnd(5))}`;
  return `${[head, oneLine(message), ...parts].join(" ")}\n`;
}

function plain(value: unknown): string {
  if (typeof value === "string") return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
  return JSON.stringify(value) ?? String(value);
}

const oneLine = (text: string) => text.replaceAll("\n", " ");

/** A copy for the log: secrets masked, errors as text, long texts cut, only values that JSON has. */
function masked(value: unknown, depth: number): unknown {
  switch (typeof value) {
    case "string":
      return value.length > valueMaxChars ? `${value.slice(0, valueMaxChars)}…` : value;
    case "bigint":
    case "symbol":
    case "function":
      return String(value);
    case "object":
      break;
    default:
      return value;
  }
  if (value === null) return null;
  if (value instanceof E2dError) return { code: value.code, error: describeError(value) };
  if (value instanceof Error) return describeError(value);
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (depth >= depthMax) return "…";
  if (Array.isArray(value)) return value.slice(0, 256).map((each) => masked(each, depth + 1));
  return Object.fromEntries(
    Object.entries(value).filter(([, each]) => each !== undefined)
      .map(([name, each]) => [name, isSecret(name) ? "(secret)" : masked(each, depth + 1)]),
  );
}

function isSecret(name: string): boolean {
  return secretName.test(name.replace(/[A-Z]/g, (letter) => `_${letter}`).replaceAll("-", "_").toLowerCase());
}
