/**
 * Reads and writes the node record `<data-dir>.e2d.json`: the pledges of this node and the lineage of its data. The file is
 * beside the data-dir, because etcd refuses a data-dir with other files in it, and is quarantined together with it.
 */
import { E2dError } from "../../errors.ts";
import type { Files } from "../../ports.ts";
import { count, type Json, list, object, optional, text, texts } from "./json.ts";
import { pledgeToJson, readInitialMembers, readLineage, readSeenLogs } from "./read_facts.ts";
import type { NodeRecord, Pledge, SeenCluster, Source, StartedData } from "../../core/facts/node_record.ts";

/** A file of another version is refused. */
const formatVersion = 1;
const recordMaxBytes = 1_048_576;

export const recordPath = (dataDir: string) => `${dataDir}.e2d.json`;

/**
 * Undefined when there is no record: a first start, or data of the Go original. Throws E2dError `record_unreadable`: a
 * node must not start while its pledges are unknown.
 */
export async function readRecord(files: Files, dataDir: string): Promise<NodeRecord | undefined> {
  const path = recordPath(dataDir);
  let text: string | undefined;
  try {
    text = await files.readText(path);
  } catch (cause) {
    throw unreadable(path, "it cannot be read", cause);
  }
  if (text === undefined) return undefined;
  if (text.length > recordMaxBytes) throw unreadable(path, "it is too long");
  try {
    const value = object(JSON.parse(text));
    if (value.version !== formatVersion) {
      throw new TypeError(`it has version ${value.version}, and this e2d supports ${formatVersion}`);
    }
    return record(value);
  } catch (cause) {
    throw unreadable(path, cause instanceof TypeError ? cause.message : "it is damaged", cause);
  }
}

/** The record is on disk when it resolves. Throws what Files throws. */
export async function writeRecord(files: Files, dataDir: string, record: NodeRecord): Promise<void> {
  const value = { version: formatVersion, ...record, pledges: record.pledges.map(pledgeToJson) };
  const text = `${JSON.stringify(value, null, 2)}\n`;
  await files.writeAtomic(recordPath(dataDir), text, { mode: 0o600 });
}

function unreadable(path: string, why: string, cause?: unknown): E2dError {
  return new E2dError("record_unreadable", `Cannot read the node record "${path}": ${why}`, {
    cause,
    hint: "restore the file, or rename it together with the data-dir, so that this node joins as a new one",
  });
}

function record(value: Json): NodeRecord {
  return {
    nonce: text(value.nonce),
    ...optional(value, "formerNonces", texts),
    pledges: list(value.pledges).map(pledge),
    ...optional(value, "seen", seenCluster),
    ...optional(value, "started", startedData),
    ...optional(value, "lost", startedData),
    ...optional(value, "logs", readSeenLogs),
    ...optional(value, "former", (former) => list(former).map(startedData)),
    ...optional(value, "rival", readLineage),
    ...optional(value, "undecided", readLineage),
  };
}

function seenCluster(value: unknown): SeenCluster {
  const each = object(value);
  const voters = list(each.voters).map(object).map(({ name, peerUrl }) => ({
    name: text(name),
    peerUrl: text(peerUrl),
  }));
  return {
    clusterId: text(each.clusterId),
    voters,
    ...optional(each, "lineageId", text),
    ...optional(each, "token", text),
    ...optional(each, "newCluster", text),
  };
}

function startedData(value: unknown): StartedData {
  const each = object(value);
  const how = text(each.how);
  if (how !== "founded" && how !== "joined" && how !== "restored") throw new TypeError(`unknown origin "${how}"`);
  return {
    lineage: readLineage(each.lineage),
    how,
    renounced: texts(each.renounced),
    ...optional(each, "clusterId", text),
    ...optional(each, "memberId", text),
  };
}

function pledge(value: unknown): Pledge {
  const each = object(value);
  return {
    initialMembers: readInitialMembers(each),
    source: source(each.source),
    lineage: readLineage(each.lineage),
    digest: text(each.digest),
    token: text(each.token),
    ...optional(each, "verified", text),
    ...optional(each, "replaces", text),
  };
}

function source(value: unknown): Source {
  const each = object(value);
  switch (each.kind) {
    case "empty":
      return { kind: "empty" };
    case "snapshot":
      return { kind: "snapshot", hash: text(each.hash), revision: count(each.revision) };
    case "survivor":
      return { kind: "survivor", name: text(each.name), revision: count(each.revision) };
    default:
      throw new TypeError(`unknown source "${each.kind}"`);
  }
}
