/**
 * The type of a flag, and constructors for the kinds of flags. The parser, the help, the completions and docs/cli.md of a
 * command are all derived from one table of flags.
 */
import type { HostPort } from "../../ports.ts";

/** Thrown by a flag's `parse`. The message names the allowed values and is printed after "allowed: ". */
export class NotAllowed extends Error {}

export interface Flag<T> {
  /** One line for the help, without a full stop. */
  readonly help: string;
  /** Placeholder of the value in the help: "DIR". Undefined for a switch. */
  readonly placeholder?: string;
  readonly short?: string;
  /** The default in the form of a typed value; undefined: the flag has no value unless the operator sets it. */
  readonly default?: string;
  /** Value of the flag without "=VALUE". A flag that has this takes a value only after "=". */
  readonly impliedValue?: string;
  /** The value appears neither in errors nor in logs. */
  readonly secret?: boolean;
  /** All allowed values, for completions. */
  readonly choices?: readonly string[];
  /** The value is a path, for completions. */
  readonly path?: boolean;
  /** Throws {@link NotAllowed}. */
  readonly parse: (text: string) => T;
}

/** Flags by their name in camel case: `dataDir` is `--data-dir` and E2D_DATA_DIR. */
export type FlagTable = Readonly<Record<string, Flag<unknown>>>;

export type FlagValues<T extends FlagTable> = {
  readonly [K in keyof T]: T[K] extends { default: string } ? ReturnType<T[K]["parse"]>
    : ReturnType<T[K]["parse"]> | undefined;
};

export const flagName = (key: string): string => key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
export const environmentName = (key: string): string => `E2D_${flagName(key).replaceAll("-", "_").toUpperCase()}`;

type Options<T> = Omit<Flag<T>, "parse" | "help" | "placeholder">;

export function text<O extends Options<string>>(placeholder: string, help: string, options: O = {} as O) {
  return { placeholder, help, ...options, parse: (text: string) => text };
}

/** A path. An empty path counts as not set, as in the Go e2d. */
export function path<O extends Options<string>>(help: string, options: O = {} as O) {
  return { placeholder: "FILE", help, path: true, ...options, parse: (text: string) => text };
}

/** A switch: `--verbose`, `--verbose=false`. */
export function toggle<O extends Options<boolean>>(help: string, options: O = {} as O) {
  return { help, default: "false", impliedValue: "true", ...options, parse: parseBoolean };
}

export function choice<const C extends readonly string[], O extends Options<C[number]>>(
  choices: C,
  help: string,
  options: O = {} as O,
) {
  return {
    placeholder: choices.join("|"),
    help,
    choices,
    ...options,
    parse(text: string): C[number] {
      if (choices.includes(text)) return text;
      throw new NotAllowed(choices.join(", "));
    },
  };
}

export function integer<O extends Options<number> & { min: number; max: number }>(
  placeholder: string,
  help: string,
  options: O,
) {
  return {
    placeholder,
    help,
    ...options,
    parse(text: string): number {
      const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
      if (value >= options.min && value <= options.max) return value;
      throw new NotAllowed(`a whole number from ${options.min} to ${options.max}`);
    },
  };
}

/** A duration; the parsed value is in milliseconds. */
export function duration<O extends Options<number>>(help: string, options: O = {} as O) {
  return { placeholder: "DURATION", help, ...options, parse: parseDuration };
}

/** A comma-separated list; empty parts are dropped. */
export function listOf<T, O extends Options<readonly T[]>>(
  placeholder: string,
  help: string,
  parse: (text: string) => T,
  options: O = {} as O,
) {
  return {
    placeholder,
    help,
    ...options,
    parse: (text: string): readonly T[] =>
      text.split(",").map((part) => part.trim()).filter((part) => part !== "").map(parse),
  };
}

export function address<O extends Options<HostPort>>(defaultPort: number, help: string, options: O = {} as O) {
  return { placeholder: "HOST:PORT", help, ...options, parse: (text: string) => parseAddress(text, defaultPort) };
}

/** Accepts the same values as Go's strconv.ParseBool. */
export function parseBoolean(text: string): boolean {
  if (/^(1|t|true)$/i.test(text)) return true;
  if (/^(0|f|false)$/i.test(text)) return false;
  throw new NotAllowed("true or false");
}

const unitMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  "µs": 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};

/** Parses Go's time.ParseDuration format ("1m30s", "1.5h", "300ms") to milliseconds. Refuses negative durations. */
export function parseDuration(text: string): number {
  const refuse = () => new NotAllowed("a duration such as 90s, 5m or 1h30m");
  if (text === "0") return 0;
  if (!/^\+?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h))+$/.test(text)) throw refuse();
  let ms = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)/g)) {
    ms += Number(amount) * unitMs[unit!]!;
  }
  if (!Number.isFinite(ms) || ms > Number.MAX_SAFE_INTEGER) throw refuse();
  return ms;
}

/**
 * Parses host:port, host alone, :port and [IPv6]:port. An empty host stands for the node's own address. Refuses a URL,
 * because the certificates determine the scheme.
 */
export function parseAddress(text: string, defaultPort: number): HostPort {
  const refuse = () => new NotAllowed(`HOST:PORT such as 10.0.0.1:${defaultPort} or [fd00::1]:${defaultPort}`);
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:/[\]]*)|([0-9a-fA-F]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*))(?::(\d{1,5}))?$/
    .exec(text);
  if (match === null) throw refuse();
  const [, bracketed, plain, bare, port] = match;
  const host = bracketed ?? plain ?? bare ?? "";
  const number = port === undefined ? defaultPort : Number(port);
  if (number < 1 || number > 65_535 || (host === "" && port === undefined)) throw refuse();
  return { host, port: number };
}
