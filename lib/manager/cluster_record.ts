/**
 * Encodes the two values that a legacy (Go) e2d keeps in etcd under `/_e2d/Cluster/`: the record of the cluster and the
 * definition of its table. A Go node does not start when one of them is unreadable or the size differs from its own.
 */
import { E2dError } from "../errors.ts";
import { decodeGob } from "../gob/decode.ts";
import { encodeGob } from "../gob/encode.ts";
import type { GobType, GobValue } from "../gob/value.ts";
import { GobFields } from "../gob/fields.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface ClusterRecord {
  id: number;
  /** Milliseconds since the Unix epoch. A Go time's nanoseconds and time zone are lost. */
  createdMs: number;
  requiredSize: number;
}

/** A Go e2d registers Member, []string and statusMsg first, so its gob type ids for these types begin here. */
const firstId = 67;

const recordType: GobType = {
  kind: "struct",
  name: "Cluster",
  fields: [
    { name: "ID", type: { kind: "int" } },
    { name: "Created", type: { kind: "opaque", name: "Time" } },
    { name: "RequiredClusterSize", type: { kind: "int" } },
  ],
};

export function encodeClusterRecord(record: ClusterRecord): Bytes {
  return encodeGob(recordType, {
    kind: "struct",
    fields: new Map<string, GobValue>([
      ["ID", { kind: "int", value: BigInt(record.id) }],
      ["Created", { kind: "opaque", value: encodeGoTime(record.createdMs) }],
      ["RequiredClusterSize", { kind: "int", value: BigInt(record.requiredSize) }],
    ]),
  }, firstId);
}

/** Throws E2dError `gob_decode`. */
export function decodeClusterRecord(data: Uint8Array): ClusterRecord {
  const fields = new GobFields(decodeGob(data), "Cluster");
  const created = fields.opaque("Created");
  return {
    id: Number(fields.int("ID")),
    createdMs: created === undefined ? yearOneMs : decodeGoTime(created),
    requiredSize: Number(fields.int("RequiredClusterSize")),
  };
}

const tagType: GobType = {
  kind: "struct",
  name: "",
  fields: [{ name: "Name", type: { kind: "string" } }, { name: "Value", type: { kind: "string" } }],
};
const fieldType: GobType = {
  kind: "struct",
  name: "",
  fields: [
    { name: "Name", type: { kind: "string" } },
    { name: "Tags", type: { kind: "list", name: "[]*e2db.Tag", element: tagType } },
  ],
};
const tableType: GobType = {
  kind: "struct",
  name: "ModelDef",
  fields: [
    { name: "Name", type: { kind: "string" } },
    {
      name: "Fields",
      type: { kind: "map", name: "map[string]*e2db.FieldDef", key: { kind: "string" }, element: fieldType },
    },
  ],
};

/** The definition of table "Cluster": the same bytes for every cluster. A Go node compares only the name. */
export function encodeClusterTable(): Bytes {
  const string = (value: string): GobValue => ({ kind: "string", value });
  const struct = (fields: Record<string, GobValue>): GobValue => ({
    kind: "struct",
    fields: new Map(Object.entries(fields)),
  });
  const field = (name: string, tags: string[]): readonly [GobValue, GobValue] => [
    string(name),
    struct({
      Name: string(name),
      Tags: { kind: "list", values: tags.map((tag) => struct({ Name: string(tag), Value: string("") })) },
    }),
  ];
  return encodeGob(
    tableType,
    struct({
      Name: string("Cluster"),
      Fields: {
        kind: "map",
        entries: [field("ID", ["id"]), field("Created", []), field("RequiredClusterSize", [])],
      },
    }),
    firstId,
  );
}

/** The table name of a definition. Throws E2dError `gob_decode`. */
export function decodeTableName(data: Uint8Array): string {
  return new GobFields(decodeGob(data), "ModelDef").text("Name");
}

// Go's time.MarshalBinary: version 1, seconds since year 1, nanoseconds, minutes east of UTC or -1 for UTC.
const goTimeBytes = 15;
const secondsToUnix = 62_135_596_800n;
const yearOneMs = Number(-secondsToUnix) * 1000;

function encodeGoTime(ms: number): Bytes {
  const view = new DataView(new ArrayBuffer(goTimeBytes));
  const seconds = Math.floor(ms / 1000);
  view.setUint8(0, 1);
  view.setBigInt64(1, BigInt(seconds) + secondsToUnix);
  view.setInt32(9, Math.floor((ms - seconds * 1000) * 1e6));
  view.setInt16(13, -1);
  return new Uint8Array(view.buffer);
}

function decodeGoTime(bytes: Uint8Array<ArrayBuffer>): number {
  // Version 2 has one more byte, for time zone offsets with seconds.
  if (!(bytes[0] === 1 && bytes.length === goTimeBytes) && !(bytes[0] === 2 && bytes.length === goTimeBytes + 1)) {
    throw new E2dError("gob_decode", 'Cannot read field "Created" of "Cluster": it is not a time');
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return Number(view.getBigInt64(1) - secondsToUnix) * 1000 + Math.floor(view.getInt32(9) / 1e6);
}
