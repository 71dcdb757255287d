/** A node's own record, carried in its gossip metadata as the gob of the original's struct `Member`. */
import { E2dError } from "../errors.ts";
import { decodeGob } from "./gob_decode.ts";
import { encodeGob } from "./gob_encode.ts";
import type { GobType, GobValue } from "./gob_value.ts";
import { GobFields } from "./gob_fields.ts";
import { type NodeStatus, nodeStatuses, nodeStatusFromNumber } from "./node_status.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** memberlist carries no more metadata than this. */
export const metaBytesMax = 512;

export interface MemberMeta {
  name: string;
  clientUrl: string;
  /** Text exactly as etcd has it: scheme, host, port. */
  peerUrl: string;
  /** host:port */
  gossipAddr: string;
  status: NodeStatus;
  /** 0 for the Go original, which has no such field and skips it; 2 for this e2d. */
  generation: number;
  /** Fields that the original has and leaves empty. */
  id?: bigint;
  clientAddr?: string;
  peerAddr?: string;
  bootstrapAddrs?: readonly string[];
}

/** What this e2d says of itself. */
export const ownGeneration = 2;

const text: GobType = { kind: "string" };
const originalFields = [
  { name: "ID", type: { kind: "uint" } },
  { name: "Name", type: text },
  { name: "ClientAddr", type: text },
  { name: "ClientURL", type: text },
  { name: "PeerAddr", type: text },
  { name: "PeerURL", type: text },
  { name: "GossipAddr", type: text },
  { name: "BootstrapAddrs", type: { kind: "list", name: "[]string", element: text } },
  { name: "Status", type: { kind: "int" } },
] satisfies { name: string; type: GobType }[];
const originalType: GobType = { kind: "struct", name: "Member", fields: originalFields };
const ownType: GobType = {
  kind: "struct",
  name: "Member",
  fields: [...originalFields, { name: "Generation", type: { kind: "uint" } }],
};

/**
 * The gob of a Member. Without a generation it is byte for byte what the Go original writes.
 * Throws E2dError `gossip_meta` above 512 bytes.
 */
export function encodeMemberMeta(meta: MemberMeta): Bytes {
  const value: GobValue = {
    kind: "struct",
    fields: new Map<string, GobValue>([
      ["ID", { kind: "uint", value: meta.id ?? 0n }],
      ["Name", { kind: "string", value: meta.name }],
      ["ClientAddr", { kind: "string", value: meta.clientAddr ?? "" }],
      ["ClientURL", { kind: "string", value: meta.clientUrl }],
      ["PeerAddr", { kind: "string", value: meta.peerAddr ?? "" }],
      ["PeerURL", { kind: "string", value: meta.peerUrl }],
      ["GossipAddr", { kind: "string", value: meta.gossipAddr }],
      ["BootstrapAddrs", {
        kind: "list",
        values: (meta.bootstrapAddrs ?? []).map((address) => ({ kind: "string", value: address })),
      }],
      ["Status", { kind: "int", value: BigInt(nodeStatuses.indexOf(meta.status)) }],
      ["Generation", { kind: "uint", value: BigInt(meta.generation) }],
    ]),
  };
  const bytes = encodeGob(meta.generation === 0 ? originalType : ownType, value);
  if (bytes.length > metaBytesMax) {
    throw new E2dError(
      "gossip_meta",
      `Cannot announce node "${meta.name}": its record has ${bytes.length} bytes, gossip carries ${metaBytesMax}`,
      { hint: "shorten the node name or the client and peer URLs" },
    );
  }
  return bytes;
}

/** Throws E2dError `gob_decode` for what Go would not read as a Member either. */
export function decodeMemberMeta(data: Uint8Array): MemberMeta {
  const fields = new GobFields(decodeGob(data), "Member");
  return {
    id: fields.uint("ID"),
    name: fields.text("Name"),
    clientAddr: fields.text("ClientAddr"),
    clientUrl: fields.text("ClientURL"),
    peerAddr: fields.text("PeerAddr"),
    peerUrl: fields.text("PeerURL"),
    gossipAddr: fields.text("GossipAddr"),
    bootstrapAddrs: fields.texts("BootstrapAddrs"),
    status: nodeStatusFromNumber(fields.int("Status")),
    generation: Number(fields.uint("Generation")),
  };
}
