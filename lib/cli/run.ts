/** `e2d run`: joins one node to this machine. */
import { describeError, E2dError, isE2dError } from "../errors.ts";
import type { Logger } from "../ports.ts";
import { inspectDataDir } from "../etcd/data_dir.ts";
import type { NodeConfig } from "../manager/node_config.ts";
import { startNode, type System } from "../manager/start_node.ts";
import { systemClock } from "../sys/clock.ts";
import { systemFileReader } from "../sys/file_reader.ts";
import { systemFiles } from "../sys/files.ts";
import { enableGrpcTls } from "../sys/grpc_tls.ts";
import { serveHttp } from "../sys/http_server.ts";
import { systemLocks } from "../sys/lock.ts";
import { systemNetwork } from "../sys/network.ts";
import { systemProcesses } from "../sys/process.ts";
import { systemRandom } from "../sys/random.ts";
import { systemConnections } from "../sys/tcp.ts";
import { bindDatagrams } from "../sys/udp.ts";
import { provideEtcd } from "./etcd.ts";

/** Resolves with the exit status. */
export async function run(config: NodeConfig, log: Logger): Promise<number> {
  const stop = new AbortController();
  const hurry = new AbortController();
  const onSignal = (signal: string) => {
    log.info(stop.signal.aborted ? "asked again: stopping at once" : "asked to stop", { signal });
    (stop.signal.aborted ? hurry : stop).abort();
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) Deno.addSignalListener(signal, () => onSignal(signal));
  try {
    return await startNode(config, systemFor(config, log, stop.signal), { stop: stop.signal, hurry: hurry.signal });
  } catch (error) {
    if (!isE2dError(error)) throw error;
    log.error("this node cannot run", { code: error.code, error: describeError(error) });
    return 1;
  }
}

function systemFor({ etcd }: NodeConfig, log: Logger, signal: AbortSignal): System {
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
      provideEtcd({ version: minor === undefined ? etcd.version : minor, etcdDir: etcd.dir, signal }, log),
    ownAddress,
    resolve: async (host) => {
      const { lookup } = await import("node:dns/promises");
      return (await lookup(host, { all: true })).map(({ address }) => address);
    },
    absolutePath: (path) => path.startsWith("/") ? path : `${Deno.cwd()}/${path.replace(/^\.\//, "")}`,
    serveHttp,
    enableTls: enableGrpcTls,
  };
}

/** Addresses that never leave a site: RFC 1918, RFC 6598, RFC 4193. */
const privateAddress = /^(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|f[cd])/i;

/** The private address at the default route; a node without peers does without one. */
async function ownAddress(alone: boolean): Promise<string> {
  const addresses = systemNetwork.addresses();
  const devices = await systemNetwork.defaultDevices();
  const ordered = devices.flatMap((name) => addresses.filter(({ device }) => device === name));
  const found = [...ordered, ...addresses].find(({ address }) => privateAddress.test(address));
  if (found !== undefined) return found.address;
  if (alone) return "127.0.0.1";
  throw new E2dError("host_unknown", "Cannot find out this machine's own address: no interface has a private one", {
    hint: "name it with --host",
  });
}
