/** Flags as values: one table a command, from which its parser, its help and its completions come. */
import type { HostPort } from "../ports.ts";

/** Thrown by a flag's `parse`: says what is allowed, in words that follow "allowed: ". */
export class NotAllowed extends Error {}

export interface Flag<T> {
  /** One line for the help, without a full stop. */
  readonly help: string;
  /** What stands for the value in the help: "DIR". Undefined for a switch. */
  readonly placeholder?: string;
  readonly short?: string;
  /** As it would be typed; undefined: the flag is not set unless somebody sets it. */
  readonly default?: string;
  /** Value of the flag when it is given alone: a flag with this takes a value only after "=". */
  readonly alone?: string;
  /** Never shown, neither in errors nor in logs. */
  readonly secret?: boolean;
  /** The only values, for completions. */
  readonly choices?: readonly string[];
  /** True for paths, for completions. */
  readonly path?: boolean;
  /** Throws {@link NotAllowed}. */
  readonly parse: (text: string) => T;
}

/** By the flag's name in camel case: `dataDir` is `--data-dir` and E2D_DATA_DIR. */
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

/** A path; empty counts as not given, as it does for the original. */
export function path<O extends Options<string>>(help: string, options: O = {} as O) {
  return { placeholder: "FILE", help, path: true, ...options, parse: (text: string) => text };
}

/** `--verbose`, `--verbose=false` */
export function toggle<O extends Options<boolean>>(help: string, options: O = {} as O) {
  return { help, default: "false", alone: "true", ...options, parse: parseBoolean };
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

export function whole<O extends Options<number> & { min: number; max: number }>(
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

/** In milliseconds. */
export function duration<O extends Options<number>>(help: string, options: O = {} as O) {
  return { placeholder: "DURATION", help, ...options, parse: parseDuration };
}

/** A list separated by commas; empty parts are left out. */
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

/** Go's strconv.ParseBool. */
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

/** Go's time.ParseDuration, in milliseconds: "1m30s", "1.5h", "300ms". Not negative. */
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
 * host:port, host alone, :port, [IPv6]:port. An empty host stands for the node's own address. A URL is refused, because
 * what scheme is spoken follows from the certificates.
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
