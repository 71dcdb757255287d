/** CA keys that a rollover has backed up, which still decrypt older snapshots. */
import type { Files } from "../../ports.ts";
import { directoryOf, pathIn } from "../key_files.ts";
import { oldKeyDigits, oldKeyPath, type RolloverFiles } from "./rollover.ts";

/** The old keys in the folder of `caKey`. */
export async function oldKeys(files: Files, caKey: string): Promise<RolloverFiles["oldKeys"]> {
  const directory = directoryOf(caKey);
  const kept: { path: string; fingerprintStart: string }[] = [];
  for (const name of await files.list(directory) ?? []) {
    const fingerprintStart = /-old-([0-9a-f]+)(\.|$)/.exec(name)?.[1];
    const path = pathIn(directory, name);
    if (fingerprintStart?.length === oldKeyDigits && path === oldKeyPath(caKey, fingerprintStart)) {
      kept.push({ path, fingerprintStart });
    }
  }
  return kept;
}
