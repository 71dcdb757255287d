/** A status broadcast: the gob of the Go original's struct `statusMsg`, sent as a user message. */
import { decodeGob } from "../../gob/decode.ts";
import { encodeGob } from "../../gob/encode.ts";
import type { GobType } from "../../gob/value.ts";
import { GobFields } from "../../gob/fields.ts";
import { type NodeStatus, nodeStatuses, nodeStatusFromNumber } from "./node_status.ts";

export interface StatusMessage {
  name: string;
  status: NodeStatus;
}

const type: GobType = {
  kind: "struct",
  name: "statusMsg",
  fields: [{ name: "Name", type: { kind: "string" } }, { name: "Status", type: { kind: "int" } }],
};

/** The type id that the Go original assigns to statusMsg, after Member and []string. Readers ignore its value. */
const statusTypeId = 66;

export function encodeStatusMessage({ name, status }: StatusMessage): Uint8Array<ArrayBuffer> {
  return encodeGob(type, {
    kind: "struct",
    fields: new Map([
      ["Name", { kind: "string", value: name } as const],
      ["Status", { kind: "int", value: BigInt(nodeStatuses.indexOf(status)) } as const],
    ]),
  }, statusTypeId);
}

/** Throws E2dError `gob_decode` for every other user message. */
export function decodeStatusMessage(data: Uint8Array): StatusMessage {
  const fields = new GobFields(decodeGob(data), "statusMsg");
  return { name: fields.text("Name"), status: nodeStatusFromNumber(fields.int("Status")) };
}
