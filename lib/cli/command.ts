/** A command as a value: what it is called, what it takes, and where its work is found. */
import { E2dError } from "../errors.ts";
import type { FlagTable, FlagValues } from "./flag.ts";

export interface Operand {
  readonly name: string;
  readonly help: string;
  readonly required: boolean;
  readonly choices?: readonly string[];
}

export interface Command {
  /** "pki init" */
  readonly path: string;
  /** One line, without a full stop. */
  readonly summary: string;
  /** More, for its own help. */
  readonly details?: string;
  /** The command whose `--dry-run` this is. */
  readonly planOf?: string;
  readonly flags: FlagTable;
  readonly operands: readonly Operand[];
  /** Sentences on what single flags cannot know. */
  readonly check: (values: Record<string, unknown>) => string[];
  /** Resolves with the exit status. Loads what it needs itself. */
  readonly run: (values: Record<string, unknown>, operands: readonly string[]) => Promise<number>;
}

/** Ties the types of a command's flags to its functions, then forgets them. */
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

/** Nothing was started or touched: exit status 2. */
export function usageError(problems: readonly string[], hint: string): E2dError {
  const text = problems.length === 1 ? problems[0]! : problems.map((problem) => `\n  - ${problem}`).join("");
  return new E2dError("usage", text, { hint });
}
