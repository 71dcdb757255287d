/**
 * The list of equivalent mutants: changes that no test can see, each with the reason. An entry names the file, the
 * function and the change, never a line, so that it survives edits elsewhere; one that matches nothing is an error.
 */
import { type Mutant, mutationText } from "./mutant.ts";

export interface Equivalent {
  readonly file: string;
  /** As in {@link Mutant.within}. */
  readonly function: string;
  /** `before → after` of {@link mutationText}. */
  readonly mutation: string;
  /** A part of the changed line, where the function has the same change in several places and not all are equivalent. */
  readonly line?: string;
  readonly reason: string;
}

export interface Matched {
  /** The reason, by the id of the mutant. */
  readonly reasons: ReadonlyMap<string, string>;
  /** Entries of the given files that match no mutant. */
  readonly stale: readonly Equivalent[];
}

/** `sourceOf` returns the text of each file below `path`, where mutants were searched; other entries are ignored. */
export function matchEquivalents(
  entries: readonly Equivalent[],
  mutants: readonly Mutant[],
  { sourceOf, path }: { sourceOf: ReadonlyMap<string, string>; path: string },
): Matched {
  const reasons = new Map<string, string>();
  const stale: Equivalent[] = [];
  for (const entry of entries) {
    const source = sourceOf.get(entry.file);
    const found = mutants.filter((mutant) =>
      mutant.file === entry.file && mutant.within === entry.function && mutationText(mutant) === entry.mutation &&
      (entry.line === undefined || source?.split("\n")[mutant.line - 1]?.includes(entry.line))
    );
    for (const { id } of found) reasons.set(id, entry.reason);
    const searched = source !== undefined || path === "" || entry.file.startsWith(`${path}/`);
    if (found.length === 0 && searched) stale.push(entry);
  }
  return { reasons, stale };
}

/** Reads the list, and refuses one whose entries lack a part. */
export function parseEquivalents(text: string, path: string): Equivalent[] {
  const entries = JSON.parse(text) as Equivalent[];
  for (const [at, entry] of entries.entries()) {
    for (const key of ["file", "function", "mutation", "reason"] as const) {
      if (typeof entry[key] !== "string" || entry[key].trim() === "") {
        throw new Error(`Cannot use entry ${at} of "${path}": "${key}" is missing`);
      }
    }
  }
  return entries;
}
