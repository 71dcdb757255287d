/** What the snapshot adapters of one node share: their ports, their options, and the trust that follows from them. */
import { E2dError } from "../../errors.ts";
import type { Clock, FileReader, Files, Http, Logger, Processes, Random, Staging } from "../../ports.ts";
import type { EtcdClient } from "../../etcd/client/client.ts";
import type { EtcdPrograms } from "../../etcd/install/provider.ts";
import type { SnapshotPlace } from "../../snapshot/lookup.ts";
import type { SnapshotKeys } from "../../snapshot/format/unseal.ts";
import { type Codec, sameThreadCodec, type SealedDatabase } from "../../snapshot/format/codec.ts";
import { fastestMac } from "../../snapshot/format/keys.ts";
import type { WrapOptions } from "../../snapshot/format/seal.ts";
import { requireTrusted, type SnapshotTrust } from "../../snapshot/trust.ts";
import type { SnapshotConfig } from "../node_config.ts";
import { digestOf } from "../../core/facts/digest.ts";
import type { SeenCluster } from "../../core/facts/node_record.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface SnapshotPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly files: Files;
  readonly staging: Staging;
  readonly reader: FileReader;
  readonly processes: Processes;
  readonly http: Http;
  readonly log: Logger;
  /** Default: on this thread. */
  readonly codec?: Codec | undefined;
  /** Listens on an address that the other nodes can reach, on any free port. */
  readonly serveHttp: (
    at: { host: string; port: number },
    handler: (request: Request) => Response | Promise<Response>,
  ) => { readonly local: { host: string; port: number }; close(): Promise<void> };
}

export interface StoreSnapshotOptions {
  /** Undefined without a store: then only a survivor's data can be restored. */
  readonly place: SnapshotPlace | undefined;
  readonly config: SnapshotConfig;
  /** The present keys: derived from the CA key, and from `--snapshot-recipient`. */
  readonly keys: () => SnapshotKeys;
  readonly self: { readonly name: string; readonly peerUrl: string; readonly clientUrl: string };
  readonly host: string;
  readonly dataDir: string;
  readonly client: EtcdClient;
  /** Etcd programs of at least this minor version ("3.7"). */
  readonly programs: (atLeast?: string) => Promise<EtcdPrograms>;
  /** Stops the own etcd while `work` runs, and starts it again if it was running. */
  readonly whileEtcdStopped: <T>(work: () => Promise<T>) => Promise<T>;
  /** The origin of this node's data. */
  readonly origin: () => "founded" | "joined" | "restored" | undefined;
  /** `-n`, and the last cluster with a quorum that this node has seen, now or by its record. */
  readonly cluster: () => { readonly size: number; readonly seen?: SeenCluster | undefined };
}

/** Which snapshots in the store may be used. */
export function trustOf({ config, keys }: Pick<StoreSnapshotOptions, "config" | "keys">): SnapshotTrust {
  return { keys: keys(), requireSealed: config.encryption && !config.allowUnsealed };
}

/** The place in which only trusted manifests decide. Hints of its errors contain this node's arguments of a restore. */
export function trustedPlace(place: SnapshotPlace, options: StoreSnapshotOptions): SnapshotPlace {
  const trust = trustOf(options);
  const restoreArguments = restoreArgumentsOf(place, options);
  return { ...place, restoreArguments, requireTrusted: (manifest) => requireTrusted(manifest, trust) };
}

/**
 * The arguments of `e2d snapshot restore` on this node. Several members need the same token and the same list: the token
 * follows from the life that was lost, so that each node names the same one. What this node does not know is in capitals.
 */
function restoreArgumentsOf(
  { key }: SnapshotPlace,
  { dataDir, self: { name, peerUrl }, cluster }: StoreSnapshotOptions,
) {
  const own = `--data-dir ${dataDir} --name ${name} --peer-url ${peerUrl}`;
  const { size, seen } = cluster();
  if (size === 1) return own;
  if (seen === undefined || !seen.voters.some((each) => each.name === name && each.peerUrl === peerUrl)) {
    return `${own} --initial-cluster NAME=PEER_URL,NAME=PEER_URL --token TOKEN`;
  }
  const members = seen.voters.map((each) => `${each.name}=${each.peerUrl}`).join(",");
  const token = `restored-${digestOf("restore by hand", seen.clusterId, seen.token ?? "", key).slice(0, 12)}`;
  return `${own} --initial-cluster ${members} --token ${token}`;
}

/** Checks, compresses and seals a plaintext database with the present keys. */
export function wrapDatabase(
  plain: ReadableStream<Bytes>,
  options: Omit<WrapOptions, "keys" | "mac" | "randomBytes">,
  { keys }: Pick<StoreSnapshotOptions, "keys">,
  { random, clock, codec = sameThreadCodec }: Pick<SnapshotPorts, "random" | "clock" | "codec">,
): SealedDatabase {
  const randomBytes = (length: number) => random.bytes(length);
  return codec.seal(plain, { ...options, keys: keys(), mac: fastestMac(clock), randomBytes });
}

export function unconfigured(): E2dError {
  return new E2dError("snapshot_unconfigured", "Cannot reach snapshots: no store is configured", {
    hint: "pass --snapshot-backup-url",
  });
}
