/** Readers of the core facts that both the node record and the notes between peers contain. */
import { count, type Json, list, object, optional, text } from "./json.ts";
import type {
  BootstrapMember,
  Lineage,
  LogPosition,
  PauseMark,
  Pledge,
  SeenLogs,
} from "../../core/facts/node_record.ts";
import type { Hold } from "../../core/facts/settings.ts";

function readBootstrapMember(value: unknown): BootstrapMember {
  const each = object(value);
  return { name: text(each.name), peerUrl: text(each.peerUrl), nonce: text(each.nonce) };
}

/** A pledge as JSON: on disk and in notes to peers its initial members are called `founders`. */
export function pledgeToJson<P extends Pick<Pledge, "initialMembers">>({ initialMembers, ...rest }: P) {
  return { founders: initialMembers, ...rest };
}

export function readInitialMembers({ founders }: Json): readonly BootstrapMember[] {
  return list(founders).map(readBootstrapMember);
}

export function readLineage(value: unknown): Lineage {
  const each = object(value);
  return {
    id: text(each.id),
    epoch: count(each.epoch),
    token: text(each.token),
    ...optional(each, "name", text),
    ...optional(each, "from", (value) => {
      const { token, revision } = object(value);
      return { token: text(token), revision: count(revision) };
    }),
  };
}

export function readLogPosition(value: unknown): LogPosition {
  const each = object(value);
  return { term: count(each.term), index: count(each.index) };
}

export function readPauseMark(value: unknown): PauseMark {
  const each = object(value);
  if (typeof each.paused !== "boolean") throw new TypeError("a pause is missing");
  return { clusterId: text(each.clusterId), paused: each.paused, version: count(each.version) };
}

/** The largest time value of a Date. */
const wallMaxMs = 8.64e15;

export function readHold(value: unknown): Hold {
  const each = object(value);
  const sinceWallMs = count(each.sinceWallMs);
  if (sinceWallMs > wallMaxMs) throw new TypeError("a time is missing");
  return { sinceWallMs, ...optional(each, "why", text) };
}

export function readSeenLogs(value: unknown): SeenLogs {
  const each = object(value);
  const members = list(each.members).map(object);
  return {
    clusterId: text(each.clusterId),
    members: members.map(({ memberId, index }) => ({ memberId: text(memberId), index: count(index) })),
  };
}
