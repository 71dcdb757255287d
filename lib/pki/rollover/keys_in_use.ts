/** The keys that encrypt and decrypt gossip and snapshots in the present phase of a CA rollover on this machine. */
import { E2dError } from "../../errors.ts";
import type { Files } from "../../ports.ts";
import { oldKeys } from "./old_keys.ts";
import type { WatchedPair } from "../renewal_loop.ts";
import { keyFilesInUse, rolloverPaths } from "./rollover.ts";
import { secretKeyFromCaKey } from "../secret_key.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface KeysInUse {
  /** The first key encrypts, every key decrypts. */
  gossip: readonly Bytes[];
  /** New snapshots are encrypted for every key; in the Go original's format, which has one key, for the first. */
  recipients: readonly Bytes[];
  /** Keys that only decrypt older snapshots. */
  former: readonly Bytes[];
  /** The reason why legacy (Go) peers cannot use the CA key; undefined when they can. */
  legacyPeerProblem: string | undefined;
}

export interface KeySources {
  caKey: string;
  /** Undefined: only the CA key and the files in its folder are used. */
  caCert?: string | undefined;
  /** The pairs that this machine uses; they determine the phase of a rollover. */
  pairs: readonly WatchedPair[];
}

/**
 * Throws E2dError `ca_key_missing`, and the errors of reading keys and certificates. Loads the X.509 library only when
 * `caCert` is given.
 */
export async function readKeysInUse(files: Files, { caKey, caCert, pairs }: KeySources): Promise<KeysInUse> {
  const { gossip, snapshot } = caCert === undefined
    ? await keysBeside(files, caKey)
    : await filesOfPhase(files, { caKey, caCert, pairs });
  const secrets = new Map<string, ReturnType<typeof secretKeyFromCaKey>>();
  for (const path of new Set([gossip.primary, ...gossip.accepted, ...snapshot.recipients, ...snapshot.openers])) {
    const text = await files.readText(path);
    if (text === undefined) {
      throw new E2dError("ca_key_missing", `Cannot read the CA key "${path}": the file does not exist`, {
        hint: "copy it from the node that made the CA, or run without --ca-key on all nodes",
      });
    }
    secrets.set(path, secretKeyFromCaKey(text, { role: "CA key", path }));
  }
  // One key may be in two files: ca-next.key is copied to ca.key and deleted later.
  const distinct = (paths: readonly string[]) => [
    ...new Map(paths.map((path) => [secrets.get(path)!.bytes.toHex(), secrets.get(path)!.bytes])).values(),
  ];
  return {
    gossip: distinct([gossip.primary, ...gossip.accepted]),
    recipients: distinct(snapshot.recipients),
    former: distinct(snapshot.openers.filter((path) => !snapshot.recipients.includes(path))),
    legacyPeerProblem: secrets.get(caKey)!.legacyPeerProblem,
  };
}

async function filesOfPhase(files: Files, { caKey, caCert, pairs }: KeySources & { caCert: string }) {
  const { readRollover } = await import("./files.ts");
  const state = await readRollover({ files }, { caKey, caCert, pairs: [...pairs] });
  return keyFilesInUse(state.files, state.paths);
}

/** Without certificates the phase is unknown: the next key is used as soon as its file exists. */
async function keysBeside(files: Files, caKey: string): Promise<ReturnType<typeof keyFilesInUse>> {
  const { nextKey } = rolloverPaths({ caCert: "ca.crt", caKey });
  const inUse = await files.info(nextKey) === undefined ? [caKey] : [caKey, nextKey];
  const old = (await oldKeys(files, caKey)).map(({ path }) => path);
  return {
    gossip: { primary: caKey, accepted: inUse.slice(1) },
    snapshot: { recipients: inUse, openers: [...inUse, ...old] },
  };
}
