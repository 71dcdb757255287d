/** A node's own record: the gossip metadata, which is the gob of the Go original's struct `Member`. */
import { E2dError } from "../../errors.ts";
import { decodeGob } from "../../gob/decode.ts";
import { encodeGob } from "../../gob/encode.ts";
import type { GobType, GobValue } from "../../gob/value.ts";
import { GobFields } from "../../gob/fields.ts";
import { metaBytesMax } from "../swim/membership.ts";
import { type NodeStatus, nodeStatuses, nodeStatusFromNumber } from "./node_status.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface MemberMeta {
  name: string;
  clientUrl: string;
  /** Exactly as etcd reports it: scheme, host, port. */
  peerUrl: string;
  /** host:port */
  gossipAddr: string;
  status: NodeStatus;
  /** 2 for this e2d; 0 for the Go original, which has no such field and skips it when it decodes. */
  generation: number;
  /** Fields that the Go original declares and leaves empty. */
  id?: bigint;
  clientAddr?: string;
  peerAddr?: string;
  bootstrapAddrs?: readonly string[];
}

/** The generation that this e2d announces. */
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
 * The gob of a Member. With generation 0 it is byte for byte the encoding of the Go original.
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

/** Throws E2dError `gob_decode` for bytes that Go does not decode as a Member either. */
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
