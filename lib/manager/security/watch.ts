/** Watches the certificate and key files while a node runs: renewed or replaced files take effect without a restart. */
import { describeError } from "../../errors.ts";
import type { Clock, Files, Logger, Random } from "../../ports.ts";
import type { EtcdClient } from "../../etcd/client/client.ts";
import type { KeysInUse } from "../../pki/rollover/keys_in_use.ts";
import type { CertificateState } from "../../pki/renewal_loop.ts";
import { clientTls, keySources, renewalOptions, type Security } from "./security.ts";

export interface WatchPorts {
  readonly files: Files;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** Frequent enough for certificates that are valid for 30 s, as in tests. */
const certificatesEveryMs = 5_000;
/** Members take the same step of a rollover within minutes of each other; both keys are accepted meanwhile. */
const keysEveryMs = 10_000;

/** Resolves at the signal, or immediately without certificates. */
export async function watchOwnCertificates(
  { security, autoRenew, client }: { security: Security; autoRenew: boolean; client: EtcdClient },
  { files, clock, random, log }: WatchPorts,
  signal: AbortSignal,
  onRound: (certificates: readonly CertificateState[], failures: readonly string[]) => void,
): Promise<void> {
  let logged: readonly string[] = [];
  const options = renewalOptions(security.set, autoRenew);
  if (options === undefined) return;
  const { watchCertificates } = await import("../../pki/renewal_loop.ts");
  try {
    await watchCertificates({ files, clock, random }, options, {
      signal,
      everyMs: certificatesEveryMs,
      onRound: (round) => {
        const failures = round.failures.map(({ error }) => describeError(error));
        onRound(round.certificates, failures);
        for (const { role, path, notAfterMs } of round.renewed) {
          log.info("renewed a certificate", { role, path, until: new Date(notAfterMs).toISOString() });
        }
        for (const error of failures) {
          if (!logged.includes(error)) log.error("cannot read or renew a certificate or key", { error });
        }
        logged = failures;
        for (const { role, path, warning } of round.certificates) {
          if (warning !== undefined) log.warn("a certificate is about to expire", { role, path, ...warning });
        }
        if (round.renewed.length > 0) void useRenewedPair({ security, client }, { files, log });
      },
    });
  } catch (error) {
    if (!signal.aborted) {
      log.error("stopped watching certificates: renewals need a restart of e2d", { error: describeError(error) });
    }
  }
}

/** Resolves at the signal, or immediately without keys. A failed read changes nothing, and is logged once. */
export async function watchOwnKeys(
  { security, client }: { security: Security; client: EtcdClient },
  { files, clock, log }: WatchPorts,
  signal: AbortSignal,
  onChange: (keys: KeysInUse) => void,
): Promise<void> {
  const sources = keySources(security.set);
  if (sources === undefined || security.keys === undefined) return;
  const { readKeysInUse } = await import("../../pki/rollover/keys_in_use.ts");
  let known = textOf(security.keys);
  let failing = "";
  for (;;) {
    try {
      await clock.sleep(keysEveryMs, signal);
    } catch {
      return;
    }
    try {
      const keys = await readKeysInUse(files, sources);
      failing = "";
      if (textOf(keys) === known) continue;
      known = textOf(keys);
      log.info("the keys in use have changed", {
        gossip: keys.gossip.length,
        snapshotRecipients: keys.recipients.length,
        snapshotFormer: keys.former.length,
      });
      onChange(keys);
      // A key rollover changes the certificate pairs in the same step.
      await useRenewedPair({ security, client }, { files, log });
    } catch (error) {
      const text = describeError(error);
      if (text !== failing) log.error("cannot read the keys: the previous ones stay in use", { error: text });
      failing = text;
    }
  }
}

/** Makes e2d's own etcd client present the certificate that is on disk now. */
async function useRenewedPair(
  { security, client }: { security: Security; client: EtcdClient },
  { files, log }: Pick<WatchPorts, "files" | "log">,
): Promise<void> {
  try {
    client.useTls(await clientTls(security.set, files));
  } catch (error) {
    log.error("cannot read the renewed certificate for e2d's own client", { error: describeError(error) });
  }
}

const textOf = ({ gossip, recipients, former }: KeysInUse) =>
  [gossip, recipients, former].map((keys) => keys.map((key) => key.toHex()).join()).join(";");
