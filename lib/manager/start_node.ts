/**
 * Runs one node from its configuration to its exit status: prepares and checks, builds the adapters, runs the core.
 * Starts nothing before all checks have passed, and closes in the reverse order of construction.
 */
import type { Event } from "../core/facts/event.ts";
import { createNode } from "../core/state/state.ts";
import type { EtcdAdapter } from "./adapters/etcd_adapter.ts";
import { AdminRequests } from "./admin_requests.ts";
import { watchDataDir } from "./data_dir/presence.ts";
import { controlPath } from "./data_dir/permissions.ts";
import { EffectRunner } from "./effect_runner.ts";
import { EventQueue } from "./event_queue.ts";
import { buildAdapters } from "./node/adapters.ts";
import { effectAdapters } from "./node/effect_adapters.ts";
import { LatestState } from "./node/latest_state.ts";
import { prepareNode } from "./node/prepare.ts";
import { startStatus } from "./node/status.ts";
import type { NodeConfig } from "./node_config.ts";
import { run } from "./run.ts";
import { LiveKeys } from "./security/live_keys.ts";
import { DecisionLog } from "./status/decision_log.ts";
import type { Stopping, System } from "./system.ts";

/**
 * Runs until the node ends; returns the exit status of the process. Throws E2dError for a state that an operator must
 * correct before this node can start.
 */
export async function startNode(config: NodeConfig, system: System, stopping: Stopping): Promise<number> {
  await using closers = new AsyncDisposableStack();
  const prepared = await prepareNode(config, system, { stop: stopping.stop, closers });
  const { clock, random } = system;
  const events = new EventQueue<Event>();
  const deliver = (event: Event) => events.push(event);
  deliver({ kind: "boot" });

  const closing = new AbortController();
  const [latest, keys, journal] = [new LatestState(), new LiveKeys(prepared.security.keys), new DecisionLog()];
  const life = random.bytes(16).toHex();
  const parts = { life, deliver, latest, keys, journal, closers, closing: closing.signal };
  const adapters = await buildAdapters(prepared, system, parts);
  const { etcd, client, gossip, settings, stops } = adapters;
  const status = await startStatus(prepared, system, { ...parts, gossip });
  const admin = await serveAdmin(controlPath(prepared.dataDir), system, parts);
  closers.defer(() => closing.abort());
  keys.watch(
    { security: prepared.security, autoRenew: config.tls.autoRenew, client, gossip },
    system,
    closing.signal,
    () => void status?.renew(),
  );
  const { dataDir } = prepared;
  const { files, log } = system;
  void watchDataDir({ dataDir, files, clock, log, signal: closing.signal, etcdPid: () => etcd.pid, deliver });
  onAbort(stopping.stop, () => deliver({ kind: "stop" }));
  onAbort(stopping.hurry, () => etcd.hurry());

  const runner = new EffectRunner(effectAdapters(prepared.dataDir, system, adapters, { journal, admin }), events);
  const now = { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
  const node = createNode(prepared.identity, settings.current, life, now, stops.pause);
  const code = await run(node, runner, latest);
  if (code !== 0) logLastLines(etcd, system);
  return code;
}

/** Throws E2dError `control_listen`. */
async function serveAdmin(
  path: string,
  { clock, random, serveControl }: System,
  { deliver, closers }: { deliver: (event: Event) => void; closers: AsyncDisposableStack },
): Promise<AdminRequests> {
  const admin = new AdminRequests({ clock, random, deliver });
  const server = await serveControl(path, (request) => admin.handle(request));
  closers.defer(() => {
    admin.close();
    server.close();
  });
  return admin;
}

function logLastLines({ lastExit }: EtcdAdapter, { log }: System): void {
  if (lastExit !== undefined) log.error("last etcd log lines", { lines: lastExit.tail });
}

function onAbort(signal: AbortSignal, act: () => void): void {
  if (signal.aborted) act();
  else signal.addEventListener("abort", act, { once: true });
}
