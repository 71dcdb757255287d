/** Reads a selected snapshot with a progress bar and verifies it. */
import type { Logger } from "../../ports.ts";
import { explainDamage, type SnapshotPlace } from "../../snapshot/lookup.ts";
import type { NamedSnapshot } from "../../snapshot/named.ts";
import { isAuthentic, keyFits } from "../../snapshot/manifest_mac.ts";
import { fetchSnapshot } from "../../snapshot/pipeline.ts";
import { allKeys, type VerifiedSnapshot } from "../../snapshot/verified_file.ts";
import type { SnapshotTrust } from "../../snapshot/trust.ts";
import { systemClock } from "../../sys/clock.ts";
import { systemStaging } from "../../sys/staging.ts";
import { ProgressBar } from "../progress.ts";
import type { Terminal } from "../terminal.ts";

export async function withProgressBar<T>(
  title: string,
  totalBytes: number | undefined,
  terminal: Terminal,
  work: (onProgress: (bytes: number) => void) => Promise<T>,
): Promise<T> {
  const output = { columns: terminal.columns, write: terminal.err };
  const bar = new ProgressBar(title, output, () => performance.now());
  try {
    return await work((receivedBytes) => bar.update({ receivedBytes, totalBytes }));
  } finally {
    bar.end();
  }
}

/** Reads the whole snapshot with a progress bar, verifies it against its manifest, and warns of missing authenticity. */
export async function fetchSelected(
  at: SnapshotPlace,
  choice: NamedSnapshot,
  options: {
    title: string;
    path: string | undefined;
    copies?: number;
    trust: SnapshotTrust;
    ownObjectOnly?: boolean;
    signal: AbortSignal;
  },
  { terminal, log }: { terminal: Terminal; log: Logger },
): Promise<VerifiedSnapshot> {
  const { title, trust } = options;
  const { manifest, key } = choice;
  const total = manifest?.plainBytes ?? (await at.store.info(key, options.signal))?.size;
  const verified = await withProgressBar(
    title,
    total,
    terminal,
    (onProgress) =>
      fetchSnapshot(at, choice, { ...options, onProgress }, { staging: systemStaging, clock: systemClock, log }),
  ).catch(async (error) => {
    // For the default of a restore alone: an operator who named a snapshot has chosen.
    const isDefault = !choice.named && options.ownObjectOnly !== true;
    throw isDefault ? await explainDamage(error, at, key, options.signal) : error;
  });
  if (manifest === undefined && (trust.requireSealed || choice.named)) {
    log.warn("this snapshot has no manifest: its cluster and its age are known from the store only", { key });
  }
  const { recipients, identities = [] } = trust.keys;
  const hasKeys = recipients.length + identities.length > 0;
  const sealed = verified.kind === "go-v1" || verified.header?.sealed === true;
  if (hasKeys && !sealed) {
    log.warn("this snapshot is not encrypted: anyone with write access to the store may have created it", { key });
  } else if (manifest?.authentication !== undefined && !keyFits(manifest, allKeys(trust.keys)) && hasKeys) {
    log.warn("an identity proves no origin: anyone with write access to the store may have created this snapshot", {
      key,
      hint: "pass --ca-key as well, if it exists",
    });
  } else if (hasKeys && manifest !== undefined && !isAuthentic(manifest, allKeys(trust.keys))) {
    log.warn("the manifest of this snapshot has no MAC: anyone with write access to the store may have changed it", {
      key,
    });
  }
  return verified;
}
