/**
 * The type of a command: its path, flags, operands, checks and the function that executes it. Contains no command
 * itself; `commands.ts` lists them.
 */
import { E2dError } from "../../errors.ts";
import type { FlagTable, FlagValues } from "./flag.ts";

export interface Operand {
  readonly name: string;
  readonly help: string;
  readonly required: boolean;
  readonly choices?: readonly string[];
}

export interface Command {
  /** The words after `e2d`: "pki init". */
  readonly path: string;
  /** One line in the imperative, without a full stop. */
  readonly summary: string;
  /** Sentences that only the command's own help shows. */
  readonly details?: string;
  /** Of `plan COMMAND`: the path of COMMAND. */
  readonly planOf?: string;
  readonly flags: FlagTable;
  readonly operands: readonly Operand[];
  /** One sentence per contradiction between flags. */
  readonly check: (values: Record<string, unknown>) => string[];
  /** Resolves with the exit status. Imports its modules when it is called, so that other commands start faster. */
  readonly run: (values: Record<string, unknown>, operands: readonly string[]) => Promise<number>;
}

/** Checks a command's functions against the types of its flags, and erases those types for the list of commands. */
export function command<T extends FlagTable>(definition: {
  path: string;
  summary: string;
  details?: string;
  flags: T;
  operands?: readonly Operand[];
  check?: (values: FlagValues<T>) => string[];
  run: (values: FlagValues<T>, operands: readonly string[]) => Promise<number>;
}): Command {
  const { operands = [], check = () => [], run, ...rest } = definition;
  return {
    ...rest,
    operands,
    check: (values) => check(values as FlagValues<T>),
    run: (values, operands) => run(values as FlagValues<T>, operands),
  };
}

/** An error of the command line, exit status 2: nothing was started or changed. */
export function usageError(problems: readonly string[], hint: string): E2dError {
  const text = problems.length === 1 ? problems[0]! : problems.map((problem) => `\n  - ${problem}`).join("");
  return new E2dError("usage", text, { hint });
}
