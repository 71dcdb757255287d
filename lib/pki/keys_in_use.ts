/** What gossip and snapshots are sealed and opened with where this machine stands in a rollover of its authority. */
import { E2dError } from "../errors.ts";
import type { Files } from "../ports.ts";
import { oldKeys } from "./old_keys.ts";
import type { WatchedPair } from "./renewal_loop.ts";
import { keyFilesInUse, rolloverPaths } from "./rollover.ts";
import { secretKeyFromCaKey } from "./secret_key.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface KeysInUse {
  /** The first seals what is sent; each opens what comes in. */
  gossip: readonly Bytes[];
  /** A new snapshot is sealed for each; one in the original's format, which knows one key, for the first. */
  recipients: readonly Bytes[];
  /** Open older snapshots, and seal nothing. */
  former: readonly Bytes[];
  /** Why nodes of the Go original cannot use the CA key; undefined when they can. */
  goNodesCannot: string | undefined;
}

export interface KeySources {
  caKey: string;
  /** Undefined: the CA key alone is used, which also is what a command has that was told no more. */
  caCert?: string | undefined;
  /** The pairs this machine uses; they tell how far a rollover has come. */
  pairs: readonly WatchedPair[];
}

/**
 * Throws E2dError `ca_key_missing`, and what reading keys and certificates throws. Loads the X.509 library with
 * `caCert` alone.
 */
export async function readKeysInUse(files: Files, { caKey, caCert, pairs }: KeySources): Promise<KeysInUse> {
  const { gossip, snapshot } = caCert === undefined
    ? await keysBeside(files, caKey)
    : await filesOfPhase(files, { caKey, caCert, pairs });
  const secrets = new Map<string, ReturnType<typeof secretKeyFromCaKey>>();
  for (const path of new Set([gossip.primary, ...gossip.accepted, ...snapshot.recipients, ...snapshot.openers])) {
    const text = await files.readText(path);
    if (text === undefined) {
      throw new E2dError("ca_key_missing", `Cannot read the CA key "${path}": there is no such file`, {
        hint: "copy it from the node that made the CA, or run without --ca-key on all nodes",
      });
    }
    secrets.set(path, secretKeyFromCaKey(text, { role: "CA key", path }));
  }
  // One key may lie in two files: ca-next.key becomes ca.key, and goes later.
  const distinct = (paths: readonly string[]) => [
    ...new Map(paths.map((path) => [secrets.get(path)!.bytes.toHex(), secrets.get(path)!.bytes])).values(),
  ];
  return {
    gossip: distinct([gossip.primary, ...gossip.accepted]),
    recipients: distinct(snapshot.recipients),
    former: distinct(snapshot.openers.filter((path) => !snapshot.recipients.includes(path))),
    goNodesCannot: secrets.get(caKey)!.goNodesCannot,
  };
}

async function filesOfPhase(files: Files, { caKey, caCert, pairs }: KeySources & { caCert: string }) {
  const { readRollover } = await import("./rollover_files.ts");
  const state = await readRollover({ files }, { caKey, caCert, pairs: [...pairs] });
  return keyFilesInUse(state.files, state.paths);
}

/** Without the certificates a phase cannot be told: the next key counts as soon as it is here. */
async function keysBeside(files: Files, caKey: string): Promise<ReturnType<typeof keyFilesInUse>> {
  const { nextKey } = rolloverPaths({ caCert: "ca.crt", caKey });
  const inUse = await files.info(nextKey) === undefined ? [caKey] : [caKey, nextKey];
  const old = (await oldKeys(files, caKey)).map(({ path }) => path);
  return {
    gossip: { primary: caKey, accepted: inUse.slice(1) },
    snapshot: { recipients: inUse, openers: [...inUse, ...old] },
  };
}
