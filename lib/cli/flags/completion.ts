/**
 * Completion scripts for bash, zsh and fish. The scripts contain all words, so that a key press starts no process.
 */
import type { Command } from "./command.ts";
import { type Flag, flagName } from "./flag.ts";

export const shells = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof shells)[number];

export function completionScript(shell: Shell, commands: readonly Command[]): string {
  switch (shell) {
    case "bash":
      return bash(commands);
    case "zsh":
      return zsh(commands);
    case "fish":
      return fish(commands);
    default:
      return shell satisfies never;
  }
}

/** The words that may follow each prefix: "", "pki", … */
function wordsAfter(commands: readonly Command[]): Map<string, string[]> {
  const words = new Map<string, Set<string>>();
  const add = (before: string, word: string) => {
    if (!words.has(before)) words.set(before, new Set());
    words.get(before)!.add(word);
  };
  for (const { path, operands } of commands) {
    const parts = path.split(" ");
    parts.forEach((part, at) => add(parts.slice(0, at).join(" "), part));
    for (const choice of operands[0]?.choices ?? []) add(path, choice);
  }
  return new Map([...words].map(([before, set]) => [before, [...set]]));
}

const flagsOf = ({ flags }: Command) => Object.keys(flags).map((key) => `--${flagName(key)}`);
const flagEntries = (commands: readonly Command[]) => {
  const all = new Map<string, Flag<unknown>>();
  for (const { flags } of commands) for (const [key, flag] of Object.entries(flags)) all.set(flagName(key), flag);
  return [...all];
};
const takesValue = (flag: Flag<unknown>) => flag.impliedValue === undefined;
/** A shell case pattern of the flags that take the next word as their value. */
const valueFlags = (commands: readonly Command[]) =>
  flagEntries(commands).filter(([, flag]) => takesValue(flag))
    .flatMap(([name, { short }]) => short === undefined ? [`--${name}`] : [`--${name}`, `-${short}`]).join("|");

function bash(commands: readonly Command[]): string {
  const words = [...wordsAfter(commands)].map(([before, next]) => `    "${before}") words="${next.join(" ")}" ;;`);
  const flags = commands.map((command) => `    "${command.path}") flags="${flagsOf(command).join(" ")}" ;;`);
  const choices = flagEntries(commands).filter(([, flag]) => takesValue(flag) && flag.choices !== undefined)
    .map(([name, flag]) =>
      `    --${name}) COMPREPLY=($(compgen -W "${flag.choices!.join(" ")}" -- "$current")); return ;;`
    );
  const paths = flagEntries(commands).filter(([, flag]) => takesValue(flag) && flag.path).map(([name]) => `--${name}`);
  return `# bash completion for e2d: source <(e2d completion bash)
_e2d() {
  local current previous command word value="" words="" flags=""
  current="\${COMP_WORDS[COMP_CWORD]}"
  previous="\${COMP_WORDS[COMP_CWORD-1]}"
  COMPREPLY=()
  case "$previous" in
    ${paths.join("|")}) COMPREPLY=($(compgen -f -- "$current")); return ;;
${choices.join("\n")}
  esac
  command=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    # bash splits --name=value into three words.
    if [ "$word" = "=" ]; then value=1; continue; fi
    if [ -n "$value" ]; then value=""; continue; fi
    case "$word" in
      ${valueFlags(commands)}) value=1; continue ;;
      -*) continue ;;
    esac
    command="\${command:+$command }$word"
  done
  case "$command" in
${words.join("\n")}
  esac
  case "$command" in
${flags.join("\n")}
  esac
  case "$current" in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$current")) ;;
    *) COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
  esac
}
complete -o default -F _e2d e2d
`;
}

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

function zsh(commands: readonly Command[]): string {
  const words = [...wordsAfter(commands)].map(([before, next]) =>
    `    ${quoted(before)}) compadd -- ${next.join(" ")} ;;`
  );
  const flags = commands.map((command) => `      ${quoted(command.path)}) compadd -- ${flagsOf(command).join(" ")} ;;`);
  return `#compdef e2d
# zsh completion for e2d: source <(e2d completion zsh)
_e2d() {
  local command word value
  command=""
  value=""
  for word in "\${(@)words[2,CURRENT-1]}"; do
    if [ -n "$value" ]; then value=""; continue; fi
    case "$word" in
      ${valueFlags(commands)}) value=1; continue ;;
      -*) continue ;;
    esac
    command="\${command:+$command }$word"
  done
  if [[ "\${words[CURRENT]}" == -* ]]; then
    case "$command" in
${flags.join("\n")}
    esac
    return
  fi
  case "$command" in
${words.join("\n")}
    *) _files ;;
  esac
}
if [ "$funcstack[1]" = "_e2d" ]; then _e2d "$@"; else compdef _e2d e2d; fi
`;
}

function fish(commands: readonly Command[]): string {
  const lines = ["# fish completion for e2d: e2d completion fish | source", "complete -c e2d -f"];
  for (const { path, summary } of commands) {
    const parts = path.split(" ");
    const last = parts.at(-1)!;
    const before = parts.slice(0, -1);
    const condition = before.length === 0 ? "__fish_use_subcommand" : `__fish_seen_subcommand_from ${before.at(-1)}`;
    lines.push(`complete -c e2d -n ${quoted(condition)} -a ${last} -d ${quoted(summary)}`);
  }
  for (const { path, flags } of commands) {
    const condition = path.split(" ").map((part) => `__fish_seen_subcommand_from ${part}`).join("; and ");
    for (const [key, flag] of Object.entries(flags)) {
      const value = takesValue(flag) ? flag.choices ? ` -x -a ${quoted(flag.choices.join(" "))}` : " -r" : "";
      const short = flag.short === undefined ? "" : ` -s ${flag.short}`;
      lines.push(
        `complete -c e2d -n ${quoted(condition)} -l ${flagName(key)}${short}${value}${flag.path ? " -F" : ""} -d ${
          quoted(flag.help)
        }`,
      );
    }
  }
  return `${lines.join("\n")}\n`;
}
