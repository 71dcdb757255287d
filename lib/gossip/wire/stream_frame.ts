/**
 * The framing of a message on a stream: the label header once from the dialler, then either a sealed frame
 * (`0a` ‖ length ‖ sealed bytes) or the plain message, with or without compression. Reading is incremental, because a
 * plain message has no length field.
 */
import { E2dError } from "../../errors.ts";
import { ByteQueue } from "./byte_queue.ts";
import { concat } from "../../bytes.ts";
import { decodeCompress, encodeCompress } from "./compress.ts";
import type { KeyMismatchKind } from "../key_mismatches.ts";
import { labelHeader, labelHeaderBytes, stripLabel } from "./label.ts";
import type { StreamMessage } from "./message.ts";
import { messageTypes } from "./message_codec.ts";
import { looksSealed, open, seal, sealedLength, type SealVersion } from "./seal.ts";
import { decodeStreamMessage, encodeStreamMessage, StreamMessageDecoder } from "./stream_message.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/**
 * Maximum bytes of one decoded message: a push/pull of about 6,000 e2d members. A twentieth of memberlist's limit, so
 * that unauthenticated connections can occupy megabytes, not gigabytes.
 */
export const streamContentMax = 2 * 1024 * 1024;
/** Maximum bytes of one message on the wire: LZW can make incompressible content 50 % longer. */
export const streamWireMax = 3 * 1024 * 1024 + 4096;

const frameHeaderBytes = 5;

export interface EncodeStreamOptions {
  label: Uint8Array;
  key: Uint8Array | undefined;
  nonce: () => Uint8Array;
  compress: boolean;
  /** Only the dialler sends the label header; the answerer's label is in the additional data alone. */
  side: "dialler" | "answerer";
  version?: SealVersion;
}

/** One message with its framing. Throws E2dError `gossip_encode` or `gossip_oversize`. */
export function encodeStream(message: StreamMessage, options: EncodeStreamOptions): Bytes {
  const { label, key, nonce, side, version = 1 } = options;
  let content = encodeStreamMessage(message);
  if (content.length > streamContentMax) {
    throw new E2dError(
      "gossip_oversize",
      `Cannot send "${message.kind}": it has ${content.length} bytes, the limit is ${streamContentMax}`,
    );
  }
  if (options.compress) content = encodeCompress(content);
  if (key !== undefined) {
    const length = sealedLength(content.length, version);
    const header = Uint8Array.of(messageTypes.encrypt, length >>> 24, length >>> 16, length >>> 8, length);
    content = concat(header, seal(content, { key, nonce: nonce(), additional: concat(header, label), version }));
  }
  return side === "dialler" ? concat(labelHeader(label), content) : content;
}

/**
 * Reads one message from a stream incrementally. Errors of the framing, which the acceptor answers with an error
 * message, have the codes `gossip_label`, `gossip_sealed`, `gossip_lzw` and `gossip_oversize`. Errors of the content
 * have the code `gossip_decode`.
 */
export class StreamDecoder {
  readonly #label: Uint8Array;
  readonly #keys: readonly Uint8Array[] | undefined;
  readonly #queue = new ByteQueue();
  #labelRead: boolean;
  #plain: StreamMessageDecoder | undefined;

  /** `side`: the side that sends the message. */
  constructor(
    { label, keys, side }: {
      label: Uint8Array;
      keys: readonly Uint8Array[] | undefined;
      side: "dialler" | "answerer";
    },
  ) {
    this.#label = label;
    this.#keys = keys;
    this.#labelRead = side === "answerer";
  }

  /** Returns the message once it is complete, undefined while bytes are missing. Must not be called after it threw. */
  push(data: Uint8Array): StreamMessage | undefined {
    if (this.#plain !== undefined) return this.#plain.push(data);
    this.#queue.append(data);
    if (this.#queue.length > streamWireMax) throw oversize(streamWireMax);
    if (!this.#labelRead && !this.#takeLabel()) return undefined;
    const type = this.#queue.view()[0];
    if (type === undefined) return undefined;
    if (this.#keys !== undefined) return this.#sealed(type, this.#keys);
    if (type === messageTypes.encrypt) {
      throw new E2dError("gossip_sealed", "Cannot read a stream: it is encrypted, and this node has no key");
    }
    if (type === messageTypes.compress) return this.#compressed();
    this.#plain = new StreamMessageDecoder(streamContentMax);
    return this.#plain.push(this.#queue.view());
  }

  /** After `push` threw: the kind of key mismatch; undefined: no mismatch is visible. */
  mismatch(): KeyMismatchKind | undefined {
    if (!this.#labelRead) return undefined;
    const view = this.#queue.view();
    if (view[0] !== messageTypes.encrypt) {
      return this.#keys !== undefined && this.#plain === undefined && isPlain(view) ? "peer_has_none" : undefined;
    }
    if (view.length < frameHeaderBytes) return undefined;
    const length = new DataView(view.buffer, view.byteOffset).getUint32(1);
    if (length > streamWireMax - frameHeaderBytes) return undefined;
    if (this.#keys === undefined) return "own_missing";
    const whole = view.length >= frameHeaderBytes + length;
    return whole && looksSealed(view.subarray(frameHeaderBytes, frameHeaderBytes + length)) ? "differs" : undefined;
  }

  #takeLabel(): boolean {
    const needed = labelHeaderBytes(this.#label);
    const head = this.#queue.view().subarray(0, Math.max(1, needed));
    // A first byte that cannot begin the right label header is refused without waiting for more.
    if (head.length === 0 || (head[0] === messageTypes.label && head.length < needed)) return false;
    stripLabel(head, this.#label);
    this.#queue.consume(needed);
    this.#labelRead = true;
    return true;
  }

  #sealed(type: number, keys: readonly Uint8Array[]): StreamMessage | undefined {
    if (type !== messageTypes.encrypt) {
      throw new E2dError("gossip_sealed", "Cannot read a stream: it is not encrypted, and this node has a key");
    }
    const view = this.#queue.view();
    if (view.length < frameHeaderBytes) return undefined;
    const length = new DataView(view.buffer, view.byteOffset).getUint32(1);
    if (length > streamWireMax - frameHeaderBytes) throw oversize(streamWireMax);
    if (view.length < frameHeaderBytes + length) return undefined;
    const sealed = view.subarray(frameHeaderBytes, frameHeaderBytes + length);
    const content = open(sealed, {
      keys,
      additional: concat(view.subarray(0, frameHeaderBytes), this.#label),
    });
    return decodeStreamMessage(
      content[0] === messageTypes.compress ? decodeCompress(content, streamContentMax) : content,
    );
  }

  #compressed(): StreamMessage | undefined {
    let content: Uint8Array;
    try {
      // Fails before any decompression while compressed bytes are missing.
      content = decodeCompress(this.#queue.view(), streamContentMax);
    } catch (error) {
      if (error instanceof E2dError && error.code === "gossip_truncated") return undefined;
      throw error;
    }
    return decodeStreamMessage(content);
  }
}

/** True for the beginning of an unencrypted message. */
function isPlain(view: Uint8Array): boolean {
  try {
    if (view[0] === messageTypes.compress) decodeCompress(view, streamContentMax);
    else new StreamMessageDecoder(streamContentMax).push(view);
    return view.length > 1;
  } catch (error) {
    if (!(error instanceof E2dError)) throw error;
    return error.code === "gossip_truncated" && view.length > 1;
  }
}

const oversize = (max: number) =>
  new E2dError("gossip_oversize", `Cannot read a stream: it is longer than ${max} bytes`);
