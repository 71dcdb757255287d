/** The HTTP handler of the status address: page, health, readiness, metrics, status and decisions. Read-only. */
import type { GossipMetrics } from "../../gossip/gossip.ts";
import { isLoopback } from "../addresses.ts";
import type { DecisionLog } from "./decision_log.ts";
import { metricsText } from "./metrics_text.ts";
import { pageAsset } from "./page/assets.ts";
import type { StatusHistory } from "./history.ts";
import { decisionReport, type StatusReport } from "./report.ts";

export interface HandlerSources {
  /** Undefined before the node's first step. */
  readonly report: () => StatusReport | undefined;
  readonly journal: DecisionLog;
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
 * True when the request's host is a loopback name. With DNS rebinding a web page resolves its own name to 127.0.0.1, and
 * a browser on this machine requests the status under that name: it must not be readable for that page.
 */
export function namesThisMachine(request: Request): boolean {
  const { hostname } = new URL(request.url);
  return isLoopback(hostname.replace(/^\[(.*)\]$/, "$1"));
}

/** The handler for a loopback address. */
export function handleLocalStatus(request: Request, sources: HandlerSources): Response {
  if (namesThisMachine(request)) return handleStatus(request, sources);
  return json({ error: "this address answers only requests to localhost or 127.0.0.1" }, 421);
}

export function handleStatus(request: Request, sources: HandlerSources): Response {
  if (request.method !== "GET" && request.method !== "HEAD") {
    return json({ error: "only GET and HEAD are supported" }, 405);
  }
  const { pathname } = new URL(request.url);
  const page = pageAsset(pathname);
  if (page !== undefined) return page;
  const response = answerOf(pathname, sources);
  // The page computes ages with this clock, not with the browser's.
  response.headers.set("date", new Date(sources.nowWallMs()).toUTCString());
  return response;
}

function answerOf(pathname: string, sources: HandlerSources): Response {
  const report = sources.report();
  switch (pathname) {
    // Liveness: an orchestrator must not restart a node that waits for its peers.
    case "/healthz":
      return reply("ok\n", "text/plain");
    case "/readyz": {
      const ready = report?.ready ?? false;
      const reasons = report?.reasons ?? [{ code: "starting", text: "this node has not inspected its data-dir yet" }];
      // A degraded node still serves: with another status a load balancer would remove the remaining members.
      return json({ ready, degraded: report?.degraded ?? false, reasons }, ready ? 200 : 503);
    }
    case "/metrics":
      if (report === undefined) return reply("", "text/plain; version=0.0.4");
      return reply(metricsText(report, sources.gossip(), sources.nowWallMs()), "text/plain; version=0.0.4");
    case "/status":
      return report === undefined ? json({ error: "starting" }, 503) : json(report);
    case "/why":
      return json(decisionReport(sources.journal));
    case "/history":
      return reply(`${JSON.stringify(sources.history.samples())}\n`, "application/json");
    default:
      return json(
        { error: "not found", paths: ["/", "/healthz", "/readyz", "/metrics", "/status", "/why", "/history"] },
        404,
      );
  }
}
