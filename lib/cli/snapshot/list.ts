/** `e2d snapshot list`: prints all that a store holds at a place, damage included. Must never stop at damage. */
import { wordsOf } from "../../errors.ts";
import type { Logger } from "../../ports.ts";
import { listSnapshots, newestSnapshot } from "../../snapshot/lookup.ts";
import { damagesOf, type History, readHistory } from "../../snapshot/history.ts";
import type { Manifest } from "../../snapshot/manifest.ts";
import type { Terminal } from "../terminal.ts";
import { openStore, type SnapshotFlags } from "./access.ts";

/** Prints the snapshots. Resolves with exit status 1 if anything in the history is damaged, or the newest is unknown. */
export async function list(flags: SnapshotFlags, terminal: Terminal, log: Logger): Promise<number> {
  const at = await openStore(flags, log);
  const [history, manifests] = [await readHistory(at), await listSnapshots(at)];
  const damaged = [...damagesOf(history), ...replacedByCopy(history, at.key)];
  // If the newest snapshot cannot be determined, the list shows the reason.
  const newest = await newestSnapshot(at).catch((error) => error as Error);
  const unknown = newest instanceof Error ? wordsOf(newest) : undefined;
  const status = damaged.length > 0 || unknown !== undefined ? 1 : 0;
  const foreign = newest !== undefined && !(newest instanceof Error) && newest.kind === "unmanaged"
    ? newest.info
    : undefined;
  if (flags.json) {
    const report = {
      snapshots: manifests,
      ...(foreign && { foreign }),
      ...(damaged.length > 0 && { damaged }),
      ...(history.loose.length > 0 && { withoutManifest: history.loose.map(({ key, size }) => ({ key, size })) }),
      ...(unknown && { newestUnknown: unknown.text }),
    };
    terminal.out(`${JSON.stringify(report, null, 2)}\n`);
    return status;
  }
  if (foreign !== undefined) {
    terminal.out(`${at.key}: ${foreign.size} bytes, unmanaged (written by the Go e2d or by an operator)\n`);
  }
  if (newest === undefined) terminal.out("no snapshots\n");
  for (const manifest of manifests) {
    const { takenAt, revision, size, lineage, key, branch } = manifest;
    const part = branch === undefined ? "" : `  branch ${branch}`;
    const name = key.split("/").at(-1);
    terminal.out(
      `${takenAt}  revision ${revision}  ${size} bytes  ${
        formText(manifest)
      }  epoch ${lineage.epoch}${part}  ${name}\n`,
    );
  }
  for (const { key, size } of history.loose) {
    terminal.out(`without a manifest: ${key.split("/").at(-1)}: ${size} bytes; it can be restored by that name\n`);
  }
  for (const { key, why } of damaged) terminal.out(`damaged: ${key.split("/").at(-1)}: ${why}\n`);
  if (unknown !== undefined) {
    terminal.out(
      `no automatic restore: ${unknown.text}${unknown.hint === undefined ? "" : ` (hint: ${unknown.hint})`}\n`,
    );
  }
  return status;
}

/** Snapshots whose own object is damaged while the copy at the key is whole: a restore uses the copy. */
const replacedByCopy = ({ entries }: History, key: string) =>
  entries.flatMap(({ key: objectKey, objectDamage }) =>
    objectDamage === undefined ? [] : [{
      key: objectKey,
      code: objectDamage.code,
      why: `${wordsOf(objectDamage).text}; the copy at "${key}" is whole`,
    }]
  );

/** Format and encryption: `v2+gzip sealed`. Manifests of old versions do not record the encryption. */
function formText({ format, compression, sealed }: Manifest): string {
  const form = compression === "none" ? format : `${format}+${compression}`;
  return sealed === undefined ? form : `${form} ${sealed ? "sealed" : "open"}`;
}
