/**
 * `e2d run`: connects the manager of one node to the operating system. Owns the signals of the process and its exit
 * status; contains no decision about the cluster.
 */
import { describeError, isE2dError } from "../errors.ts";
import type { Logger } from "../ports.ts";
import { openEtcd } from "../etcd/client/client.ts";
import { inspectDataDir } from "../etcd/data/data_dir.ts";
import type { NodeConfig } from "../manager/node_config.ts";
import { ServiceNotices } from "../manager/service_notices.ts";
import { startNode } from "../manager/start_node.ts";
import { systemClock } from "../sys/clock.ts";
import { forbidCoreDumps } from "../sys/core_dumps.ts";
import { serveControl } from "../sys/control_socket.ts";
import { systemFileReader } from "../sys/file_reader.ts";
import { systemFiles } from "../sys/files.ts";
import { openGrpcStream } from "../sys/grpc/fetch.ts";
import { enableGrpcTls } from "../sys/grpc/tls.ts";
import { systemResolver } from "../sys/dns.ts";
import { systemHttp, trustingHttp } from "../sys/http/http.ts";
import { systemStaging } from "../sys/staging.ts";
import { serveHttp } from "../sys/http/server.ts";
import { systemLocks } from "../sys/lock.ts";
import { systemNetwork } from "../sys/network.ts";
import { serviceManager } from "../sys/notify.ts";
import { systemProcesses } from "../sys/process.ts";
import { systemRandom } from "../sys/random.ts";
import { systemConnections } from "../sys/tcp.ts";
import { bindDatagrams } from "../sys/udp.ts";
import { directGet } from "../sys/http/direct_get.ts";
import { provideEtcd, provideEtcdOfMinor } from "./etcd.ts";
import { absolutePath, openPlace, readRecipients } from "./snapshot_place.ts";
import type { System } from "../manager/system.ts";

/** Runs the node until SIGTERM or SIGINT, or until it cannot continue. Resolves with the exit status. */
export async function run(config: NodeConfig, log: Logger): Promise<number> {
  const stop = new AbortController();
  const hurry = new AbortController();
  const onSignal = (signal: string) => {
    log.info(stop.signal.aborted ? "stopping immediately: second signal" : "stopping", { signal });
    (stop.signal.aborted ? hurry : stop).abort();
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) Deno.addSignalListener(signal, () => onSignal(signal));
  const manager = serviceManager({ environment: (name) => Deno.env.get(name), pid: Deno.pid, log });
  const notices = manager && new ServiceNotices({ manager, clock: systemClock });
  stop.signal.addEventListener("abort", () => notices?.stopping());
  const announce: System["announce"] = (state) => notices?.watch(state);
  await forbidCoreDumps();
  try {
    const system = { ...systemFor(config, log, stop.signal), announce };
    return await startNode(config, system, { stop: stop.signal, hurry: hurry.signal });
  } catch (error) {
    if (!isE2dError(error)) throw error;
    log.error("this node cannot run", { code: error.code, error: describeError(error) });
    await notices?.failed(describeError(error));
    return 1;
  } finally {
    notices?.close();
  }
}

function systemFor(
  { etcd, snapshots, credentials }: NodeConfig,
  log: Logger,
  signal: AbortSignal,
): Omit<System, "announce"> {
  return {
    clock: systemClock,
    random: systemRandom,
    files: systemFiles,
    locks: systemLocks,
    processes: systemProcesses,
    connections: systemConnections,
    bindDatagrams,
    log,
    inspectDataDir: async (path) => await inspectDataDir(path, { files: systemFiles, reader: systemFileReader }),
    provideEtcd: ({ minor }) =>
      minor === undefined
        ? provideEtcd({ version: etcd.version, etcdDir: etcd.dir, signal }, log)
        : provideEtcdOfMinor(minor, { etcdDir: etcd.dir, signal }, log),
    ...discoveryFor(credentials, log, signal),
    openSnapshots: async () => ({
      place: await openPlace({ url: snapshots.url!, s3Endpoint: snapshots.s3Endpoint, credentials }, log),
      ...await readRecipients(snapshots.recipients, log),
    }),
    staging: systemStaging,
    reader: systemFileReader,
    http: systemHttp,
    openPrivateHttp(tls) {
      if (tls === undefined) return { http: systemHttp, close() {} };
      const { ca, certificate, key } = tls;
      return trustingHttp([ca], certificate === undefined || key === undefined ? undefined : { certificate, key });
    },
    resolve: async (host) => {
      const { lookup } = await import("node:dns/promises");
      return (await lookup(host, { all: true })).map(({ address }) => address);
    },
    absolutePath,
    serveHttp,
    serveControl,
    openEtcd: async (options) => {
      // Must have run before the client dials.
      await enableGrpcTls();
      return await openEtcd({ ...options, openStream: openGrpcStream, get: directGet });
    },
  };
}

function discoveryFor(
  credentials: NodeConfig["credentials"],
  log: Logger,
  signal: AbortSignal,
): Pick<System, "ownAddress" | "discover"> {
  return {
    ownAddress: async (method, clusterSize) => {
      const { ownAddress } = await import("../discovery/own_address.ts");
      const machine = { network: systemNetwork, clock: systemClock, log };
      const { host, source } = await ownAddress({ method, clusterSize, ...machine }, signal);
      log.info("detected this machine's address", { host, source });
      return host;
    },
    discover: async (spec, until) => {
      const { discover } = await import("../discovery/discover.ts");
      return await discover(spec, {
        digitalOceanToken: credentials.doAccessToken,
        awsAccessKey: credentials.awsAccessKey,
        awsSecretKey: credentials.awsSecretKey,
        awsRoleSessionName: credentials.awsRoleSessionName,
        environment: (name) => Deno.env.get(name),
      }, {
        clock: systemClock,
        random: systemRandom,
        http: systemHttp,
        trustingHttp,
        files: systemFiles,
        processes: systemProcesses,
        resolver: systemResolver(),
        log,
      }, until);
    },
  };
}
