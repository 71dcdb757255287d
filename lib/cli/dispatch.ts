/**
 * Selects the command from the arguments of the process, reads its flags, runs it, and returns the exit status. The only
 * place that prints errors.
 */
import { describeError, type E2dError, isE2dError } from "../errors.ts";
import { type Command, usageError } from "./flags/command.ts";
import { commands } from "./flags/commands.ts";
import { environmentName } from "./flags/flag.ts";
import { commandHelp, groupHelp, overview } from "./flags/help.ts";
import { readFlags } from "./flags/read_flags.ts";
import { misspeltVariables } from "./flags/misspelt_variables.ts";
import { suggest } from "./flags/suggest.ts";
import { ReaderGone, readerGoneStatus } from "./terminal.ts";

export interface DispatchPorts {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Resolves with undefined if the file does not exist. */
  readonly readText: (path: string) => Promise<string | undefined>;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

/** Exit statuses: 0 success, 1 failure, 2 invalid arguments and nothing changed, 141 the reader closed the pipe. */
export async function dispatch(args: readonly string[], ports: DispatchPorts): Promise<number> {
  try {
    return await runCommand(args, ports);
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

async function runCommand(args: readonly string[], ports: DispatchPorts): Promise<number> {
  const { command, remaining } = findCommand(args);
  if (command === undefined) return helpOrUnknownCommand(args, ports);
  const hint = `see "e2d ${command.path} --help"`;
  const { flags } = command;
  let reading = readFlags(flags, { args: remaining, environment: ports.environment });
  if (requestsHelp(remaining)) {
    ports.out(commandHelp(command));
    return 0;
  }
  for (const line of misspeltVariables(ports.environment, settings)) ports.err(`e2d: ${line}\n`);
  const config = (reading.values as { config?: string }).config;
  if (config !== undefined) {
    const values = await readConfig(config, ports);
    reading = readFlags(flags, { args: remaining, environment: ports.environment, config: { path: config, values } });
  }
  const problems = [...reading.problems, ...operandProblems(command, reading.operands)];
  if (reading.problems.length === 0) problems.push(...command.check(reading.values as Record<string, unknown>));
  if (problems.length > 0) throw usageError(problems, hint);
  return await command.run(reading.values as Record<string, unknown>, reading.operands);
}

/** The variables of all commands: a variable that one command ignores may be set for another. */
const settings = commands.flatMap(({ flags }) => Object.keys(flags).map(environmentName));

const requestsHelp = (args: readonly string[]) => {
  const end = args.indexOf("--");
  return args.slice(0, end < 0 ? args.length : end).some((arg) => arg === "--help" || arg === "-h");
};

const longestPath = Math.max(...commands.map(({ path }) => path.split(" ").length));

/** The command with the longest path that `words` begins with. */
function commandNamedBy(words: readonly string[]): Command | undefined {
  for (let count = longestPath; count > 0; count--) {
    const path = words.slice(0, count).join(" ");
    const command = commands.find((each) => each.path === path);
    if (command !== undefined) return command;
  }
  return undefined;
}

/** Finds the command and the arguments without its words. Global flags may precede or separate the words. */
function findCommand(args: readonly string[]): { command: Command | undefined; remaining: readonly string[] } {
  const words: number[] = [];
  for (const [at, arg] of args.entries()) {
    if (!arg.startsWith("-")) words.push(at);
    else if (!/^(-v|--verbose|-h|--help)(=|$)/.test(arg)) break;
  }
  const command = commandNamedBy(words.map((at) => args[at]!));
  if (command === undefined) return { command, remaining: args };
  const taken = words.slice(0, command.path.split(" ").length);
  return { command, remaining: args.filter((_, at) => !taken.includes(at)) };
}

/** Prints the requested help, or throws the usage error of an unknown command. Resolves with the exit status. */
function helpOrUnknownCommand(args: readonly string[], ports: DispatchPorts): number {
  const words = args.filter((arg) => !arg.startsWith("-"));
  const named = words[0] === "help" ? words.slice(1) : words;
  const [first, second] = named;
  const helpRequested = requestsHelp(args) || words[0] === "help";
  const command = commandNamedBy(named);
  if (helpRequested && command !== undefined) {
    ports.out(commandHelp(command));
    return 0;
  }
  const group = first !== undefined && commands.some(({ path }) => path.startsWith(`${first} `));
  const help = group ? groupHelp(first, commands) : overview(commands);
  if (helpRequested || first === undefined) {
    ports.out(help);
    return helpRequested ? 0 : 2;
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
  const hint = "the file is YAML with one flag per line, such as data-dir: /var/lib/etcd";
  const text = await ports.readText(path);
  if (text === undefined) throw usageError([`--config "${path}": no such file`], hint);
  const { parse } = await import("yaml");
  let value: unknown;
  try {
    value = parse(text, { maxAliasCount: 10 });
  } catch (cause) {
    // The first line names the error and its position; the others quote the file, which may contain secrets.
    const [firstLine] = (cause instanceof Error ? cause.message : String(cause)).split("\n");
    throw usageError([`--config "${path}": ${firstLine}`], hint);
  }
  if (value === null || value === undefined) return {};
  if (typeof value !== "object" || Array.isArray(value)) {
    throw usageError([`--config "${path}": the file contains no settings`], hint);
  }
  return value as Record<string, unknown>;
}
