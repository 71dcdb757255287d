/**
 * Runs an etcd on data of its own where nobody reaches it and it reaches nobody: it forgets all members but itself
 * (`--force-new-cluster`) and listens on sockets in a folder of this user alone, where etcd can, else on an ephemeral port
 * of 127.0.0.1. The data is changed by it: a copy, or what a restore has made for the purpose.
 */
import { E2dError, isE2dError } from "../errors.ts";
import type { Clock, Logger, Processes } from "../ports.ts";
import { type EtcdClient, openEtcd } from "./client.ts";
import { type EtcdExit, startEtcdProcess } from "./process.ts";
import { compareVersions, parseVersion } from "./version.ts";

export interface QuarantineRequest {
  /** The program of the version that wrote the data. */
  readonly etcd: string;
  readonly version: string;
  /** Changed by it. Its name is the member's own. */
  readonly copyDir: string;
  readonly name: string;
  /** An empty folder that only this user may enter, for sockets. */
  readonly socketDir: string;
  /** For the replay of the log. Default 120,000. */
  readonly readyTimeoutMs?: number;
}

export interface QuarantinePorts {
  readonly processes: Processes;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The longest path of a socket: sun_path has 108 bytes, the last one zero. */
const socketPathMax = 107;
const pollMs = 100;
/** A survivor's database may be as full as it likes: nothing is to be refused while it is read. */
const quotaBytes = 16 * 1024 ** 3;

/**
 * Resolves with what `use` made of it, when the etcd has ended. Throws E2dError `survivor_not_started` with etcd's last
 * words, `survivor_not_ready`, what `use` throws, or the signal's reason; `use` should heed the signal it is given, which
 * is aborted when etcd ends.
 */
export async function inQuarantine<T>(
  request: QuarantineRequest,
  ports: QuarantinePorts,
  use: (client: EtcdClient, endpoint: string, signal: AbortSignal) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  signal?.throwIfAborted();
  const socket = clientSocket(request);
  const listening = Promise.withResolvers<string>();
  const words = ports.log.with({ part: "etcd" });
  const log = socket === undefined ? listenFor(words, (address) => listening.resolve(`http://${address}`)) : words;
  const process = await startEtcdProcess(request.etcd, quarantineArgs(request, socket), { ...ports, log });
  // Ends what still waits when one of the others was first.
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
    // Asked to stop, etcd waits for connections that were given up half made, as those are that were opened before it
    // served: for longer than anybody wants to, and for nothing, as its data is thrown away.
    process.hurry();
    await ended;
  }
}

function quarantineArgs({ version, copyDir, name }: QuarantineRequest, socket: string | undefined): string[] {
  const parsed = parseVersion(version);
  const isFrom35 = parsed !== undefined &&
    compareVersions(parsed, { major: 3, minor: 5, patch: 0, preRelease: "" }) >= 0;
  // Advertised to nobody: there is nobody who could ask. Port 1 answers nobody, either.
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
    // The copy is thrown away: it need not survive a power cut.
    ...(isFrom35 ? ["--unsafe-no-fsync"] : []),
  ];
}

/** etcd 3.4 wants a port in every URL; from 3.5 on a socket may have any path. */
function clientSocket({ version, socketDir }: QuarantineRequest): string | undefined {
  const path = `${socketDir}/c`;
  const isOld = /^v?3\.[0-4]\./.test(version);
  return isOld || new TextEncoder().encode(path).length > socketPathMax ? undefined : `unix://${path}`;
}

/** The address that etcd has got says its log alone: "serving insecure client requests", {"address": "127.0.0.1:41234"}. */
function listenFor(log: Logger, found: (address: string) => void): Logger {
  const look = (message: string, fields: Readonly<Record<string, unknown>> | undefined) => {
    const address = fields?.["address"];
    if (/^serving .*client/.test(message) && typeof address === "string" && /:[1-9]\d*$/.test(address)) found(address);
  };
  const wrapped: Logger = {
    debug: (message, fields) => (look(message, fields), log.debug(message, fields)),
    info: (message, fields) => (look(message, fields), log.info(message, fields)),
    warn: (message, fields) => (look(message, fields), log.warn(message, fields)),
    error: (message, fields) => (look(message, fields), log.error(message, fields)),
    with: (fields) => listenFor(log.with(fields), found),
  };
  return wrapped;
}

const readyTimeoutOf = ({ readyTimeoutMs = 120_000 }: QuarantineRequest) => readyTimeoutMs;

async function overdue(request: QuarantineRequest, clock: Clock, signal: AbortSignal): Promise<never> {
  await clock.sleep(readyTimeoutOf(request), signal);
  throw notReady(request);
}

async function untilReady(
  client: EtcdClient,
  endpoint: string,
  { request, clock, endMs, signal }: { request: QuarantineRequest; clock: Clock; endMs: number; signal: AbortSignal },
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

function notStarted({ copyDir }: QuarantineRequest, { code, tail }: EtcdExit): E2dError {
  const last = tail.at(-1) ?? "no word";
  return new E2dError(
    "survivor_not_started",
    `Cannot replay the copy "${copyDir}": etcd ended with ${code}: ${last.slice(0, 500)}`,
  );
}

function notReady(request: QuarantineRequest, cause?: unknown): E2dError {
  return new E2dError(
    "survivor_not_ready",
    `Cannot replay the copy "${request.copyDir}": etcd served no read in ${readyTimeoutOf(request)} ms`,
    { cause },
  );
}
