/** The interface of all discovery methods. Each method is one file, which is loaded only when it is chosen. */
import type { Clock, Files, Http, Logger, Processes, Random, Resolver } from "../ports.ts";

export interface PeerAddress {
  /** An IP address without brackets, or a host name. */
  readonly host: string;
  /** Gossip port; undefined: the gossip port of this node. */
  readonly port?: number;
}

export interface DiscoveryMethod {
  /** As on the command line: `do-tags`. */
  readonly name: string;
  /**
   * All present peers without duplicates; this node may be among them. Empty: the source reports no peers. Throws E2dError
   * when the source does not answer, refuses, or returns an invalid response; the signal's reason when aborted.
   */
  peers(signal: AbortSignal): Promise<readonly PeerAddress[]>;
  /**
   * Complete lists after each change, if the source reports changes. Ends or throws when the source stops; polling with
   * `peers` continues concurrently.
   */
  changes?(signal: AbortSignal): AsyncIterable<readonly PeerAddress[]>;
  /**
   * The private address of this machine, if the source knows it, for an unset `--host`. Undefined: the source does not
   * report it. Throws as `peers` does.
   */
  ownAddress?(signal: AbortSignal): Promise<string | undefined>;
}

/** The ports of all methods; each uses a part of them. */
export interface DiscoveryPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly http: Http;
  /**
   * Creates a client that trusts these CAs (PEM). Absent: `http` is used, which trusts the system's CAs only.
   */
  readonly trustingHttp?: ((authorities: readonly string[]) => { http: Http; close(): void }) | undefined;
  readonly files: Files;
  readonly processes: Processes;
  readonly resolver: Resolver;
  readonly log: Logger;
}

/** The configuration of the methods besides `--peer-discovery`. */
export interface DiscoveryConfig {
  /** `--do-access-token`, E2D_DO_ACCESS_TOKEN. */
  readonly digitalOceanToken?: string | undefined;
  /** `--aws-access-key`, `--aws-secret-key` and `--aws-role-session-name`. */
  readonly awsAccessKey?: string | undefined;
  readonly awsSecretKey?: string | undefined;
  readonly awsRoleSessionName?: string | undefined;
  /** Reads one environment variable, such as HCLOUD_TOKEN. */
  environment(name: string): string | undefined;
  /** Endpoints instead of the provider's own, for tests and for private networks. */
  readonly endpoints?: { readonly apiUrl?: string; readonly metadataUrl?: string };
}
