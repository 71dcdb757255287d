/** What every way of finding peers is to the rest of e2d: one interface, one file a method, loaded when chosen. */
import type { Clock, Files, Http, Logger, Processes, Random, Resolver } from "../ports.ts";

export interface PeerAddress {
  /** An IP address without brackets, or a host name. */
  readonly host: string;
  /** Gossip port; undefined: the one of this node. */
  readonly port?: number;
}

export interface DiscoveryMethod {
  /** As on the command line: `do-tags`. */
  readonly name: string;
  /**
   * All peers there are now, each once; this node may be among them. Empty: the place answered that there are none.
   * Throws E2dError when it did not answer, refused, or answered nonsense; the signal's reason when aborted.
   */
  peers(signal: AbortSignal): Promise<readonly PeerAddress[]>;
  /**
   * Whole answers as they change, where the place tells of changes by itself. Ends or throws when it stops telling;
   * asking by `peers` goes on beside it.
   */
  changes?(signal: AbortSignal): AsyncIterable<readonly PeerAddress[]>;
  /**
   * The private address of this machine, where the place knows it: `--host` unset. Undefined: it does not say.
   * Throws as `peers` does.
   */
  ownAddress?(signal: AbortSignal): Promise<string | undefined>;
}

/** What the methods are made of; each takes what it needs. */
export interface DiscoveryPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly http: Http;
  /**
   * The same for a place with authorities of its own (PEM). Missing: `http` serves, which trusts those of the system
   * alone.
   */
  readonly trustingHttp?: ((authorities: readonly string[]) => { http: Http; close(): void }) | undefined;
  readonly files: Files;
  readonly processes: Processes;
  readonly resolver: Resolver;
  readonly log: Logger;
}

/** What the command line and the environment say beside the method. */
export interface DiscoveryConfig {
  /** `--do-access-token`, E2D_DO_ACCESS_TOKEN. */
  readonly digitalOceanToken?: string | undefined;
  /** `--aws-access-key`, `--aws-secret-key` and `--aws-role-session-name`. */
  readonly awsAccessKey?: string | undefined;
  readonly awsSecretKey?: string | undefined;
  readonly awsRoleSessionName?: string | undefined;
  /** One variable of the environment: HCLOUD_TOKEN and the like are read where they are needed. */
  environment(name: string): string | undefined;
  /** Other places to ask than the provider's own; for tests and for endpoints inside a private network. */
  readonly endpoints?: { readonly apiUrl?: string; readonly metadataUrl?: string };
}
