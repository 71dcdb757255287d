/**
 * The script of the page: the functions of view.ts, plot.ts, draw.ts and units.ts as this program itself has them, and
 * `startPage`, which asks the node and shows what it says. No build step stands between source and browser.
 */
import type { StatusReport } from "../status_report.ts";
import type { StatusSample } from "../status_history.ts";
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
import * as units from "../../units.ts";
import { bytesText, durationText } from "../../units.ts";

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
  /** Older than this is not shown as what is. */
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

  /** Draws a part again only when what it shows is another: nothing flickers, and a selection stays. */
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
      // 503: alive, but it has not looked around yet.
      report = answer.ok ? answer.value : undefined;
      render(answer.atMs);
      // Only now: what could not be shown was not heard.
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
      // Said by tick(), in how long nothing was heard.
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
        summary: "This node has not looked around yet.",
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
        ? "“Not asked”: nothing was heard of it in the last 15 seconds; it is asked each five."
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
    // In steps of a sample: the lines need no drawing in between.
    const plot = plotOf(series, Math.ceil(nowMs / 10_000) * 10_000, box, scale);
    show(`plot-${id}`, plot, () => drawPlot(document, id, plot, box, textOf));
  }

  function drawStale(verdict: Verdict, facts: Fact[]): void {
    show("verdict", verdict, () => drawVerdict(document, verdict));
    show("facts", facts, () => drawFacts(document, facts));
  }

  /** Says how old what is shown is. */
  function tick(): void {
    const ageMs = clock.now() - (heardAtMs ?? startedAtMs);
    const stale = ageMs > staleAfterMs;
    // Without a report nothing stands below the verdict: neither empty tables nor those of before.
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
          ? "Nothing was heard of it since this page was opened."
          : `Last heard at ${heardText}: what stands below was true then. Is e2d running there? Ask another node for the cluster.`,
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

/** What the browser runs. */
export function pageScript(): string {
  const functions = [units, view, plot, draw].flatMap((module) => Object.values(module)).concat(startPage as never);
  return [
    '"use strict";',
    ...functions.map(String),
    "startPage({ document, clock: performance, fetch: (path, init) => fetch(path, init), every: (ms, act) => setInterval(act, ms) });",
    "",
  ].join("\n");
}
