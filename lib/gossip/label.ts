/** The label of newer memberlist nodes: it keeps clusters apart that could reach each other. Old nodes have none. */
import { E2dError } from "../errors.ts";
import { joinBytes } from "./byte_writer.ts";
import { messageTypes } from "./message_codec.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The label as bytes, checked once: 1 to 255 of them, or none for the empty text. Throws E2dError `gossip_label`. */
export function labelBytes(label: string): Bytes {
  const bytes = new TextEncoder().encode(label);
  if (bytes.length > 255) {
    throw new E2dError("gossip_label", `Cannot use label "${label}": it has ${bytes.length} bytes, at most 255 fit`);
  }
  return bytes;
}

/** The header in front of a packet, or of the first bytes of a stream; empty without a label. */
export function labelHeader(label: Uint8Array): Bytes {
  return label.length === 0 ? new Uint8Array(0) : joinBytes([messageTypes.label, label.length], label);
}

/**
 * What follows the label header. Throws E2dError `gossip_label` unless the label is exactly the one that is configured:
 * another, none where one is configured, one where none is, an empty or a cut-off one.
 */
export function stripLabel(data: Uint8Array, label: Uint8Array): Uint8Array {
  const length = data[0] === messageTypes.label ? data[1] : 0;
  const known = length !== undefined && length === label.length && data.length >= labelHeaderBytes(label) &&
    (data[0] !== messageTypes.label || length > 0) && label.every((byte, at) => data[2 + at] === byte);
  if (!known) throw new E2dError("gossip_label", "Cannot accept data: its label is not the one of this cluster");
  return data.subarray(labelHeaderBytes(label));
}

export function labelHeaderBytes(label: Uint8Array): number {
  return label.length === 0 ? 0 : 2 + label.length;
}
