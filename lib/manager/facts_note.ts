/**
 * The facts that nodes of this e2d tell each other (PeerFacts), as the note that gossip carries. They come from other
 * machines, so every field is checked and bounded; a note that is not right is no news at all.
 */
import { E2dError } from "../errors.ts";
import type { PeerData, PeerFacts, Phase } from "../core/view.ts";
import { count, finite, type Json, list, object, text, texts } from "./json.ts";
import { readFounder, readLineage } from "./read_facts.ts";

/** One note: whose facts, and from which life of that node's process. */
export interface FactsNote {
  readonly name: string;
  /** Random text of the process. Sequence numbers count within one life. */
  readonly life: string;
  /** When that process started, by its own wall clock. */
  readonly startedWallMs: number;
  readonly facts: PeerFacts;
}

const formatVersion = 1;
const noteMaxBytes = 262_144;

export function encodeFactsNote(note: FactsNote): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify({ version: formatVersion, ...note }));
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
  founding: true,
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
  const catalogue = value.catalogue === undefined ? undefined : text(value.catalogue);
  if (catalogue !== undefined && !/^(unconfigured|absent|unreadable|newest:.+)$/.test(catalogue)) {
    throw new TypeError(`catalogue "${catalogue}"`);
  }
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
        founders: list(pledge.founders).map(readFounder),
        ...(pledge.verified === undefined ? {} : { verified: text(pledge.verified) }),
      };
    }),
    renounced: texts(value.renounced),
    approved: texts(value.approved),
    ...(value.seen === undefined ? {} : { seen: seen(object(value.seen)) }),
    ...(value.proposal === undefined ? {} : { proposal: text(value.proposal) }),
    ...(value.verified === undefined ? {} : { verified: text(value.verified) }),
    ...(value.quorumLost === undefined ? {} : { quorumLost: quorumLost(object(value.quorumLost)) }),
    ...(value.offer === undefined ? {} : { offer: offer(object(value.offer)) }),
    ...(catalogue === undefined ? {} : { catalogue: catalogue as NonNullable<PeerFacts["catalogue"]> }),
  };
}

function seen({ clusterId, newCluster }: Json): NonNullable<PeerFacts["seen"]> {
  return { clusterId: text(clusterId), ...(newCluster === undefined ? {} : { newCluster: text(newCluster) }) };
}

function peerData(value: Json): PeerData {
  switch (value.kind) {
    case "unknown":
    case "none":
      return { kind: value.kind };
    case "held":
      return {
        kind: "held",
        clusterId: text(value.clusterId),
        memberId: text(value.memberId),
        lineage: readLineage(value.lineage),
        revision: count(value.revision),
      };
    case "unusable":
      return { kind: "unusable", why: text(value.why) };
    default:
      throw new TypeError(`data "${value.kind}"`);
  }
}

function quorumLost(value: Json): NonNullable<PeerFacts["quorumLost"]> {
  return {
    lineage: readLineage(value.lineage),
    revision: count(value.revision),
    members: texts(value.members),
    raftIndex: count(value.raftIndex),
  };
}

function offer(value: Json): NonNullable<PeerFacts["offer"]> {
  return { hash: text(value.hash), revision: count(value.revision), url: text(value.url) };
}
