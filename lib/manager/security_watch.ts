/** Certificates and keys while a node runs: renewed, or changed under it by an operator, they reach it without a restart. */
import { describeError } from "../errors.ts";
import type { Clock, Files, Logger, Random } from "../ports.ts";
import type { EtcdClient } from "../etcd/client.ts";
import type { KeysInUse } from "../pki/keys_in_use.ts";
import type { CertificateState } from "../pki/renewal_loop.ts";
import { clientTls, keySources, renewalOptions, type Security } from "./security.ts";

export interface WatchPorts {
  readonly files: Files;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** Often enough for lives of half a minute, which tests and short-lived authorities have. */
const certificatesEveryMs = 5_000;
/** Members take the same step of a rollover within minutes of each other; both keys are accepted meanwhile. */
const keysEveryMs = 10_000;

/** Resolves when the signal ends it, or when there is nothing to watch. */
export async function watchOwnCertificates(
  { security, autoRenew, client }: { security: Security; autoRenew: boolean; client: EtcdClient },
  { files, clock, random, log }: WatchPorts,
  signal: AbortSignal,
  onRound: (certificates: readonly CertificateState[], failures: readonly string[]) => void,
): Promise<void> {
  let told: readonly string[] = [];
  const options = renewalOptions(security.set, autoRenew);
  if (options === undefined) return;
  const { watchCertificates } = await import("../pki/renewal_loop.ts");
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
          if (!told.includes(error)) log.error("a certificate or key cannot be read or renewed", { error });
        }
        told = failures;
        for (const { role, path, warning } of round.certificates) {
          if (warning !== undefined) log.warn("a certificate is about to end", { role, path, ...warning });
        }
        if (round.renewed.length > 0) void showRenewed({ security, client }, { files, log });
      },
    });
  } catch (error) {
    if (!signal.aborted) log.error("certificates are not watched any more", { error: describeError(error) });
  }
}

/** Resolves as above. A reading that fails changes nothing, and is told once. */
export async function watchOwnKeys(
  { security, client }: { security: Security; client: EtcdClient },
  { files, clock, log }: WatchPorts,
  signal: AbortSignal,
  onChange: (keys: KeysInUse) => void,
): Promise<void> {
  const sources = keySources(security.set);
  if (sources === undefined || security.keys === undefined) return;
  const { readKeysInUse } = await import("../pki/keys_in_use.ts");
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
      // The pairs change in the same step.
      await showRenewed({ security, client }, { files, log });
    } catch (error) {
      const text = describeError(error);
      if (text !== failing) log.error("cannot read the keys anew: the former ones stay in use", { error: text });
      failing = text;
    }
  }
}

/** e2d's own client shows the pair that is on the disk now. */
async function showRenewed(
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
