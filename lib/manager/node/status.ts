/** Joins the status of one node to its consumers: the service manager, the history, and the status address. */
import { serviceState } from "../service_notices.ts";
import type { GossipAdapter } from "../adapters/gossip_adapter.ts";
import type { LiveKeys } from "../security/live_keys.ts";
import { keepHistory, StatusHistory } from "../status/history.ts";
import type { DecisionLog } from "../status/decision_log.ts";
import { statusReport } from "../status/report.ts";
import { serveStatus, type StatusServer } from "../status/server.ts";
import type { System } from "../system.ts";
import type { LatestState } from "./latest_state.ts";
import type { PreparedNode } from "./prepare.ts";

export interface StatusParts {
  readonly latest: LatestState;
  readonly keys: LiveKeys;
  readonly gossip: GossipAdapter | undefined;
  readonly journal: DecisionLog;
  readonly closers: AsyncDisposableStack;
}

/** Undefined when this node serves no status. */
export async function startStatus(
  { config, alone, security }: PreparedNode,
  system: System,
  { latest, keys, gossip, journal, closers }: StatusParts,
): Promise<StatusServer | undefined> {
  const { clock } = system;
  const report = () =>
    latest.node && statusReport({
      node: latest.node,
      certificates: keys.certificates,
      certificateFailures: keys.certificateFailures,
      nowWallMs: clock.wallMs(),
      nowMs: clock.monotonicMs(),
    });
  system.announce(() => serviceState(report(), { alone }));
  const history = new StatusHistory();
  const closing = new AbortController();
  closers.defer(() => closing.abort());
  void keepHistory(history, report, clock, closing.signal);
  const server = await serveStatus(config.statusAddr, security, system, {
    report,
    history,
    journal,
    gossip: () => gossip?.metrics(),
    nowWallMs: () => clock.wallMs(),
  });
  closers.defer(async () => await server?.close());
  return server;
}
