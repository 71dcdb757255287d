/** Computes the lines of a plot. The browser gets the source of these functions, as of view.ts. */
import type { StatusSample } from "../history.ts";

export interface Series {
  readonly name: string;
  readonly points: readonly { readonly atMs: number; readonly value: number }[];
}

export interface PlotBox {
  readonly widthPx: number;
  readonly heightPx: number;
  /** Space for the scale. */
  readonly leftPx: number;
  readonly bottomPx: number;
}

export interface Plot {
  readonly spanMs: number;
  readonly lines: readonly { readonly name: string; readonly path: string; readonly last: number | undefined }[];
  readonly grid: readonly { readonly yPx: number; readonly value: number }[];
  readonly times: readonly { readonly xPx: number; readonly agoMs: number }[];
}

/** Samples are 10 s apart. A longer distance than this is a gap, which no line may cross. */
export function gapMs(): number {
  return 25_000;
}

/** `maximum` returns the end of the scale for the highest value. `nowMs` is the right edge. */
export function plotOf(
  series: readonly Series[],
  nowMs: number,
  box: PlotBox,
  maximum: (highest: number) => number,
): Plot {
  const all = series.flatMap(({ points }) => points);
  const oldest = all.reduce((least, { atMs }) => Math.min(least, atMs), nowMs);
  const minutes = [5, 15, 30, 60].find((each) => nowMs - oldest <= each * 60_000) ?? 60;
  const spanMs = minutes * 60_000;
  const top = maximum(all.reduce((most, { value }) => Math.max(most, value), 0));
  const x = (atMs: number) =>
    rounded(box.leftPx + (box.widthPx - box.leftPx) * (1 - Math.min(1, Math.max(0, (nowMs - atMs) / spanMs))));
  const y = (value: number) => rounded((box.heightPx - box.bottomPx) * (1 - value / top) + 4 * (value / top));
  return {
    spanMs,
    lines: series.map(({ name, points }) => {
      const shown = points.filter(({ atMs }) => nowMs - atMs <= spanMs);
      let path = "";
      shown.forEach(({ atMs, value }, at) => {
        const before = shown[at - 1];
        const joins = before !== undefined && atMs - before.atMs <= gapMs();
        // A single point is a line of length 0.01, which round caps make visible.
        path += joins ? `L${x(atMs)} ${y(value)}` : `M${x(atMs)} ${y(value)}h0.01`;
      });
      return { name, path, last: shown.at(-1)?.value };
    }),
    grid: [0, 0.5, 1].map((part) => ({ yPx: y(top * part), value: top * part })),
    times: [1, 0.5, 0].map((part) => ({ xPx: x(nowMs - spanMs * part), agoMs: spanMs * part })),
  };
}

export function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}

/** 2, 4, 10, 20, 40, 100 …: halves are whole numbers. */
export function countScale(highest: number): number {
  for (let unit = 1;; unit *= 10) {
    for (const factor of [2, 4, 10]) if (highest <= factor * unit) return factor * unit;
  }
}

/** Powers of two. */
export function bytesScale(highest: number): number {
  let top = 1_024;
  while (top < highest) top *= 2;
  return top;
}

/** One line for each member that has the value. */
export function memberSeries(
  samples: readonly StatusSample[],
  key: "raftLag" | "dbSizeBytes" | "dbInUseBytes",
  nameOf: (id: string) => string,
): Series[] {
  const ids = [...new Set(samples.flatMap(({ members }) => members.map(({ id }) => id)))].sort();
  return ids.map((id) => ({
    name: nameOf(id),
    points: samples.flatMap(({ atWallMs, members }) => {
      const value = members.find((member) => member.id === id)?.[key];
      return value === undefined ? [] : [{ atMs: atWallMs, value }];
    }),
  }));
}

export function snapshotAgeSeries(samples: readonly StatusSample[]): Series[] {
  const points = samples.flatMap(({ atWallMs, snapshotAgeMs }) =>
    snapshotAgeMs === undefined ? [] : [{ atMs: atWallMs, value: snapshotAgeMs / 1_000 }]
  );
  return points.length === 0 ? [] : [{ name: "age", points }];
}
