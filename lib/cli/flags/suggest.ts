/** The known word closest to `word`, for "did you mean"; undefined if none is similar. */
export function suggest(word: string, known: readonly string[]): string | undefined {
  // A mistyped number has no most likely correction.
  if (/^\d+$/.test(word)) return undefined;
  let best: { word: string; distance: number } | undefined;
  for (const each of known) {
    const distance = editDistance(word.toLowerCase(), each.toLowerCase());
    if (best === undefined || distance < best.distance) best = { word: each, distance };
  }
  // Up to a third of the letters may differ; otherwise a prefix of three or more letters matches.
  const similar = best !== undefined && best.distance <= Math.max(1, Math.floor(best.word.length / 3));
  if (similar) return best!.word;
  return word.length >= 3 ? known.find((each) => each.startsWith(word)) : undefined;
}

/** Optimal string alignment distance of the first 64 characters. */
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
