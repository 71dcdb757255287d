/**
 * What stands around a message on a stream: the label header once from the dialler, then either a sealed frame
 * (`0a` ‖ length ‖ sealed bytes) or the message as it is, with or without compression. Reading is incremental, since
 * an unsealed message does not say how long it is.
 */
import { E2dError } from "../errors.ts";
import { ByteQueue } from "./byte_queue.ts";
import { joinBytes } from "./byte_writer.ts";
import { decodeCompress, encodeCompress } from "./compress.ts";
import { labelHeader, labelHeaderBytes, stripLabel } from "./label.ts";
import type { StreamMessage } from "./message.ts";
import { messageTypes } from "./message_codec.ts";
import { open, seal, sealedLength, type SealVersion } from "./seal.ts";
import { decodeStreamMessage, encodeStreamMessage, StreamMessageDecoder } from "./stream_message.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/**
 * Bytes of one decoded message: a push/pull of about 6,000 e2d members. Twenty times less than memberlist allows, so
 * that a stranger who opens connections can have us hold and work through megabytes, not gigabytes.
 */
export const streamContentMax = 2 * 1024 * 1024;
/** Bytes of one message on the wire: LZW can make incompressible content half as long again. */
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

/** One message with all that goes around it. Throws E2dError `gossip_encode`, `gossip_oversize`. */
export function encodeStream(message: StreamMessage, options: EncodeStreamOptions): Bytes {
  const { label, key, nonce, side, version = 1 } = options;
  let content = encodeStreamMessage(message);
  if (content.length > streamContentMax) {
    throw new E2dError("gossip_oversize", `Cannot send "${message.kind}": ${content.length} bytes are too many`);
  }
  if (options.compress) content = encodeCompress(content);
  if (key !== undefined) {
    const length = sealedLength(content.length, version);
    const header = Uint8Array.of(messageTypes.encrypt, length >>> 24, length >>> 16, length >>> 8, length);
    content = joinBytes(header, seal(content, { key, nonce: nonce(), additional: joinBytes(header, label), version }));
  }
  return side === "dialler" ? joinBytes(labelHeader(label), content) : content;
}

/**
 * Reads one message from a stream, piece by piece. Errors that concern the framing, and which the acceptor answers with
 * an error message, have the codes `gossip_label`, `gossip_sealed`, `gossip_lzw` and `gossip_oversize`; all others mean
 * that the content makes no sense: `gossip_decode`.
 */
export class StreamDecoder {
  readonly #label: Uint8Array;
  readonly #keys: readonly Uint8Array[] | undefined;
  readonly #queue = new ByteQueue();
  #labelRead: boolean;
  #plain: StreamMessageDecoder | undefined;

  /** `side`: whose message is read. */
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

  /** The message once it is complete, undefined while bytes are missing. Not to be called again after it threw. */
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
      throw new E2dError("gossip_sealed", "Cannot read a stream: it is not encrypted, and this cluster has a key");
    }
    const view = this.#queue.view();
    if (view.length < frameHeaderBytes) return undefined;
    const length = new DataView(view.buffer, view.byteOffset).getUint32(1);
    if (length > streamWireMax - frameHeaderBytes) throw oversize(streamWireMax);
    if (view.length < frameHeaderBytes + length) return undefined;
    const sealed = view.subarray(frameHeaderBytes, frameHeaderBytes + length);
    const content = open(sealed, {
      keys,
      additional: joinBytes(view.subarray(0, frameHeaderBytes), this.#label),
    });
    return decodeStreamMessage(
      content[0] === messageTypes.compress ? decodeCompress(content, streamContentMax) : content,
    );
  }

  #compressed(): StreamMessage | undefined {
    let content: Uint8Array;
    try {
      // Until the announced number of compressed bytes is there, the attempt ends before any work is done.
      content = decodeCompress(this.#queue.view(), streamContentMax);
    } catch (error) {
      if (error instanceof E2dError && error.code === "gossip_truncated") return undefined;
      throw error;
    }
    return decodeStreamMessage(content);
  }
}

const oversize = (max: number) =>
  new E2dError("gossip_oversize", `Cannot read a stream: it is longer than ${max} bytes`);
