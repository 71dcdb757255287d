/** `e2d snapshot prune`: removes snapshots outside the retention policy. */
import type { Logger } from "../../ports.ts";
import { objectKeyOf, pruneSnapshots } from "../../snapshot/lookup.ts";
import type { Manifest } from "../../snapshot/manifest.ts";
import { requireTrusted } from "../../snapshot/trust.ts";
import { systemClock } from "../../sys/clock.ts";
import type { Terminal } from "../terminal.ts";
import { openStore, type SnapshotFlags, type TrustFlags, trustOf } from "./access.ts";

export async function prune(
  flags: SnapshotFlags & TrustFlags & {
    readonly snapshotKeep: { hourly: number; daily: number };
    readonly dryRun: boolean;
  },
  terminal: Terminal,
  log: Logger,
): Promise<number> {
  const at = await openStore(flags, log);
  const trust = await trustOf(flags);
  const trusted = { ...at, requireTrusted: (manifest: Manifest) => requireTrusted(manifest, trust) };
  const removed = await pruneSnapshots(trusted, {
    keep: flags.snapshotKeep,
    nowMs: systemClock.wallMs(),
    dryRun: flags.dryRun,
  });
  const keys = removed.map((manifest) => objectKeyOf(at.key, manifest));
  if (flags.json) terminal.out(`${JSON.stringify({ removed: keys, dryRun: flags.dryRun }, null, 2)}\n`);
  else for (const key of keys) terminal.out(`${flags.dryRun ? "would remove" : "removed"} ${key}\n`);
  return 0;
}
