/**
 * The node's own record on disk, `<data-dir>.e2d.json`: what this node promised and what its data descends from. Lies
 * beside the data-dir, because etcd refuses a data-dir with foreign files, and moves aside with it.
 */
import { E2dError } from "../errors.ts";
import type { Files } from "../ports.ts";
import type { NodeRecord, Pledge, SeenCluster, Source, StartedData } from "../core/view.ts";
import { count, type Json, list, object, text, texts } from "./json.ts";
import { readFounder, readLineage } from "./read_facts.ts";

/** The form of the file; another one is not guessed at. */
const formatVersion = 1;
const recordMaxBytes = 1_048_576;

export const recordPath = (dataDir: string) => `${dataDir}.e2d.json`;

/**
 * Undefined when there is none: a first boot, or data of the Go original. Throws E2dError `record_unreadable`: what it
 * promised is unknown then, and a node without its promises must not start.
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
  if (text.length > recordMaxBytes) throw unreadable(path, "it is too long to be one");
  try {
    const value = object(JSON.parse(text));
    if (value.version !== formatVersion) {
      throw new TypeError(`it has version ${value.version}, and this e2d knows ${formatVersion}`);
    }
    return record(value);
  } catch (cause) {
    throw unreadable(path, cause instanceof TypeError ? cause.message : "it is damaged", cause);
  }
}

/** On disk when it resolves. Throws what Files throws. */
export async function writeRecord(files: Files, dataDir: string, record: NodeRecord): Promise<void> {
  const text = `${JSON.stringify({ version: formatVersion, ...record }, null, 2)}\n`;
  await files.writeAtomic(recordPath(dataDir), text, { mode: 0o600 });
}

function unreadable(path: string, why: string, cause?: unknown): E2dError {
  return new E2dError("record_unreadable", `Cannot read the node record "${path}": ${why}`, {
    cause,
    hint: "put the file back, or move it and the data-dir aside together, so that this node joins as a new one",
  });
}

// What follows says of each field what it must be; anything else is damage.

function record(value: Json): NodeRecord {
  const started = value.started === undefined ? undefined : startedOf(object(value.started));
  return {
    nonce: text(value.nonce),
    ...(value.formerNonces === undefined ? {} : { formerNonces: texts(value.formerNonces) }),
    pledges: list(value.pledges).map(pledge),
    ...(value.seen === undefined ? {} : { seen: seenOf(object(value.seen)) }),
    ...(started === undefined ? {} : { started }),
    ...(value.lost === undefined ? {} : { lost: startedOf(object(value.lost)) }),
  };
}

function seenOf(each: Json): SeenCluster {
  const voters = list(each.voters).map(object).map(({ name, peerUrl }) => ({
    name: text(name),
    peerUrl: text(peerUrl),
  }));
  return {
    clusterId: text(each.clusterId),
    voters,
    ...(each.newCluster === undefined ? {} : { newCluster: text(each.newCluster) }),
  };
}

function startedOf(each: Json): StartedData {
  const how = text(each.how);
  if (how !== "founded" && how !== "joined" && how !== "restored") throw new TypeError(`how is "${how}"`);
  return { lineage: readLineage(each.lineage), how, renounced: texts(each.renounced) };
}

function pledge(value: unknown): Pledge {
  const each = object(value);
  return {
    founders: list(each.founders).map(readFounder),
    source: source(each.source),
    lineage: readLineage(each.lineage),
    digest: text(each.digest),
    token: text(each.token),
    ...(each.verified === undefined ? {} : { verified: text(each.verified) }),
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
      throw new TypeError(`a source is "${each.kind}"`);
  }
}
