/** From the arguments of the process to its exit status. */
import { describeError, type E2dError, isE2dError } from "../errors.ts";
import { type Command, usageError } from "./command.ts";
import { commands } from "./commands.ts";
import { environmentName } from "./flag.ts";
import { commandHelp, groupHelp, overview } from "./help.ts";
import { readFlags } from "./read_flags.ts";
import { strayVariables } from "./stray_variables.ts";
import { suggest } from "./suggest.ts";
import { ReaderGone, readerGoneStatus } from "./terminal.ts";

export interface DispatchPorts {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Undefined when there is no such file. */
  readonly readText: (path: string) => Promise<string | undefined>;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

/** Exit statuses: 0 done, 1 failed, 2 called wrongly and nothing touched, 141 nobody reads what it says. */
export async function dispatch(args: readonly string[], ports: DispatchPorts): Promise<number> {
  try {
    return await carryOut(args, ports);
  } catch (error) {
    if (error instanceof ReaderGone) return readerGoneStatus;
    if (!isE2dError(error)) throw error;
    ports.err(errorText(error));
    return error.code === "usage" ? 2 : 1;
  }
}

export function errorText(error: E2dError): string {
  if (error.code !== "usage") return `e2d: ${describeError(error)}\n`;
  return `e2d: ${error.message}\n${error.hint === undefined ? "" : `${error.hint}\n`}`;
}

async function carryOut(args: readonly string[], ports: DispatchPorts): Promise<number> {
  const { command, rest } = findCommand(args);
  if (command === undefined) return noCommand(args, rest, ports);
  const hint = `see "e2d ${command.path} --help"`;
  const { flags } = command;
  let reading = readFlags(flags, { args: rest, environment: ports.environment });
  if (asksForHelp(rest)) {
    ports.out(commandHelp(command));
    return 0;
  }
  for (const line of strayVariables(ports.environment, settings)) ports.err(`e2d: ${line}\n`);
  const config = (reading.values as { config?: string }).config;
  if (config !== undefined) {
    const values = await readConfig(config, ports);
    reading = readFlags(flags, { args: rest, environment: ports.environment, config: { path: config, values } });
  }
  const problems = [...reading.problems, ...operandProblems(command, reading.operands)];
  if (reading.problems.length === 0) problems.push(...command.check(reading.values as Record<string, unknown>));
  if (problems.length > 0) throw usageError(problems, hint);
  return await command.run(reading.values as Record<string, unknown>, reading.operands);
}

/** Of every command: what one does not know may be set for another. */
const settings = commands.flatMap(({ flags }) => Object.keys(flags).map(environmentName));

const asksForHelp = (args: readonly string[]) => {
  const end = args.indexOf("--");
  return args.slice(0, end < 0 ? args.length : end).some((arg) => arg === "--help" || arg === "-h");
};

const longestPath = Math.max(...commands.map(({ path }) => path.split(" ").length));

/** The longest path that the first words spell. */
function spelledBy(words: readonly string[]): Command | undefined {
  for (let count = longestPath; count > 0; count--) {
    const path = words.slice(0, count).join(" ");
    const command = commands.find((each) => each.path === path);
    if (command !== undefined) return command;
  }
  return undefined;
}

/** Flags may stand between the words of the command. */
function findCommand(args: readonly string[]): { command: Command | undefined; rest: readonly string[] } {
  const words: number[] = [];
  for (const [at, arg] of args.entries()) {
    if (!arg.startsWith("-")) words.push(at);
    else if (!/^(-v|--verbose|-h|--help)(=|$)/.test(arg)) break;
  }
  const command = spelledBy(words.map((at) => args[at]!));
  if (command === undefined) return { command, rest: args };
  const taken = words.slice(0, command.path.split(" ").length);
  return { command, rest: args.filter((_, at) => !taken.includes(at)) };
}

function noCommand(args: readonly string[], rest: readonly string[], ports: DispatchPorts): number {
  const words = args.filter((arg) => !arg.startsWith("-"));
  const named = words[0] === "help" ? words.slice(1) : words;
  const [first, second] = named;
  const asked = asksForHelp(rest) || words[0] === "help";
  const spelled = spelledBy(named);
  if (asked && spelled !== undefined) {
    ports.out(commandHelp(spelled));
    return 0;
  }
  const group = first !== undefined && commands.some(({ path }) => path.startsWith(`${first} `));
  const help = group ? groupHelp(first, commands) : overview(commands);
  if (asked || first === undefined) {
    ports.out(help);
    return asked ? 0 : 2;
  }
  if (group && second === undefined) throw usageError([`"e2d ${first}" needs a command`], help);
  const word = group ? `${first} ${second}` : first;
  const known = group
    ? commands.map(({ path }) => path).filter((path) => path.startsWith(`${first} `))
    : [...new Set(commands.map(({ path }) => path.split(" ")[0]!))];
  const meant = suggest(word, known);
  throw usageError(
    [`unknown command "${word}"${meant === undefined ? "" : `: did you mean "${meant}"?`}`],
    'see "e2d --help"',
  );
}

function operandProblems(command: Command, operands: readonly string[]): string[] {
  const problems: string[] = [];
  for (const [at, { name, required, choices }] of command.operands.entries()) {
    const given = operands[at];
    if (given === undefined) {
      if (required) problems.push(`${name} is missing${choices === undefined ? "" : `: ${choices.join(", ")}`}`);
    } else if (choices !== undefined && !choices.includes(given)) {
      const meant = suggest(given, choices);
      problems.push(
        `${name} ${JSON.stringify(given)}: allowed: ${choices.join(", ")}${
          meant === undefined ? "" : ` (did you mean ${meant}?)`
        }`,
      );
    }
  }
  for (const extra of operands.slice(command.operands.length)) {
    problems.push(`unexpected argument ${JSON.stringify(extra)}`);
  }
  return problems;
}

async function readConfig(path: string, ports: DispatchPorts): Promise<Record<string, unknown>> {
  const hint = "it is YAML: one flag's name and value a line, such as data-dir: /var/lib/etcd";
  const text = await ports.readText(path);
  if (text === undefined) throw usageError([`--config "${path}": there is no such file`], hint);
  const { parse } = await import("yaml");
  let value: unknown;
  try {
    value = parse(text, { maxAliasCount: 10 });
  } catch (cause) {
    // Its first line says what and where; the others quote the file, which may hold secrets.
    const [what] = (cause instanceof Error ? cause.message : String(cause)).split("\n");
    throw usageError([`--config "${path}": ${what}`], hint);
  }
  if (value === null || value === undefined) return {};
  if (typeof value !== "object" || Array.isArray(value)) {
    throw usageError([`--config "${path}": it holds no settings`], hint);
  }
  return value as Record<string, unknown>;
}
