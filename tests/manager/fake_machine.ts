/**
 * A machine in memory that a whole node runs on: disk, locks, ports, processes and the control socket under virtual
 * time. `start` runs `startNode` as `e2d run` does; what lies on the disk stays there between starts.
 */
import "../../lib/manager/adapters/store_snapshots.ts";
import { E2dError } from "../../lib/errors.ts";
import type { DiscoveryPoll } from "../../lib/discovery/poll.ts";
import type { PeerAddress } from "../../lib/discovery/method.ts";
import { EtcdClient } from "../../lib/etcd/client/client.ts";
import type { NodeConfig } from "../../lib/manager/node_config.ts";
import type { CommandAnswer } from "../../lib/core/facts/command.ts";
import type { ServiceState } from "../../lib/manager/service_notices.ts";
import { startNode } from "../../lib/manager/start_node.ts";
import type { System } from "../../lib/manager/system.ts";
import type { Datagram, HostPort, Listener, Locks } from "../../lib/ports.ts";
import { MemoryDisk } from "../etcd/memory_disk.ts";
import { flush, TestClock } from "../support/test_clock.ts";
import { TestLog } from "../support/test_log.ts";
import { FakeEtcd } from "./fake_etcd_process.ts";

export const dataDir = "/var/lib/e2d/etcd";
const host = "10.0.0.1";

export const singleNode: NodeConfig = {
  name: "n1",
  dataDir,
  host,
  clientAddr: { host, port: 2379 },
  peerAddr: { host, port: 2380 },
  gossipAddr: { host, port: 7980 },
  requiredSize: 1,
  bootstrapAddrs: [],
  healthCheckIntervalMs: 1_000,
  healthCheckTimeoutMs: 60_000,
  quorumLossTimeoutMs: 600_000,
  tls: { autoRenew: false },
  snapshots: {
    intervalMs: 60_000,
    compression: "none",
    encryption: false,
    allowUnsealed: false,
    compressBeforeEncryption: false,
    format: "auto",
    recipients: [],
    keepHourly: 0,
    keepDaily: 0,
    restore: "auto",
  },
  credentials: {},
  etcd: {},
  statusAddr: { host: "127.0.0.1", port: 7981 },
  verbose: false,
};

/** One run of `startNode`. */
export interface Run {
  /** The exit status, or what was thrown. */
  readonly ended: Promise<{ readonly code?: number; readonly error?: unknown }>;
  /** SIGTERM. */
  stop(): void;
  /** A second SIGTERM. */
  hurry(): void;
}

export class FakeMachine {
  readonly disk = new MemoryDisk();
  readonly clock = new TestClock();
  readonly log = new TestLog();
  readonly etcd = new FakeEtcd(this.disk, this.clock);
  /** Addresses that another process listens on, "host:port". */
  readonly taken = new Set<string>();
  readonly #locks = new Set<string>();
  /** Paths that another process has locked. */
  readonly lockedByOthers = new Set<string>();
  /** Called before the node binds its gossip port: something that happens while it is being built. */
  whileBuilding: () => void = () => {};
  /** What `--peer-discovery` finds. */
  readonly discovery = new FakeDiscovery();
  /** The system refuses the control socket. */
  refusesControl = false;
  /** Hosts that it dialled. */
  readonly dialled = new Set<string>();
  announced: () => ServiceState = () => ({ ready: false, status: "" });
  #control: ((request: unknown) => Promise<unknown>) | undefined;
  #status: ((request: Request) => Response | Promise<Response>) | undefined;
  #bytes = 0;

  start(change: Partial<NodeConfig> = {}): Run {
    const stop = new AbortController();
    const hurry = new AbortController();
    const ended = startNode({ ...singleNode, ...change }, this.#system(), { stop: stop.signal, hurry: hurry.signal })
      .then((code) => ({ code }), (error) => ({ error }));
    return { ended, stop: () => stop.abort(), hurry: () => hurry.abort() };
  }

  /** Starts a node and waits until it serves. */
  async serve(change: Partial<NodeConfig> = {}): Promise<Run> {
    const run = this.start(change);
    await this.until(() => this.announced().ready, "the node serves");
    return run;
  }

  /** The outcome of a run that ends. */
  async end(run: Run): Promise<{ readonly code?: number; readonly error?: unknown }> {
    const outcome = await this.clock.settle(run.ended, 300_000);
    if (outcome.status === "rejected") throw outcome.reason;
    return outcome.value;
  }

  /** Lets time pass until it is so. */
  async until(condition: () => boolean | Promise<boolean>, what: string, maxMs = 120_000): Promise<void> {
    const startMs = this.clock.monotonicMs();
    await flush();
    while (!await condition()) {
      if (this.clock.monotonicMs() - startMs > maxMs) throw new Error(`not within ${maxMs} ms: ${what}\n${this.text}`);
      await this.clock.advance(50, 50);
    }
  }

  /** What `e2d scale`, `pause` and the others ask; undefined: there is no socket. */
  async control(request: Record<string, unknown>): Promise<CommandAnswer | undefined> {
    if (this.#control === undefined) return undefined;
    const outcome = await this.clock.settle(this.#control(request) as Promise<CommandAnswer>);
    if (outcome.status === "rejected") throw outcome.reason;
    return outcome.value;
  }

  /** The answer of the status address. */
  async status(path: string): Promise<Record<string, unknown>> {
    const response = await this.#status!(new Request(`http://127.0.0.1:7981${path}`));
    return await response.json();
  }

  get servesStatus(): boolean {
    return this.#status !== undefined;
  }

  /** The messages of the log, with their levels. */
  get text(): string {
    return this.log.lines.map(({ level, message, fields }) => `${level} ${message} ${JSON.stringify(fields)}`).join(
      "\n",
    );
  }

  #system(): System {
    const { clock, disk, log, etcd } = this;
    return {
      clock,
      log,
      files: disk,
      staging: disk,
      random: { float: () => 0.5, bytes: (length) => new Uint8Array(length).fill(++this.#bytes) },
      locks: this.#fileLocks(),
      processes: {
        start: (_program, args) => etcd.start(args),
        identify: (pid) => Promise.resolve({ pid, started: "1", args: [] }),
        kill: () => {},
      },
      connections: {
        dial: (to) => {
          this.dialled.add(to.host);
          return Promise.reject(new E2dError("tcp_dial", `Cannot dial ${to.host}: nothing listens there`));
        },
        listen: (at) => this.#listen(at),
      },
      bindDatagrams: (at) => {
        this.whileBuilding();
        return Promise.resolve(silentDatagrams(at));
      },
      inspectDataDir: (path) => etcd.inspect(path),
      provideEtcd: () => Promise.resolve({ etcd: "/opt/etcd", version: "3.6.14", source: "cache" }),
      ownAddress: () => Promise.resolve(host),
      discover: () => Promise.resolve(this.discovery),
      openSnapshots: () => Promise.reject(new Error("no store is configured")),
      reader: { open: () => Promise.resolve(undefined) },
      http: () => Promise.reject(new Error("there is no web")),
      openPrivateHttp: () => ({ http: () => Promise.reject(new Error("there is no web")), close: () => {} }),
      resolve: () => Promise.reject(new Error("there is no name server")),
      absolutePath: (path) => path,
      serveHttp: (at, handler) => {
        this.#status = handler;
        return { local: at, close: () => Promise.resolve(void (this.#status = undefined)) };
      },
      serveControl: (path, handler) => {
        if (this.refusesControl) return Promise.reject(new E2dError("control_listen", `Cannot listen on "${path}"`));
        this.#control = handler;
        return Promise.resolve({ close: () => void (this.#control = undefined) });
      },
      announce: (state) => void (this.announced = state),
      openEtcd: (options) => Promise.resolve(new EtcdClient(etcd.calls, options)),
    };
  }

  #fileLocks(): Locks {
    return {
      take: (path) => {
        if (this.lockedByOthers.has(path) || this.#locks.has(path)) return Promise.resolve(undefined);
        this.#locks.add(path);
        return Promise.resolve({
          found: "",
          write: () => Promise.resolve(),
          release: () => void this.#locks.delete(path),
        });
      },
    };
  }

  #listen(at: HostPort): Promise<Listener> {
    if (this.taken.has(`${at.host}:${at.port}`)) {
      return Promise.reject(new E2dError("address_in_use", `Cannot listen on ${at.host}:${at.port}: it is taken`));
    }
    const closed = Promise.withResolvers<void>();
    return Promise.resolve({
      local: at,
      accept: () => nothingUntil(closed.promise),
      close: () => closed.resolve(),
    });
  }
}

/** A method of discovery whose answers the test gives. */
export class FakeDiscovery implements DiscoveryPoll {
  readonly method = { name: "fake", peers: () => Promise.resolve([]) };
  readonly ended = Promise.resolve();
  readonly #listeners = new Set<(peers: readonly PeerAddress[]) => void>();
  #latest: readonly PeerAddress[] | undefined;

  latest = () => this.#latest;

  onChange(listener: (peers: readonly PeerAddress[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** As poll.ts does: what a listener throws is thrown here. */
  answer(peers: readonly PeerAddress[]): void {
    this.#latest = peers;
    for (const listener of this.#listeners) listener(peers);
  }
}

function silentDatagrams(local: HostPort) {
  const closed = Promise.withResolvers<void>();
  return {
    local,
    send: () => Promise.resolve(),
    receive: () => nothingUntil<Datagram>(closed.promise),
    close: () => closed.resolve(),
  };
}

/** Ends, with nothing received, when the socket is closed. */
async function* nothingUntil<T>(closed: Promise<void>): AsyncGenerator<T> {
  await closed;
  yield* [];
}
