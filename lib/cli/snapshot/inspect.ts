/** `e2d snapshot inspect`: prints the manifest and the size of a snapshot. */
import type { Logger } from "../../ports.ts";
import type { Terminal } from "../terminal.ts";
import { openStore, type SnapshotFlags } from "./access.ts";
import { selectSnapshot } from "./select.ts";

export async function inspect(
  flags: SnapshotFlags & { readonly snapshot?: string | undefined },
  terminal: Terminal,
  log: Logger,
): Promise<number> {
  const at = await openStore(flags, log);
  const { key, manifest } = await selectSnapshot(at, flags.snapshot);
  const { size } = (await at.store.info(key)) ?? { size: 0 };
  terminal.out(`${JSON.stringify({ key, size, manifest }, null, 2)}\n`);
  return 0;
}
