/**
 * A million hostile inputs: mutated vectors, spliced vectors and noise, given to every decoder. Each must give a value or
 * an E2dError, in bounded memory. The inputs follow from the seed; a failure prints the one that did it.
 */
import { E2dError, isE2dError } from "../../lib/errors.ts";
import { decodeClusterRecord, decodeTableName } from "../../lib/manager/cluster_record.ts";
import { decodeCompress, encodeCompress } from "../../lib/gossip/wire/compress.ts";
import { decodeGob } from "../../lib/gob/decode.ts";
import { lzwDecompress } from "../../lib/gossip/wire/lzw.ts";
import { decodeMemberMeta } from "../../lib/gossip/e2d/member_meta.ts";
import { decodePacket, packetContentMax } from "../../lib/gossip/wire/packet.ts";
import { open } from "../../lib/gossip/wire/seal.ts";
import { decodeStatusMessage } from "../../lib/gossip/e2d/status_message.ts";
import { streamContentMax, StreamDecoder } from "../../lib/gossip/wire/stream_frame.ts";
import { assert } from "../support/assert.ts";
import { hex, vectors } from "./vectors.ts";

const seed = 4;
const inputs = 1_000_000;
const chunks = 10;
const none = new Uint8Array(0);

/** splitmix32: small, fast, and the same everywhere. */
function random(state: number): (below: number) => number {
  return (below) => {
    state = (state + 0x9e3779b9) | 0;
    let z = state ^ (state >>> 16);
    z = Math.imul(z, 0x21f0aaad);
    z = z ^ (z >>> 15);
    z = Math.imul(z, 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) % below;
  };
}

/** Everything the vectors have as bytes, the opened and decompressed inner parts too. */
const corpus: Uint8Array<ArrayBuffer>[] = vectors.flatMap((v) => {
  const found = [v.hex, v.request_hex, v.reply_hex, v.ca_key_der_hex].filter((text) => text !== undefined).map(hex);
  if (v.key !== undefined && v.hex !== undefined && v.label === undefined) {
    const [at, additional] = v.layer === "stream" ? [5, hex(v.hex).slice(0, 5)] : [0, none];
    found.push(open(hex(v.hex).subarray(at), { keys: [hex(v.key)], additional }));
  }
  for (const bytes of [...found]) {
    const at = bytes[0] === 12 ? 5 : 0;
    if (bytes[at] === 9) found.push(decodeCompress(bytes.subarray(at), 1 << 20));
  }
  return found;
});

/** Bytes that stand for something in one of the formats: types, tags, length bytes, negative lengths. */
const telling = [
  0,
  1,
  7,
  8,
  9,
  10,
  12,
  0x7f,
  0x80,
  0x8f,
  0x9f,
  0xbf,
  0xc0,
  0xc4,
  0xc7,
  0xce,
  0xd3,
  0xd9,
  0xdb,
  0xdd,
  0xdf,
];
telling.push(0xe0, 0xf4, 0xf8, 0xff);

function mutate(next: (below: number) => number): Uint8Array<ArrayBuffer> {
  if (next(12) === 0) {
    const noise = Uint8Array.from({ length: next(200) }, () => next(256));
    if (noise.length > 0 && next(2) === 0) noise[0] = telling[next(telling.length)]!;
    return noise;
  }
  let data = corpus[next(corpus.length)]!.slice();
  for (let times = 1 + next(4); times > 0 && data.length > 0; times--) {
    const at = next(data.length);
    switch (next(7)) {
      case 0:
        data[at] = next(256);
        break;
      case 1:
        data[at] = telling[next(telling.length)]!;
        break;
      case 2:
        data[at] = data[at]! ^ (1 << next(8));
        break;
      case 3:
        data = data.slice(0, at);
        break;
      case 4: { // a length field that lies
        for (let i = at; i < Math.min(data.length, at + 4); i++) data[i] = 0xff;
        break;
      }
      case 5: { // the head of this one, the tail of another
        const other = corpus[next(corpus.length)]!;
        const tail = other.subarray(next(other.length + 1));
        const spliced = new Uint8Array(at + tail.length);
        spliced.set(data.subarray(0, at));
        spliced.set(tail, at);
        data = spliced;
        break;
      }
      default: { // a part twice
        const part = data.slice(at, at + next(40));
        const longer = new Uint8Array(data.length + part.length);
        longer.set(data);
        longer.set(part, data.length);
        data = longer;
      }
    }
  }
  // What has been bent below a layer must reach the decoder behind it.
  if (data.length > 0 && next(10) === 0) data = encodeCompress(data);
  return data;
}

const key = hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
const stream = (data: Uint8Array, keys: Uint8Array[] | undefined, next: (below: number) => number) => {
  const decoder = new StreamDecoder({ label: none, keys, side: next(2) === 0 ? "dialler" : "answerer" });
  const at = next(data.length + 1);
  if (decoder.push(data.subarray(0, at)) === undefined) decoder.push(data.subarray(at));
};
type Next = (below: number) => number;
const decoders: Record<string, (data: Uint8Array<ArrayBuffer>, next: Next) => void> = {
  packet: (data) => {
    const { messages } = decodePacket(data, { label: none, keys: undefined });
    let size = 0;
    for (const message of messages) size += message.kind === "user" ? message.data.length : 0;
    assert(messages.length <= 1024 && size <= 4 * packetContentMax);
  },
  sealedPacket: (data) => void decodePacket(data, { label: none, keys: [key] }),
  stream: (data, next) => stream(data, undefined, next),
  sealedStream: (data, next) => stream(data, [key], next),
  lzw: (data) => assert(lzwDecompress(data, streamContentMax).length <= streamContentMax),
  gob: (data) => void decodeGob(data),
  member: (data) => void decodeMemberMeta(data),
  status: (data) => void decodeStatusMessage(data),
  cluster: (data) => void decodeClusterRecord(data),
  table: (data) => void decodeTableName(data),
};
const names = Object.keys(decoders);

let accepted = 0;
for (let chunk = 0; chunk < chunks; chunk++) {
  Deno.test(`every decoder gives a value or an E2dError (seed ${seed}, ${inputs / chunks} inputs, chunk ${chunk})`, () => {
    const next = random(seed * 1000 + chunk);
    for (let i = 0; i < inputs / chunks; i++) {
      const data = mutate(next);
      const name = names[i % names.length]!;
      try {
        decoders[name]!(data, next);
        accepted++;
      } catch (error) {
        if (error instanceof E2dError) continue;
        throw new Error(`decoder ${name}, input ${i} of chunk ${chunk}: ${data.toHex()}`, { cause: error });
      }
    }
  });
}

Deno.test("the fuzz inputs reach behind the first check: a good part of them is accepted", () => {
  assert(accepted > inputs / 100, `${accepted} of ${inputs} were accepted`);
  assert(accepted < inputs / 2, `${accepted} of ${inputs} were accepted`);
});

Deno.test("decodePacket() stays bounded on nested compression bombs and on nested compound messages", () => {
  let bomb: Uint8Array<ArrayBuffer> = new Uint8Array(60_000).fill(8);
  for (let depth = 0; depth < 12; depth++) bomb = encodeCompress(bomb);
  const deep = decodePacket(bomb, { label: none, keys: undefined });
  assert(deep.messages.length === 0 && isE2dError(deep.dropped[0], "gossip_oversize"));

  const huge = encodeCompress(new Uint8Array(20_000_000));
  assert(huge.length < 65_536);
  const wide = decodePacket(huge, { label: none, keys: undefined });
  assert(wide.messages.length === 0 && isE2dError(wide.dropped[0], "gossip_oversize"));

  // 255 parts of 254 parts of two bytes each.
  const inner = new Uint8Array(2 + 2 * 127 + 127).fill(8);
  inner.set([7, 127]);
  for (let i = 0; i < 127; i++) inner.set([0, 1], 2 + 2 * i);
  const outer = new Uint8Array(2 + 2 * 127 + 127 * inner.length);
  outer.set([7, 127]);
  for (let i = 0; i < 127; i++) {
    outer.set([inner.length >> 8, inner.length & 255], 2 + 2 * i);
    outer.set(inner, 2 + 2 * 127 + i * inner.length);
  }
  const many = decodePacket(outer, { label: none, keys: undefined });
  assert(many.messages.length <= 1024 && many.dropped.some((error) => error.code === "gossip_oversize"));
});
