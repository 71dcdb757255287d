/**
 * The script of the page: the source of the functions of view.ts, plot.ts, draw.ts and units.ts, and `startPage`, which
 * polls the node and draws its status. There is no build step.
 */
import type { StatusReport } from "../report.ts";
import type { StatusSample } from "../history.ts";
import type { PageDocument } from "./dom.ts";
import * as draw from "./draw.ts";
import { byId, drawFacts, drawPlot, drawRows, drawTopology, drawVerdict, setText } from "./draw.ts";
import * as plot from "./plot.ts";
import { bytesScale, countScale, memberSeries, plotOf, type Series, snapshotAgeSeries } from "./plot.ts";
import * as view from "./view.ts";
import {
  ago,
  certificateRows,
  clockText,
  type Decision,
  decisionRows,
  type Fact,
  factsOf,
  memberRows,
  otherRows,
  snapshotRows,
  snapshotsText,
  type Verdict,
  verdictOf,
} from "./view.ts";
import * as units from "../../../units.ts";
import { bytesText, durationText } from "../../../units.ts";

export interface PageHost {
  readonly document: PageDocument;
  readonly fetch: (path: string, init: { cache: "no-store"; signal: AbortSignal }) => Promise<Response>;
  /** Milliseconds that only go forward. */
  readonly clock: { now(): number };
  readonly every: (ms: number, act: () => void) => void;
}

export function startPage({ document, fetch, clock, every }: PageHost): void {
  const askEveryMs = 3_000;
  const askTimeoutMs = 5_000;
  /** A report older than this is shown as outdated. */
  const staleAfterMs = 8_000;
  const pastEveryMs = 10_000;
  let heardAtMs: number | undefined;
  let heardText = "";
  const startedAtMs = clock.now();
  let pastAtMs = -pastEveryMs;
  let asking = false;
  let report: StatusReport | undefined;
  let samples: StatusSample[] = [];
  let decisions: Decision[] = [];
  let title = "e2d";
  let shown: Record<string, string> = {};

  /** Redraws a part only when its content changes: nothing flickers, and a selection stays. */
  function show(part: string, value: unknown, act: () => void): void {
    const text = JSON.stringify(value);
    if (shown[part] === text) return;
    shown[part] = text;
    act();
  }

  async function answerOf<T>(path: string): Promise<{ value: T; atMs: number; ok: boolean }> {
    const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(askTimeoutMs) });
    const value = await response.json() as T;
    return { value, atMs: Date.parse(response.headers.get("date") ?? ""), ok: response.ok };
  }

  async function ask(): Promise<void> {
    if (asking) return;
    asking = true;
    try {
      const answer = await answerOf<StatusReport>("/status");
      // 503: alive, but without a report yet.
      report = answer.ok ? answer.value : undefined;
      render(answer.atMs);
      // Only after rendering: a report that cannot be shown does not count.
      heardAtMs = clock.now();
      heardText = clockText(answer.atMs);
      tick();
      if (clock.now() - pastAtMs >= pastEveryMs) {
        samples = (await answerOf<StatusSample[]>("/history")).value;
        decisions = (await answerOf<Decision[]>("/why")).value;
        pastAtMs = clock.now();
        render(answer.atMs);
      }
    } catch {
      // tick() shows the time since the last answer.
    } finally {
      asking = false;
      tick();
    }
  }

  function render(nowMs: number): void {
    if (report === undefined) {
      shown = {};
      title = "Starting – e2d";
      drawVerdict(document, {
        level: "wait",
        headline: "Starting",
        summary: "This node has not inspected its data-dir yet.",
        concerns: [],
      });
      return;
    }
    const now = report;
    const verdict = verdictOf(now);
    title = `${verdict.headline} – ${now.name} – e2d`;
    setText(document, "node", `on ${now.name}`);
    setText(
      document,
      "cluster",
      now.clusterId === undefined ? "" : `cluster ${now.clusterId}, size ${now.requiredSize}`,
    );
    show("verdict", verdict, () => drawVerdict(document, verdict));
    const facts = factsOf(now, nowMs);
    show("facts", facts, () => drawFacts(document, facts));
    show(
      "topology",
      now.members.map((each) => [each.id, each.name, each.role, each.reachable, each.alarms, each.gossip]),
      () => drawTopology(document, now),
    );
    rows("members", memberRows(now), 2);
    rows("certificates", certificateRows(now), 1);
    rows("others", otherRows(now), 1);
    rows("snapshots", snapshotRows(samples, 6), -1);
    rows("decisions", decisionRows(decisions, 20), 1);
    setText(document, "snapshots-text", snapshotsText(now));
    setText(
      document,
      "members-note",
      now.members.some(({ reachable }) => reachable === undefined)
        ? "“Not asked”: this node has no answer from the last 15 seconds; members are probed every 5 seconds."
        : "",
    );
    const nameOf = (id: string) => now.members.find((member) => member.id === id)?.name || id;
    plotted("lag", memberSeries(samples, "raftLag", nameOf), nowMs, countScale, String);
    plotted("size", memberSeries(samples, "dbSizeBytes", nameOf), nowMs, bytesScale, bytesText);
    plotted("use", memberSeries(samples, "dbInUseBytes", nameOf), nowMs, bytesScale, bytesText);
    plotted("age", snapshotAgeSeries(samples), nowMs, countScale, (seconds) => durationText(seconds * 1_000));
  }

  function rows(id: string, value: Parameters<typeof drawRows>[2], mark: number): void {
    show(id, value, () => drawRows(document, id, value, mark));
  }

  function plotted(
    id: string,
    series: Series[],
    nowMs: number,
    scale: (highest: number) => number,
    textOf: (value: number) => string,
  ): void {
    const box = { widthPx: 440, heightPx: 150, leftPx: 66, bottomPx: 22 };
    // In steps of one sample: between two samples the lines do not change.
    const plot = plotOf(series, Math.ceil(nowMs / 10_000) * 10_000, box, scale);
    show(`plot-${id}`, plot, () => drawPlot(document, id, plot, box, textOf));
  }

  function drawStale(verdict: Verdict, facts: Fact[]): void {
    show("verdict", verdict, () => drawVerdict(document, verdict));
    show("facts", facts, () => drawFacts(document, facts));
  }

  /** Updates the age of the report, and marks an outdated page. */
  function tick(): void {
    const ageMs = clock.now() - (heardAtMs ?? startedAtMs);
    const stale = ageMs > staleAfterMs;
    // Without a report nothing is shown below the verdict, neither empty nor outdated tables.
    document.documentElement.className = `${stale ? "stale" : ""}${report === undefined ? " starting" : ""}`;
    const text = heardAtMs === undefined ? "not heard yet" : `heard ${ago(ageMs)}`;
    setText(document, "heard", stale ? `last ${text}` : text);
    const gone = byId(document, "gone");
    if (gone.hidden === stale) gone.hidden = !stale;
    if (stale) {
      setText(
        document,
        "gone-text",
        heardAtMs === undefined
          ? "It has not answered since this page was opened."
          : `Last heard at ${heardText}: the values below are from that time. Check whether e2d runs there, or open the page of another node.`,
      );
    }
    if (stale && report !== undefined) {
      const was = verdictOf(report);
      drawStale({ ...was, headline: `Was: ${was.headline}` }, factsOf(report, undefined));
    }
    document.title = stale ? "No answer – e2d" : title;
  }

  byId(document, "again").addEventListener("click", () => {
    pastAtMs = -pastEveryMs;
    void ask();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") void ask();
  });
  every(askEveryMs, () => {
    if (document.visibilityState === "visible") void ask();
  });
  every(1_000, tick);
  void ask();
}

/** The script that the browser runs. */
export function pageScript(): string {
  const functions = [units, view, plot, draw].flatMap((module) => Object.values(module)).concat(startPage as never);
  return [
    '"use strict";',
    ...functions.map(String),
    "startPage({ document, clock: performance, fetch: (path, init) => fetch(path, init), every: (ms, act) => setInterval(act, ms) });",
    "",
  ].join("\n");
}
