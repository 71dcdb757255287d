/** The node's HTTP answers: page, health, readiness, metrics, status and the journal. Nothing can be changed here. */
import type { GossipMetrics } from "../gossip/gossip.ts";
import { isLoopback } from "./addresses.ts";
import type { Journal } from "./journal.ts";
import { metricsText } from "./metrics_text.ts";
import { pageAsset } from "./page/assets.ts";
import type { StatusHistory } from "./status_history.ts";
import { journalReport, type StatusReport } from "./status_report.ts";

export interface HandlerSources {
  /** Undefined before the node's first step. */
  readonly report: () => StatusReport | undefined;
  readonly journal: Journal;
  readonly gossip: () => GossipMetrics | undefined;
  readonly nowWallMs: () => number;
  readonly history: StatusHistory;
}

const json = (value: unknown, status = 200) => reply(`${JSON.stringify(value, null, 2)}\n`, "application/json", status);

function reply(body: string, type: string, status = 200): Response {
  return new Response(body, {
    status,
    headers: {
      "content-type": `${type}; charset=utf-8`,
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
    },
  });
}

/**
 * True when the request names this machine as a caller on it does. A web page that has its own name resolve to 127.0.0.1
 * (DNS rebinding) is asked for by that name: a browser on this machine must not read the status to it.
 */
export function namesThisMachine(request: Request): boolean {
  const { hostname } = new URL(request.url);
  return isLoopback(hostname.replace(/^\[(.*)\]$/, "$1"));
}

/** For an address that only this machine reaches. */
export function handleLocalStatus(request: Request, sources: HandlerSources): Response {
  if (namesThisMachine(request)) return handleStatus(request, sources);
  return json({ error: "this address answers to localhost and 127.0.0.1 only" }, 421);
}

export function handleStatus(request: Request, sources: HandlerSources): Response {
  if (request.method !== "GET" && request.method !== "HEAD") {
    return json({ error: "only GET is answered here" }, 405);
  }
  const { pathname } = new URL(request.url);
  const page = pageAsset(pathname);
  if (page !== undefined) return page;
  const response = answerOf(pathname, sources);
  // Ages are told by this clock, not by the reader's.
  response.headers.set("date", new Date(sources.nowWallMs()).toUTCString());
  return response;
}

function answerOf(pathname: string, sources: HandlerSources): Response {
  const report = sources.report();
  switch (pathname) {
    // Alive is whoever answers: a node that waits for its peers must not be restarted for it.
    case "/healthz":
      return reply("ok\n", "text/plain");
    case "/readyz": {
      const ready = report?.ready ?? false;
      const reasons = report?.reasons ?? [{ code: "starting", text: "this node has not looked around yet" }];
      return json({ ready, reasons }, ready ? 200 : 503);
    }
    case "/metrics":
      if (report === undefined) return reply("", "text/plain; version=0.0.4");
      return reply(metricsText(report, sources.gossip(), sources.nowWallMs()), "text/plain; version=0.0.4");
    case "/status":
      return report === undefined ? json({ error: "starting" }, 503) : json(report);
    case "/why":
      return json(journalReport(sources.journal));
    case "/history":
      return reply(`${JSON.stringify(sources.history.samples())}\n`, "application/json");
    default:
      return json(
        { error: "not found", paths: ["/", "/healthz", "/readyz", "/metrics", "/status", "/why", "/history"] },
        404,
      );
  }
}
