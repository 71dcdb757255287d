/** Builds the copy of a file that contains all its mutants and selects one at run time. */
import type { Edit, Site } from "./mutant.ts";

/** Order of edits at one position: closing, replacing, opening. */
const rank = { close: 0, replace: 1, open: 2 } as const;

/** Sites come outer before inner, so an outer one opens first and closes last. */
export function applyEdits(source: string, edits: readonly Edit[]): string {
  const ordered = edits.map((edit, order) => ({ ...edit, order })).sort((a, b) =>
    a.at - b.at || rank[a.side] - rank[b.side] || (a.side === "close" ? b.order - a.order : a.order - b.order)
  );
  let text = "";
  let at = 0;
  for (const edit of ordered) {
    text += source.slice(at, edit.at) + edit.text;
    at = edit.end;
  }
  return text + source.slice(at);
}

/**
 * `numberOf` returns the number of a mutant, 0 for one that is not selected. Each line keeps its number: the import of the
 * runtime precedes the text of the first line.
 */
export function instrument(
  source: string,
  sites: readonly Site[],
  { runtime, numberOf }: { runtime: string; numberOf: (id: string) => number },
): string {
  const edits = sites.flatMap((site) => {
    const numbers = site.mutants.map(({ id }) => numberOf(id));
    return numbers.every((number) => number === 0) ? [] : site.edits(numbers);
  });
  if (edits.length === 0) return source;
  return `import * as __mutants from ${JSON.stringify(runtime)}; ${applyEdits(source, edits)}`;
}
