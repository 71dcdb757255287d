/** The label of newer memberlist nodes: it separates clusters that can reach each other. Old nodes have none. */
import { E2dError } from "../../errors.ts";
import { concat } from "../../bytes.ts";
import { messageTypes } from "./message_codec.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The label as 0 to 255 bytes; none for the empty text. Throws E2dError `gossip_label` for a longer one. */
export function labelBytes(label: string): Bytes {
  const bytes = new TextEncoder().encode(label);
  if (bytes.length > 255) {
    throw new E2dError("gossip_label", `Cannot use label "${label}": it has ${bytes.length} bytes, the limit is 255`);
  }
  return bytes;
}

/** The header in front of a packet, or of the first bytes of a stream; empty without a label. */
export function labelHeader(label: Uint8Array): Bytes {
  return label.length === 0 ? new Uint8Array(0) : concat([messageTypes.label, label.length], label);
}

/**
 * The bytes after the label header. Throws E2dError `gossip_label` unless the label is exactly the configured one: for
 * another label, a missing, an unexpected, an empty or a cut-off one.
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
