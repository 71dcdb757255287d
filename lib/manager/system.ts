/** The interface between a node and its machine. lib/cli implements it on Deno; tests implement it on simulated parts. */
import type {
  Clock,
  Connections,
  Datagrams,
  FileReader,
  Files,
  HostPort,
  Http,
  Locks,
  Logger,
  Processes,
  Random,
  Staging,
} from "../ports.ts";
import type { DataDir } from "../core/facts/data_dir.ts";
import type { EtcdPrograms } from "../etcd/install/provider.ts";
import type { DiscoveryMethod } from "../discovery/method.ts";
import type { DiscoveryPoll } from "../discovery/poll.ts";
import type { SnapshotPlace } from "../snapshot/lookup.ts";
import type { SnapshotKeys } from "../snapshot/format/unseal.ts";
import type { EtcdTls } from "../etcd/client/channel.ts";
import type { EtcdClient, EtcdClientOptions } from "../etcd/client/client.ts";
import type { ServiceState } from "./service_notices.ts";

export interface System {
  readonly clock: Clock;
  readonly random: Random;
  readonly files: Files;
  readonly locks: Locks;
  readonly processes: Processes;
  readonly connections: Connections;
  readonly bindDatagrams: (at: HostPort) => Promise<Datagrams>;
  readonly log: Logger;
  readonly inspectDataDir: (path: string) => Promise<DataDir>;
  /** Installs etcd where needed. `minor` ("3.7") selects the newest version of that minor. */
  readonly provideEtcd: (wanted: { minor?: string }) => Promise<EtcdPrograms>;
  /** Detects an address of this machine that its peers can reach; a discovery method may provide it. */
  readonly ownAddress: (method: DiscoveryMethod | undefined, clusterSize: number) => Promise<string>;
  /** Polls a discovery method until the signal. Throws E2dError for a failure that a retry cannot fix. */
  readonly discover: (spec: string, signal: AbortSignal) => Promise<DiscoveryPoll>;
  /** Opens the snapshot store, and reads `--snapshot-recipient`. Throws E2dError for an invalid URL or key file. */
  readonly openSnapshots: () => Promise<
    { place: SnapshotPlace } & Pick<SnapshotKeys, "recipients" | "publicRecipients">
  >;
  readonly staging: Staging;
  readonly reader: FileReader;
  readonly http: Http;
  /** `fetch` for etcd's own endpoints: trusts only this CA and presents the key pair (PEM). Undefined: without TLS. */
  readonly openPrivateHttp: (tls: EtcdTls | undefined) => { http: Http; close(): void };
  readonly resolve: (host: string, signal: AbortSignal) => Promise<readonly string[]>;
  readonly absolutePath: (path: string) => string;
  /** Throws E2dError when it cannot listen on the address. */
  readonly serveHttp: (
    at: HostPort,
    handler: (request: Request) => Response | Promise<Response>,
    tls?: { certificate: string; key: string },
  ) => { readonly local: HostPort; close(): Promise<void> };
  /** Serves the control socket at `path`. Throws E2dError `control_listen`. */
  readonly serveControl: (
    path: string,
    handler: (request: unknown) => Promise<unknown>,
  ) => Promise<{ close(): void }>;
  /** Sets the source of the notices to the service manager. Does nothing without one. */
  readonly announce: (state: () => ServiceState) => void;
  /** Creates e2d's own etcd client. It connects on first use. */
  readonly openEtcd: (options: Omit<EtcdClientOptions, "openStream" | "get">) => Promise<EtcdClient>;
}

export interface Stopping {
  /** Aborts at the first request to stop. */
  readonly stop: AbortSignal;
  /** Aborts at the second one. */
  readonly hurry: AbortSignal;
}
