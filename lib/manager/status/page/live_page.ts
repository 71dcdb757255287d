/**
 * The page while it is open: polls the node, draws its status, and marks values that are outdated. The browser runs the
 * source of this class, which uses only the functions of view.ts, plot.ts, draw.ts and units.ts.
 */
import type { StatusReport } from "../report.ts";
import type { StatusSample } from "../history.ts";
import type { PageDocument } from "./dom.ts";
import { byId, drawFacts, drawPlot, drawRows, drawTopology, drawVerdict, setText } from "./draw.ts";
import { bytesScale, countScale, memberSeries, plotOf, type Series, snapshotAgeSeries } from "./plot.ts";
import {
  ago,
  certificateRows,
  clockText,
  type Decision,
  decisionRows,
  factsOf,
  memberRows,
  otherRows,
  snapshotRows,
  snapshotsText,
  verdictOf,
} from "./view.ts";
import { bytesText, durationText } from "../../../units.ts";

export interface PageHost {
  readonly document: PageDocument;
  readonly fetch: (path: string, init: { cache: "no-store"; signal: AbortSignal }) => Promise<Response>;
  /** Milliseconds that only go forward. */
  readonly clock: { now(): number };
  readonly every: (ms: number, act: () => void) => void;
}

export class LivePage {
  readonly #host: PageHost;
  readonly #document: PageDocument;
  readonly #pollEveryMs = 3_000;
  readonly #pollTimeoutMs = 5_000;
  /** A report older than this is shown as outdated. */
  readonly #staleAfterMs = 8_000;
  readonly #historyEveryMs = 10_000;
  readonly #startedAtMs: number;
  #heardAtMs: number | undefined;
  #heardText = "";
  /** When the history was read last; undefined: it is due. */
  #historyAtMs: number | undefined;
  #polling = false;
  #report: StatusReport | undefined;
  #samples: StatusSample[] = [];
  #decisions: Decision[] = [];
  #title = "e2d";
  #shown: Record<string, string> = {};

  constructor(host: PageHost) {
    this.#host = host;
    this.#document = host.document;
    this.#startedAtMs = host.clock.now();
  }

  /** Polls at once and then regularly while the page is visible. */
  start(): void {
    const pollIfVisible = () => {
      if (this.#document.visibilityState === "visible") void this.#poll();
    };
    byId(this.#document, "again").addEventListener("click", () => {
      this.#historyAtMs = undefined;
      void this.#poll();
    });
    this.#document.addEventListener("visibilitychange", pollIfVisible);
    this.#host.every(this.#pollEveryMs, pollIfVisible);
    this.#host.every(1_000, () => this.#tick());
    void this.#poll();
  }

  async #poll(): Promise<void> {
    if (this.#polling) return;
    this.#polling = true;
    const { clock } = this.#host;
    try {
      const answer = await this.#answerOf<StatusReport>("/status");
      // 503: alive, but without a report yet.
      this.#report = answer.ok ? answer.value : undefined;
      this.#render(answer.atMs);
      // Only after rendering: a report that cannot be shown does not count.
      this.#heardAtMs = clock.now();
      this.#heardText = clockText(answer.atMs);
      this.#tick();
      if (this.#historyAtMs === undefined || clock.now() - this.#historyAtMs >= this.#historyEveryMs) {
        this.#samples = (await this.#answerOf<StatusSample[]>("/history")).value;
        this.#decisions = (await this.#answerOf<Decision[]>("/why")).value;
        this.#historyAtMs = clock.now();
        this.#render(answer.atMs);
      }
    } catch {
      // #tick() shows the time since the last answer.
    } finally {
      this.#polling = false;
      this.#tick();
    }
  }

  async #answerOf<T>(path: string): Promise<{ value: T; atMs: number; ok: boolean }> {
    const response = await this.#host.fetch(path, {
      cache: "no-store",
      signal: AbortSignal.timeout(this.#pollTimeoutMs),
    });
    const value = await response.json() as T;
    return { value, atMs: Date.parse(response.headers.get("date") ?? ""), ok: response.ok };
  }

  #render(nowMs: number): void {
    if (this.#report === undefined) return this.#renderStarting();
    this.#renderReport(this.#report, nowMs);
    this.#renderPlots(this.#report, nowMs);
  }

  #renderStarting(): void {
    this.#shown = {};
    this.#title = "Starting – e2d";
    drawVerdict(this.#document, {
      level: "wait",
      headline: "Starting",
      summary: "This node has not inspected its data-dir yet.",
      concerns: [],
    });
  }

  #renderReport(report: StatusReport, nowMs: number): void {
    const document = this.#document;
    const { members, name, clusterId, requiredSize } = report;
    const verdict = verdictOf(report);
    this.#title = `${verdict.headline} – ${name} – e2d`;
    setText(document, "node", `on ${name}`);
    setText(document, "cluster", clusterId === undefined ? "" : `cluster ${clusterId}, size ${requiredSize}`);
    this.#show("verdict", verdict, () => drawVerdict(document, verdict));
    const facts = factsOf(report, nowMs);
    this.#show("facts", facts, () => drawFacts(document, facts));
    this.#show(
      "topology",
      members.map((each) => [each.id, each.name, each.role, each.reachable, each.alarms, each.gossip]),
      () => drawTopology(document, report),
    );
    this.#showRows("members", memberRows(report), 2);
    this.#showRows("certificates", certificateRows(report), 1);
    this.#showRows("others", otherRows(report), 1);
    this.#showRows("snapshots", snapshotRows(this.#samples, 6), -1);
    this.#showRows("decisions", decisionRows(this.#decisions, 20), 1);
    setText(document, "snapshots-text", snapshotsText(report));
    setText(
      document,
      "members-note",
      members.some(({ reachable }) => reachable === undefined)
        ? "“Not asked”: this node has no answer from the last 15 seconds; members are probed every 5 seconds."
        : "",
    );
  }

  #renderPlots({ members }: StatusReport, nowMs: number): void {
    const nameOf = (id: string) => members.find((member) => member.id === id)?.name || id;
    const ofMembers = (field: Parameters<typeof memberSeries>[1]) => memberSeries(this.#samples, field, nameOf);
    this.#showPlot("lag", ofMembers("raftLag"), nowMs, countScale, String);
    this.#showPlot("size", ofMembers("dbSizeBytes"), nowMs, bytesScale, bytesText);
    this.#showPlot("use", ofMembers("dbInUseBytes"), nowMs, bytesScale, bytesText);
    const ages = snapshotAgeSeries(this.#samples);
    this.#showPlot("age", ages, nowMs, countScale, (seconds) => durationText(seconds * 1_000));
  }

  /** Redraws a part only when its content changes: nothing flickers, and a selection stays. */
  #show(part: string, value: unknown, draw: () => void): void {
    const text = JSON.stringify(value);
    if (this.#shown[part] === text) return;
    this.#shown[part] = text;
    draw();
  }

  #showRows(id: string, rows: Parameters<typeof drawRows>[2], mark: number): void {
    this.#show(id, rows, () => drawRows(this.#document, id, rows, mark));
  }

  #showPlot(
    id: string,
    series: Series[],
    nowMs: number,
    scale: (highest: number) => number,
    textOf: (value: number) => string,
  ): void {
    const box = { widthPx: 440, heightPx: 150, leftPx: 66, bottomPx: 22 };
    // In steps of one sample: between two samples the lines do not change.
    const plot = plotOf(series, Math.ceil(nowMs / 10_000) * 10_000, box, scale);
    this.#show(`plot-${id}`, plot, () => drawPlot(this.#document, id, plot, box, textOf));
  }

  /** Updates the age of the report, and marks an outdated page. */
  #tick(): void {
    const document = this.#document;
    const ageMs = this.#host.clock.now() - (this.#heardAtMs ?? this.#startedAtMs);
    const stale = ageMs > this.#staleAfterMs;
    // Without a report nothing is shown below the verdict, neither empty nor outdated tables.
    document.documentElement.className = `${stale ? "stale" : ""}${this.#report === undefined ? " starting" : ""}`;
    const text = this.#heardAtMs === undefined ? "not heard yet" : `heard ${ago(ageMs)}`;
    setText(document, "heard", stale ? `last ${text}` : text);
    const gone = byId(document, "gone");
    if (gone.hidden === stale) gone.hidden = !stale;
    if (stale) this.#renderStale();
    document.title = stale ? "No answer – e2d" : this.#title;
  }

  #renderStale(): void {
    const document = this.#document;
    setText(
      document,
      "gone-text",
      this.#heardAtMs === undefined
        ? "It has not answered since this page was opened."
        : `Last heard at ${this.#heardText}: the values below are from that time. Check whether e2d runs there, or open the page of another node.`,
    );
    if (this.#report === undefined) return;
    const was = verdictOf(this.#report);
    const verdict = { ...was, headline: `Was: ${was.headline}` };
    this.#show("verdict", verdict, () => drawVerdict(document, verdict));
    const facts = factsOf(this.#report, undefined);
    this.#show("facts", facts, () => drawFacts(document, facts));
  }
}
