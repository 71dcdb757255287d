/** The type of a mutant: one change at one place of a source file. Other modules of this folder find, build and run it. */

export type Operator =
  /** A condition, or one operand of it, is always true or always false. */
  | "condition"
  /** `<` and `<=`, `>` and `>=` are exchanged. */
  | "boundary"
  | "arithmetic"
  /** A number, a string or a truth value is another one. */
  | "constant"
  /** `??` always or never takes its right side. */
  | "fallback"
  /** `some` and `every`, `min` and `max` are exchanged. */
  | "quantifier"
  /** A `case` never matches. */
  | "case"
  /** A statement that leaves its block is removed. */
  | "exit"
  /** A call or an assignment is removed. */
  | "effect";

export interface Mutant {
  /** `file:line:column:operator=after`, deterministic for the same source. */
  readonly id: string;
  /** Path below the root of the project, with slashes. */
  readonly file: string;
  readonly line: number;
  readonly operator: Operator;
  /** The enclosing function, `Class.method`, or `(module)`. */
  readonly within: string;
  /** The changed text and what replaces it; white space is reduced to single spaces. An empty `after`: it is removed. */
  readonly before: string;
  readonly after: string;
  /** Position of `before` in the file. */
  readonly start: number;
  readonly end: number;
}

/** A piece of text put in place of [at, end), or inserted where both are equal. */
export interface Edit {
  readonly at: number;
  readonly end: number;
  readonly text: string;
  /** The side of `at` to which an insertion belongs: it opens the following or closes the preceding text. */
  readonly side: "open" | "close" | "replace";
}

/** One place of a file, with all its mutants and the code that selects one at run time. */
export interface Site {
  readonly mutants: readonly Mutant[];
  /** `numbers`: the numbers of the mutants in the runtime; 0 for one that is not selected. */
  readonly edits: (numbers: readonly number[]) => readonly Edit[];
}

/** The key under which a mutant is listed as equivalent. Without line numbers, so that it survives edits elsewhere. */
export function mutationText({ before, after }: Pick<Mutant, "before" | "after">): string {
  return `${before} → ${after === "" ? "(removed)" : after}`;
}

/** The changed lines of a mutant as a small diff. */
export function diffOf(mutant: Mutant, source: string): string {
  const from = source.lastIndexOf("\n", mutant.start - 1) + 1;
  const newline = source.indexOf("\n", mutant.end);
  const to = newline < 0 ? source.length : newline;
  const mutated = source.slice(from, mutant.start) + mutant.after + source.slice(mutant.end, to);
  const lines = (sign: string, text: string) =>
    text.split("\n").filter((line) => line.trim() !== "").map((line) => `${sign} ${line}`);
  return [...lines("-", source.slice(from, to)), ...lines("+", mutated)].join("\n");
}
