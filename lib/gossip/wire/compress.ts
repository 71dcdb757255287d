/** The compress message: LZW-compressed content in a msgpack struct. memberlist defines no other algorithm. */
import { E2dError } from "../../errors.ts";
import { lzwCompress, lzwDecompress } from "./lzw.ts";
import { messageTypes } from "./message_codec.ts";
import { MsgpackReader, MsgpackWriter } from "./msgpack.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const lzwAlgorithm = 0;

export function encodeCompress(content: Uint8Array): Bytes {
  const out = new MsgpackWriter();
  out.byte(messageTypes.compress);
  out.struct(2);
  out.key("Algo");
  out.uint(lzwAlgorithm);
  out.key("Buf");
  out.raw(lzwCompress(content));
  return out.finish();
}

/**
 * The content of a compress message, type byte included. Throws E2dError `gossip_decode`, `gossip_truncated`,
 * `gossip_lzw`, or `gossip_oversize` beyond `contentMax` bytes.
 */
export function decodeCompress(data: Uint8Array, contentMax: number): Bytes {
  const reader = new MsgpackReader(data, 1);
  let algorithm = 0;
  let compressed: Bytes = new Uint8Array(0);
  reader.struct({ Algo: () => algorithm = reader.uint(255), Buf: () => compressed = reader.bytes() });
  if (algorithm !== lzwAlgorithm) {
    throw new E2dError("gossip_decode", `Cannot decompress: algorithm ${algorithm} is unknown`);
  }
  return lzwDecompress(compressed, contentMax);
}
