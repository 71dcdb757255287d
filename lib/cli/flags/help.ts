/** Help texts, derived from the list of commands. */
import type { Command } from "./command.ts";
import { environmentName, type Flag, flagName } from "./flag.ts";

const intro = "e2d deploys and manages highly available etcd clusters.";

export const planUsage = "plan COMMAND";
export const planSummary = "print what COMMAND would do, and change nothing: the same as COMMAND --dry-run";

export function overview(commands: readonly Command[]): string {
  // One row represents the plans of all commands.
  const rows = [
    ...commands.filter(({ planOf }) => planOf === undefined).map(({ path, summary }) => [path, summary] as const),
    [planUsage, planSummary] as const,
  ];
  const width = Math.max(...rows.map(([path]) => path.length));
  return [
    intro,
    "",
    "Usage: e2d COMMAND [FLAGS]",
    "",
    "Commands:",
    ...rows.map(([path, summary]) => `  ${path.padEnd(width)}  ${summary}`),
    "",
    'Flags of a command: "e2d COMMAND --help". Each flag has an environment variable: --data-dir is E2D_DATA_DIR.',
    "",
  ].join("\n");
}

/** Help for the commands that begin with `prefix`: "pki". */
export function groupHelp(prefix: string, commands: readonly Command[]): string {
  const members = commands.filter(({ path }) => path.startsWith(`${prefix} `));
  const width = Math.max(...members.map(({ path }) => path.length));
  return [
    `Usage: e2d ${prefix} COMMAND [FLAGS]`,
    "",
    "Commands:",
    ...members.map(({ path, summary }) => `  ${path.padEnd(width)}  ${summary}`),
    "",
  ].join("\n");
}

export function commandHelp(command: Command): string {
  const operands = command.operands.map(({ name, required }) => required ? ` ${name}` : ` [${name}]`).join("");
  const rows = Object.entries(command.flags).map(([key, flag]) => [flagForm(key, flag), flagText(key, flag)] as const);
  const width = Math.min(36, Math.max(...rows.map(([form]) => form.length)));
  return [
    `${command.summary[0]!.toUpperCase()}${command.summary.slice(1)}.`,
    "",
    ...(command.details === undefined ? [] : [command.details, ""]),
    `Usage: e2d ${command.path}${operands}${rows.length > 0 ? " [FLAGS]" : ""}`,
    ...(command.operands.length === 0 ? [] : ["", ...command.operands.map(({ name, help }) => `  ${name}: ${help}`)]),
    ...(rows.length === 0 ? [] : ["", "Flags:"]),
    ...rows.flatMap(([form, text]) =>
      form.length > width ? [`  ${form}`, `  ${"".padEnd(width)}  ${text}`] : [`  ${form.padEnd(width)}  ${text}`]
    ),
    "",
  ].join("\n");
}

export function flagForm(key: string, flag: Flag<unknown>): string {
  const short = flag.short === undefined ? "    " : `-${flag.short}, `;
  const value = flag.placeholder === undefined
    ? ""
    : flag.impliedValue === undefined
    ? ` ${flag.placeholder}`
    : `[=${flag.placeholder}]`;
  return `${short}--${flagName(key)}${value}`;
}

function flagText(key: string, flag: Flag<unknown>): string {
  const notes = [
    ...(flag.default === undefined || flag.default === "" || flag.default === "false"
      ? []
      : [`default ${flag.default}`]),
    ...(key === "help" ? [] : [environmentName(key)]),
  ];
  return notes.length === 0 ? flag.help : `${flag.help} (${notes.join(", ")})`;
}
