/**
 * The encoding of PeerFacts as the note that gossip carries. Notes come from other machines: every field is checked and
 * bounded, and an invalid note is rejected as a whole.
 */
import { E2dError } from "../../errors.ts";
import { count, finite, type Json, list, object, optional, text, texts } from "../data_dir/json.ts";
import {
  pledgeToJson,
  readHold,
  readInitialMembers,
  readLineage,
  readLogPosition,
  readPauseMark,
  readSeenLogs,
} from "../data_dir/read_facts.ts";
import type { BackupFailure, LookupDigest, PeerData, PeerFacts } from "../../core/facts/peer.ts";
import type { LogTerms } from "../../core/facts/node_record.ts";
import type { Phase } from "../../core/facts/reason.ts";
import { withoutUndefined } from "../../without_undefined.ts";

/** The facts of one node, and the process that sent them. */
export interface FactsNote {
  readonly name: string;
  /** Random text of the process. Sequence numbers are comparable within one life only. */
  readonly life: string;
  /** When that process started, by its own wall clock. */
  readonly startedWallMs: number;
  readonly facts: PeerFacts;
}

const formatVersion = 1;
const noteMaxBytes = 262_144;

export function encodeFactsNote(note: FactsNote): Uint8Array<ArrayBuffer> {
  const { snapshotLookup: catalogue, pledges, ...rest } = note.facts;
  const facts = { ...rest, pledges: pledges.map(pledgeToJson), ...withoutUndefined({ catalogue }) };
  return new TextEncoder().encode(JSON.stringify({ version: formatVersion, ...note, facts }));
}

/** Throws E2dError `facts_note`. */
export function decodeFactsNote(bytes: Uint8Array): FactsNote {
  try {
    if (bytes.length > noteMaxBytes) throw new TypeError(`${bytes.length} bytes`);
    const value = object(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
    if (value.version !== formatVersion) throw new TypeError(`version ${value.version}`);
    return {
      name: text(value.name),
      life: text(value.life),
      startedWallMs: finite(value.startedWallMs),
      facts: facts(object(value.facts)),
    };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new E2dError("facts_note", `Cannot read the facts of a peer: ${why.slice(0, 200)}`, { cause });
  }
}

const phases: Readonly<Record<Phase, true>> = {
  booting: true,
  gathering: true,
  joining: true,
  bootstrapping: true,
  restoring: true,
  restarting: true,
  serving: true,
  leaving: true,
  stopped: true,
  failed: true,
};

function facts(value: Json): PeerFacts {
  const phase = text(value.phase);
  if (!Object.hasOwn(phases, phase)) throw new TypeError(`phase "${phase}"`);
  return {
    nonce: text(value.nonce),
    formerNonces: texts(value.formerNonces),
    sequence: count(value.sequence),
    requiredSize: count(value.requiredSize),
    phase: phase as Phase,
    data: peerData(object(value.data)),
    pledges: list(value.pledges).map((each) => {
      const pledge = object(each);
      return {
        digest: text(pledge.digest),
        token: text(pledge.token),
        initialMembers: readInitialMembers(pledge),
        ...optional(pledge, "verified", text),
      };
    }),
    renounced: texts(value.renounced),
    approved: texts(value.approved),
    ...optional(value, "backupFailure", backupFailure),
    ...optional(value, "etcdHung", text),
    ...optional(value, "pause", readPauseMark),
    ...optional(value, "hold", readHold),
    ...optional(value, "undecided", readLineage),
    ...optional(value, "logs", readSeenLogs),
    ...optional(value, "logTerms", logTerms),
    ...optional(value, "seen", seen),
    ...optional(value, "proposal", text),
    ...optional(value, "verified", text),
    ...optional(value, "quorumLost", quorumLost),
    ...optional(value, "offer", offer),
    ...(value.catalogue === undefined ? {} : { snapshotLookup: lookupDigest(value.catalogue) }),
  };
}

function logTerms(value: unknown): LogTerms {
  const each = object(value);
  return { clusterId: text(each.clusterId), starts: list(each.starts).map(readLogPosition) };
}

/** In a note the result of the snapshot lookup is called `catalogue`. */
function lookupDigest(value: unknown): LookupDigest {
  const found = text(value);
  if (!/^(unconfigured|absent|unreadable|newest:.+)$/.test(found)) throw new TypeError(`catalogue "${found}"`);
  return found as LookupDigest;
}

function seen(value: unknown): NonNullable<PeerFacts["seen"]> {
  const each = object(value);
  return {
    clusterId: text(each.clusterId),
    ...optional(each, "lineageId", text),
    ...optional(each, "token", text),
    ...optional(each, "newCluster", text),
  };
}

function peerData(value: Json): PeerData {
  switch (value.kind) {
    case "unknown":
      return { kind: "unknown" };
    case "none":
      return { kind: "none", ...optional(value, "lost", readLineage) };
    case "held":
      return {
        kind: "held",
        clusterId: text(value.clusterId),
        memberId: text(value.memberId),
        lineage: readLineage(value.lineage),
        revision: count(value.revision),
        ...optional(value, "lastLog", readLogPosition),
      };
    case "unusable":
      return { kind: "unusable", why: text(value.why) };
    default:
      throw new TypeError(`data "${value.kind}"`);
  }
}

function quorumLost(value: unknown): NonNullable<PeerFacts["quorumLost"]> {
  const each = object(value);
  return {
    lineage: readLineage(each.lineage),
    revision: count(each.revision),
    members: texts(each.members),
    raftIndex: count(each.raftIndex),
    // An e2d from before the comparison of logs sends only its applied index.
    lastLog: each.lastLog === undefined ? { term: 0, index: count(each.raftIndex) } : readLogPosition(each.lastLog),
  };
}

function offer(value: unknown): NonNullable<PeerFacts["offer"]> {
  const { hash, revision, url } = object(value);
  return { hash: text(hash), revision: count(revision), url: text(url) };
}

function backupFailure(value: unknown): BackupFailure {
  const each = object(value);
  return { attempts: count(each.attempts), text: text(each.text) };
}
