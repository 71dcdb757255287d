/**
 * Reads the values of a command's flags. Precedence: command line, environment, configuration file, default. Reports all
 * problems at once and never the value of a secret flag.
 */
import { parseArgs } from "node:util";
import { environmentName, type Flag, flagName, type FlagTable, type FlagValues, NotAllowed } from "./flag.ts";
import { definedFields } from "../defined_fields.ts";
import { suggest } from "./suggest.ts";

export interface FlagSources {
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Parsed content of the `--config` file. */
  readonly config?: { readonly path: string; readonly values: Readonly<Record<string, unknown>> };
}

export interface FlagReading<T extends FlagTable> {
  readonly values: FlagValues<T>;
  /** Arguments that are not flags. */
  readonly operands: readonly string[];
  /** One sentence per problem. `values` is valid only if this is empty. */
  readonly problems: readonly string[];
}

interface RawValue {
  readonly text: string;
  /** Where the value was set: "--data-dir", "E2D_DATA_DIR". */
  readonly from: string;
}

export function readFlags<T extends FlagTable>(table: T, sources: FlagSources): FlagReading<T> {
  const problems: string[] = [];
  const { given, operands } = fromArgs(table, sources.args, problems);
  for (const key of Object.keys(table)) {
    const text = sources.environment[environmentName(key)];
    // systemd units and container specs set an empty variable for "not set".
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
  const given = new Map<string, RawValue>();
  const operands: string[] = [];
  const keys = new Map(Object.keys(table).map((key) => [flagName(key), key]));
  const shorts = new Map(
    Object.entries(table).flatMap(([key, { short }]) => short === undefined ? [] : [[short, key]]),
  );
  const options = Object.fromEntries(
    Object.entries(table).map(([key, { short, impliedValue }]) => [flagName(key), {
      type: impliedValue === undefined ? "string" as const : "boolean" as const,
      ...definedFields({ short }),
    }]),
  );
  const { tokens } = parseArgs({ args: [...args], options, strict: false, allowPositionals: true, tokens: true });
  let afterUnknown = -1;
  for (const token of tokens) {
    // The word after an unknown flag is most likely its value: not an operand, and possibly a secret.
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
    // parseArgs returns "=3" for `-n=3`.
    const value = token.rawName.startsWith("--") ? token.value : token.value?.replace(/^=/, "");
    const text = value ?? flag.impliedValue;
    if (text === undefined) problems.push(`${token.rawName} needs a value: ${token.rawName}=${flag.placeholder}`);
    else given.set(key, { text, from: token.rawName });
  }
  return { given, operands };
}

function fromConfig(
  table: FlagTable,
  { path, values }: NonNullable<FlagSources["config"]>,
  given: Map<string, RawValue>,
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
    if (typeof text === "object") problems.push(`${from}: allowed: a string, a number, true, false or a list`);
    else given.set(key, { text: String(text), from });
  }
}
