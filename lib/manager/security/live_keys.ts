/** Owns the present keys and certificates of a running node, as the watches of watch.ts last read them. */
import type { EtcdClient } from "../../etcd/client/client.ts";
import type { KeysInUse } from "../../pki/rollover/keys_in_use.ts";
import type { CertificateState } from "../../pki/renewal_loop.ts";
import type { GossipAdapter } from "../adapters/gossip_adapter.ts";
import type { Security } from "./security.ts";
import { watchOwnCertificates, watchOwnKeys, type WatchPorts } from "./watch.ts";

export class LiveKeys {
  /** Undefined without a CA key. */
  current: KeysInUse | undefined;
  certificates: readonly CertificateState[] = [];
  certificateFailures: readonly string[] = [];

  constructor(current: KeysInUse | undefined) {
    this.current = current;
  }

  /** Watches until the signal. Calls `onCertificates` after each check of the certificates. */
  watch(
    watched: { security: Security; autoRenew: boolean; client: EtcdClient; gossip: GossipAdapter | undefined },
    ports: WatchPorts,
    signal: AbortSignal,
    onCertificates: () => void,
  ): void {
    void watchOwnCertificates(watched, ports, signal, (certificates, failures) => {
      this.certificates = certificates;
      this.certificateFailures = failures;
      onCertificates();
    });
    void watchOwnKeys(watched, ports, signal, (keys) => {
      this.current = keys;
      watched.gossip?.setKeys(keys.gossip);
    });
  }
}
