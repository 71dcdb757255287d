/** The word that was probably meant, for "did you mean"; undefined when none is near. */
export function suggest(word: string, known: readonly string[]): string | undefined {
  // No number is nearer to what was meant than another.
  if (/^\d+$/.test(word)) return undefined;
  let best: { word: string; distance: number } | undefined;
  for (const each of known) {
    const distance = editDistance(word.toLowerCase(), each.toLowerCase());
    if (best === undefined || distance < best.distance) best = { word: each, distance };
  }
  // A third of the letters may be wrong, and a beginning is as good as the word.
  const near = best !== undefined && best.distance <= Math.max(1, Math.floor(best.word.length / 3));
  if (near) return best!.word;
  return word.length >= 3 ? known.find((each) => each.startsWith(word)) : undefined;
}

/** Insertions, deletions, changes and swaps of neighbours (optimal string alignment). Bounded by cutting long words. */
function editDistance(from: string, to: string): number {
  const [a, b] = [from.slice(0, 64), to.slice(0, 64)];
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, column) => column)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let least = Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, rows[i - 1]![j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, rows[i - 2]![j - 2]! + 1);
      }
      row.push(least);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
