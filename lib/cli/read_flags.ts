/**
 * The values of a command's flags: command line before environment before configuration file before default. Finds
 * everything that is wrong before it says so.
 */
import { parseArgs } from "node:util";
import { environmentName, type Flag, flagName, type FlagTable, type FlagValues, NotAllowed } from "./flag.ts";
import { suggest } from "./suggest.ts";

export interface FlagSources {
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Of the file that `--config` names. */
  readonly config?: { readonly path: string; readonly values: Readonly<Record<string, unknown>> };
}

export interface FlagReading<T extends FlagTable> {
  readonly values: FlagValues<T>;
  /** Arguments that are no flags. */
  readonly operands: readonly string[];
  /** A sentence for each thing that is wrong; `values` must not be used when there is one. */
  readonly problems: readonly string[];
}

interface Given {
  readonly text: string;
  /** How the operator knows it: "--data-dir", "E2D_DATA_DIR". */
  readonly from: string;
}

export function readFlags<T extends FlagTable>(table: T, sources: FlagSources): FlagReading<T> {
  const problems: string[] = [];
  const { given, operands } = fromArgs(table, sources.args, problems);
  for (const key of Object.keys(table)) {
    const text = sources.environment[environmentName(key)];
    // An empty variable is how units and containers leave one out.
    if (!given.has(key) && text !== undefined && text !== "") given.set(key, { text, from: environmentName(key) });
  }
  if (sources.config !== undefined) fromConfig(table, sources.config, given, problems);
  const values: Record<string, unknown> = {};
  for (const [key, flag] of Object.entries(table)) {
    const each = given.get(key) ?? (flag.default === undefined ? undefined : { text: flag.default, from: "" });
    if (each === undefined) continue;
    try {
      values[key] = flag.parse(each.text);
    } catch (error) {
      if (!(error instanceof NotAllowed)) throw error;
      problems.push(`${each.from} ${shown(flag, each.text)}: allowed: ${error.message}`);
    }
  }
  return { values: values as FlagValues<T>, operands, problems };
}

const shown = (flag: Flag<unknown>, text: string) => flag.secret ? "(secret)" : JSON.stringify(text);

function fromArgs(table: FlagTable, args: readonly string[], problems: string[]) {
  const given = new Map<string, Given>();
  const operands: string[] = [];
  const keys = new Map(Object.keys(table).map((key) => [flagName(key), key]));
  const shorts = new Map(
    Object.entries(table).flatMap(([key, { short }]) => short === undefined ? [] : [[short, key]]),
  );
  const options = Object.fromEntries(
    Object.entries(table).map(([key, { short, alone }]) => [flagName(key), {
      type: alone === undefined ? "string" as const : "boolean" as const,
      ...(short === undefined ? {} : { short }),
    }]),
  );
  const { tokens } = parseArgs({ args: [...args], options, strict: false, allowPositionals: true, tokens: true });
  let afterUnknown = -1;
  for (const token of tokens) {
    // What follows an unknown flag is most likely its value: no operand, and perhaps a secret that must not be shown.
    if (token.kind === "positional" && token.index !== afterUnknown) operands.push(token.value);
    if (token.kind !== "option") continue;
    const key = keys.get(token.name) ?? shorts.get(token.name);
    if (key === undefined) {
      if (!token.inlineValue) afterUnknown = token.index + 1;
      const meant = suggest(token.name, [...keys.keys()]);
      problems.push(`unknown flag ${token.rawName}${meant === undefined ? "" : `: did you mean --${meant}?`}`);
      continue;
    }
    const flag = table[key]!;
    // `-n=3` comes as "=3".
    const value = token.rawName.startsWith("--") ? token.value : token.value?.replace(/^=/, "");
    const text = value ?? flag.alone;
    if (text === undefined) problems.push(`${token.rawName} needs a value: ${token.rawName}=${flag.placeholder}`);
    else given.set(key, { text, from: token.rawName });
  }
  return { given, operands };
}

function fromConfig(
  table: FlagTable,
  { path, values }: NonNullable<FlagSources["config"]>,
  given: Map<string, Given>,
  problems: string[],
): void {
  const keys = new Map(Object.keys(table).map((key) => [flagName(key), key]));
  for (const [name, value] of Object.entries(values)) {
    const key = keys.get(name.replaceAll("_", "-"));
    const from = `${name} in ${path}`;
    if (key === undefined || key === "config") {
      const meant = suggest(name.replaceAll("_", "-"), [...keys.keys()]);
      problems.push(`unknown setting ${from}${meant === undefined ? "" : `: did you mean ${meant}?`}`);
      continue;
    }
    if (given.has(key) || value === null) continue;
    const text = Array.isArray(value) ? value.join(",") : value;
    if (typeof text === "object") problems.push(`${from}: allowed: a text, a number, true, false or a list`);
    else given.set(key, { text: String(text), from });
  }
}
