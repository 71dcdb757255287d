/**
 * Runs an etcd that no other machine can reach: it forgets all other members (`--force-new-cluster`) and listens on Unix
 * sockets in a folder of this user or, where etcd cannot, on an ephemeral port of 127.0.0.1. etcd changes the data, so it
 * must never be a node's own data-dir: only a copy, or a data-dir restored for this purpose.
 */
import { E2dError, isE2dError } from "../../errors.ts";
import type { Clock, Logger, Processes } from "../../ports.ts";
import { type EtcdClient, openEtcd } from "../client/client.ts";
import { type EtcdExit, startEtcdProcess } from "../process/process.ts";
import { compareVersions, parseVersion } from "../../facts/etcd_version.ts";

export interface IsolatedEtcdRequest {
  /** The program of the version that wrote the data. */
  readonly etcd: string;
  readonly version: string;
  /** The data-dir, which etcd changes. */
  readonly copyDir: string;
  /** The member's own name. */
  readonly name: string;
  /** For sockets: an empty folder that only this user may enter. */
  readonly socketDir: string;
  /** For the replay of the log. Default 120,000. */
  readonly readyTimeoutMs?: number;
}

export interface IsolatedEtcdPorts {
  readonly processes: Processes;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Bytes of a socket's path: sun_path has 108, the last one zero. */
const socketPathMax = 107;
const pollMs = 100;
/** Far above any database, so that no call is refused for lack of space. */
const quotaBytes = 16 * 1024 ** 3;

/**
 * Calls `use` when etcd serves reads, and resolves with its result when etcd has exited. `use` should observe its signal,
 * which is aborted when etcd exits. Throws E2dError `survivor_not_started` with etcd's last log line,
 * `survivor_not_ready`, what `use` throws, or the signal's reason.
 */
export async function withIsolatedEtcd<T>(
  request: IsolatedEtcdRequest,
  ports: IsolatedEtcdPorts,
  use: (client: EtcdClient, endpoint: string, signal: AbortSignal) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  signal?.throwIfAborted();
  const socket = clientSocket(request);
  const listening = Promise.withResolvers<string>();
  const etcdLog = ports.log.with({ part: "etcd" });
  const log = socket === undefined
    ? watchForAddress(etcdLog, (address) => listening.resolve(`http://${address}`))
    : etcdLog;
  const process = await startEtcdProcess(request.etcd, isolatedEtcdArgs(request, socket), { ...ports, log });
  // Aborted when etcd exits or `use` is done: ends the waits that lost the race.
  const over = new AbortController();
  const ended = process.exited.then((exit) => over.abort(notStarted(request, exit)));
  const waiting = AbortSignal.any([over.signal, ...(signal === undefined ? [] : [signal])]);
  let client: EtcdClient | undefined;
  try {
    const endMs = ports.clock.monotonicMs() + readyTimeoutOf(request);
    const endpoint = socket ?? await Promise.race([listening.promise, overdue(request, ports.clock, waiting)]);
    client = await openEtcd({ endpoints: [endpoint], clock: ports.clock });
    await untilReady(client, endpoint, { request, clock: ports.clock, endMs, signal: waiting });
    return await use(client, endpoint, waiting);
  } finally {
    over.abort();
    client?.close();
    // After SIGTERM, etcd waits for half-open connections, such as those that were dialled before it served. Its data is
    // thrown away, so nothing is lost by SIGKILL.
    process.kill();
    await ended;
  }
}

function isolatedEtcdArgs({ version, copyDir, name }: IsolatedEtcdRequest, socket: string | undefined): string[] {
  const parsed = parseVersion(version);
  const isFrom35 = parsed !== undefined &&
    compareVersions(parsed, { major: 3, minor: 5, patch: 0, preRelease: "" }) >= 0;
  // No client and no peer uses these addresses; nothing listens on port 1.
  const nowhere = "http://127.0.0.1:1";
  return [
    "--force-new-cluster",
    `--name=${name}`,
    `--data-dir=${copyDir}`,
    `--listen-client-urls=${socket ?? "http://127.0.0.1:0"}`,
    `--listen-peer-urls=${socket?.replace(/c$/, "p") ?? "http://127.0.0.1:0"}`,
    `--advertise-client-urls=${nowhere}`,
    `--initial-advertise-peer-urls=${nowhere}`,
    `--initial-cluster=${name}=${nowhere}`,
    `--quota-backend-bytes=${quotaBytes}`,
    "--logger=zap",
    // The data is thrown away, so it need not survive a power failure.
    ...(isFrom35 ? ["--unsafe-no-fsync"] : []),
  ];
}

/** Undefined where etcd needs TCP: 3.4 requires a port in every URL. */
function clientSocket({ version, socketDir }: IsolatedEtcdRequest): string | undefined {
  const path = `${socketDir}/c`;
  const isOld = /^v?3\.[0-4]\./.test(version);
  return isOld || new TextEncoder().encode(path).length > socketPathMax ? undefined : `unix://${path}`;
}

/** Only etcd's log has the ephemeral port: "serving insecure client requests", {"address": "127.0.0.1:41234"}. */
function watchForAddress(log: Logger, onAddress: (address: string) => void): Logger {
  const inspect = (message: string, fields: Readonly<Record<string, unknown>> | undefined) => {
    const address = fields?.["address"];
    if (/^serving .*client/.test(message) && typeof address === "string" && /:[1-9]\d*$/.test(address)) {
      onAddress(address);
    }
  };
  const wrapped: Logger = {
    debug: (message, fields) => (inspect(message, fields), log.debug(message, fields)),
    info: (message, fields) => (inspect(message, fields), log.info(message, fields)),
    warn: (message, fields) => (inspect(message, fields), log.warn(message, fields)),
    error: (message, fields) => (inspect(message, fields), log.error(message, fields)),
    with: (fields) => watchForAddress(log.with(fields), onAddress),
  };
  return wrapped;
}

const readyTimeoutOf = ({ readyTimeoutMs = 120_000 }: IsolatedEtcdRequest) => readyTimeoutMs;

async function overdue(request: IsolatedEtcdRequest, clock: Clock, signal: AbortSignal): Promise<never> {
  await clock.sleep(readyTimeoutOf(request), signal);
  throw notReady(request);
}

async function untilReady(
  client: EtcdClient,
  endpoint: string,
  { request, clock, endMs, signal }: { request: IsolatedEtcdRequest; clock: Clock; endMs: number; signal: AbortSignal },
): Promise<void> {
  for (;;) {
    try {
      return await client.ready(endpoint, { timeoutMs: 1_000, signal });
    } catch (error) {
      signal.throwIfAborted();
      if (!isE2dError(error) || error.code === "etcd_corrupt") throw error;
      if (clock.monotonicMs() >= endMs) throw notReady(request, error);
    }
    await clock.sleep(pollMs, signal);
  }
}

function notStarted({ copyDir }: IsolatedEtcdRequest, { code, tail }: EtcdExit): E2dError {
  const last = tail.at(-1) ?? "it printed nothing";
  return new E2dError(
    "survivor_not_started",
    `Cannot replay the copy "${copyDir}": etcd exited with status ${code}: ${last.slice(0, 500)}`,
  );
}

function notReady(request: IsolatedEtcdRequest, cause?: unknown): E2dError {
  return new E2dError(
    "survivor_not_ready",
    `Cannot replay the copy "${request.copyDir}": etcd served no read in ${readyTimeoutOf(request)} ms`,
    { cause },
  );
}
