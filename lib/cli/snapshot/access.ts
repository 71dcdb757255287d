/** What every snapshot command does first: opens the store of the URL and reads the keys of the flags. Sends no request. */
import { E2dError } from "../../errors.ts";
import type { Logger } from "../../ports.ts";
import type { CredentialConfig } from "../../manager/node_config.ts";
import type { SnapshotPlace } from "../../snapshot/lookup.ts";
import type { SnapshotKeys } from "../../snapshot/format/unseal.ts";
import type { SnapshotTrust } from "../../snapshot/trust.ts";
import { readKeysInUse } from "../../pki/rollover/keys_in_use.ts";
import { systemFiles } from "../../sys/files.ts";
import { openPlace, readIdentities, readRecipients } from "../snapshot_place.ts";

export interface SnapshotFlags {
  /** The operand URL, or `--snapshot-backup-url`. Empty: neither is set. */
  readonly url: string;
  readonly s3Endpoint?: string | undefined;
  readonly credentials: CredentialConfig;
  readonly caKey?: string | undefined;
  readonly snapshotRecipient: readonly string[];
  readonly json: boolean;
}

/** Flags of the commands that read a snapshot: which snapshots they accept. */
export interface TrustFlags {
  readonly snapshotIdentity?: readonly string[] | undefined;
  readonly snapshotEncryption: boolean;
  readonly snapshotAllowUnsealed: boolean;
}

export async function trustOf(flags: SnapshotFlags & TrustFlags): Promise<SnapshotTrust> {
  const identities = await readIdentities(flags.snapshotIdentity ?? []);
  const keys = { ...await keysOf(flags), identities };
  return { keys, requireSealed: flags.snapshotEncryption && !flags.snapshotAllowUnsealed };
}

export async function openStore(flags: SnapshotFlags, log: Logger): Promise<SnapshotPlace> {
  if (flags.url === "") {
    throw new E2dError("usage", "the URL of the snapshot store is missing", {
      hint: "pass it as an argument, or set --snapshot-backup-url or E2D_SNAPSHOT_BACKUP_URL",
    });
  }
  return { ...await openPlace(flags, log), restoreArguments: shellWord(flags.url) };
}

/** The parameters of an S3 URL contain "&", so a command that an operator copies must have it in quotes. */
export const shellWord = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

export async function keysOf({ caKey, snapshotRecipient }: SnapshotFlags): Promise<SnapshotKeys> {
  const { recipients, publicRecipients } = await readRecipients(snapshotRecipient);
  if (!caKey) return { recipients, publicRecipients };
  // During a rollover of the authority several keys are valid.
  const keys = await readKeysInUse(systemFiles, { caKey, pairs: [] });
  return {
    recipients: [...keys.recipients, ...recipients],
    publicRecipients,
    former: keys.former,
    secret: keys.recipients[0],
  };
}
