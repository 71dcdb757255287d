/** What goes in comes out, for every layer, and what has been tampered with does not. */
import fc from "fast-check";
import { decodeClusterRecord, encodeClusterRecord } from "../../lib/manager/cluster_record.ts";
import { compoundPartsMax, decodeCompound, encodeCompound } from "../../lib/gossip/wire/compound.ts";
import { decodeCompress, encodeCompress } from "../../lib/gossip/wire/compress.ts";
import { crc32 } from "../../lib/gossip/wire/crc32.ts";
import { goTextFromBytes, goTextToBytes } from "../../lib/gob/go_text.ts";
import { decodeGob } from "../../lib/gob/decode.ts";
import { encodeGob } from "../../lib/gob/encode.ts";
import type { GobType, GobValue } from "../../lib/gob/value.ts";
import { lzwCompress, lzwDecompress } from "../../lib/gossip/wire/lzw.ts";
import { decodeMemberMeta, encodeMemberMeta, ownGeneration } from "../../lib/gossip/e2d/member_meta.ts";
import { decodeMessage, encodeMessage } from "../../lib/gossip/wire/message_codec.ts";
import { nodeStatuses } from "../../lib/gossip/e2d/node_status.ts";
import { decodePacket, encodePacket } from "../../lib/gossip/wire/packet.ts";
import { open, seal, sealedLength } from "../../lib/gossip/wire/seal.ts";
import { decodeStatusMessage, encodeStatusMessage } from "../../lib/gossip/e2d/status_message.ts";
import { encodeStream, StreamDecoder } from "../../lib/gossip/wire/stream_frame.ts";
import { decodeStreamMessage, encodeStreamMessage } from "../../lib/gossip/wire/stream_message.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { bytes, content, key, label, message, nonce, record, runs, streamMessage, text } from "./arbitraries.ts";

const property = <T>(arbitrary: fc.Arbitrary<T>, check: (value: T) => void, numRuns = runs.numRuns) =>
  fc.assert(fc.property(arbitrary, check), { ...runs, numRuns });

Deno.test("goTextFromBytes() and goTextToBytes() keep any bytes", () => {
  property(bytes({ maxLength: 50 }), (data) => assertEquals(goTextToBytes(goTextFromBytes(data)), data));
  property(text, (value) => assertEquals(goTextFromBytes(goTextToBytes(value)), value));
});

Deno.test("goTextToBytes() refuses surrogates that no bytes stand for", async () => {
  await assertE2dError("gossip_encode", () => goTextToBytes("\ud800"));
  await assertE2dError("gossip_encode", () => goTextToBytes("é\udc80"));
});

Deno.test("crc32() agrees with the check value of the standard", () => {
  assertEquals(crc32(new TextEncoder().encode("123456789")), 0xcbf43926);
});

Deno.test("lzwDecompress() undoes lzwCompress(), also across table resets", () => {
  property(content, (data) => assertEquals(lzwDecompress(lzwCompress(data), data.length), data));
  const long = Uint8Array.from({ length: 200_000 }, (_, at) => Math.imul(at ^ (at >> 7), 40_503) >>> 5);
  assertEquals(lzwDecompress(lzwCompress(long), long.length), long);
  const same = new Uint8Array(500_000).fill(7);
  assertEquals(lzwDecompress(lzwCompress(same), same.length), same);
});

Deno.test("lzwDecompress() fails one byte above the bound", async () => {
  const packed = lzwCompress(new Uint8Array(100_000));
  assert(packed.length < 1000);
  await assertE2dError("gossip_oversize", () => lzwDecompress(packed, 99_999));
});

Deno.test("decodeMessage() undoes encodeMessage()", () => {
  property(message, (value) => assertEquals(decodeMessage(encodeMessage(value)), value), 2000);
});

Deno.test("encodeMessage() refuses records that would harm a Go peer", async () => {
  const record = {
    kind: "alive",
    node: "n",
    incarnation: 1,
    address: Uint8Array.of(127, 0, 0, 1),
    port: 1,
    meta: new Uint8Array(0),
    versions: undefined,
  } as const;
  await assertE2dError("gossip_encode", () => encodeMessage(record));
  const versions = {
    protocolMin: 1,
    protocolMax: 5,
    protocolCurrent: 2,
    delegateMin: 0,
    delegateMax: 0,
    delegateCurrent: 0,
  };
  await assertE2dError("gossip_encode", () => encodeMessage({ ...record, versions, incarnation: 0 }));
});

Deno.test("decodeStreamMessage() undoes encodeStreamMessage()", () => {
  property(streamMessage, (value) => assertEquals(decodeStreamMessage(encodeStreamMessage(value)), value));
});

Deno.test("decodeCompound() undoes encodeCompound(), and loses only what is cut off", async () => {
  const parts = fc.array(bytes({ minLength: 1, maxLength: 40 }), { minLength: 1, maxLength: compoundPartsMax });
  property(fc.tuple(parts, fc.nat(60)), ([parts, cut]) => {
    const whole = encodeCompound(parts);
    assertEquals(decodeCompound(whole).parts.map((part) => part.slice()), parts);
    const body = whole.length - 2 - parts.length * 2;
    const shorter = decodeCompound(whole.subarray(0, whole.length - Math.min(cut, body)));
    assertEquals(shorter.parts.length + shorter.lost, parts.length);
    assertEquals(shorter.parts.map((part) => part.slice()), parts.slice(0, shorter.parts.length));
  });
  const one = Uint8Array.of(1);
  await assertE2dError("gossip_encode", () => encodeCompound([]));
  await assertE2dError("gossip_encode", () => encodeCompound(new Array(128).fill(one)));
  await assertE2dError("gossip_encode", () => encodeCompound([one, new Uint8Array(0)]));
  await assertE2dError("gossip_encode", () => encodeCompound([new Uint8Array(65_536)]));
});

Deno.test("decodeCompress() undoes encodeCompress()", () => {
  property(content, (data) => assertEquals(decodeCompress(encodeCompress(data), data.length), data));
});

Deno.test("open() undoes seal() with any key of the ring, and nothing else", () => {
  const cases = record({
    plain: bytes({ minLength: 1, maxLength: 500 }),
    key,
    others: fc.array(key, { maxLength: 2 }),
    nonce,
    additional: bytes({ maxLength: 20 }),
    version: fc.constantFrom(0 as const, 1 as const),
    flip: fc.nat(),
  });
  property(cases, ({ plain, key, others, nonce, additional, version, flip }) => {
    const sealed = seal(plain, { key, nonce, additional, version });
    assertEquals(sealed.length, sealedLength(plain.length, version));
    assertEquals(open(sealed, { keys: [...others, key], additional }), plain);
    const bent = sealed.slice();
    const at = flip % (bent.length - 1) + 1; // every byte but the version, which nothing authenticates
    bent[at] = bent[at]! ^ (1 << flip % 8);
    for (
      const attempt of [
        () => open(bent, { keys: [key], additional }),
        () => open(sealed, { keys: [key], additional: Uint8Array.of(...additional, 1) }),
        () => open(sealed.subarray(0, sealed.length - 1), { keys: [key], additional }),
        () => open(sealed, { keys: [key.map((byte) => byte ^ 1)], additional }),
        () => open(plain, { keys: [key], additional }),
      ]
    ) assert.throws(attempt, { code: "gossip_sealed" });
  });
});

const packetOptions = record({
  label,
  key: fc.option(key, { nil: undefined }),
  nonce,
  compress: fc.boolean(),
  crc: fc.boolean(),
  version: fc.constantFrom(0 as const, 1 as const),
});

Deno.test("decodePacket() undoes encodePacket() with every combination of layers", () => {
  const packets = fc.tuple(fc.array(message, { minLength: 1, maxLength: 20 }), packetOptions);
  property(packets, ([messages, { nonce, ...options }]) => {
    const packet = encodePacket(messages.map(encodeMessage), { ...options, nonce: () => nonce });
    const keys = options.key && [options.key];
    assertEquals({ ...decodePacket(packet, { label: options.label, keys }) }, { messages, dropped: [] });
  });
});

Deno.test("decodePacket() with a key accepts nothing that is not sealed, without one nothing that is", () => {
  property(fc.tuple(message, packetOptions), ([value, { nonce, ...options }]) => {
    const other = options.key === undefined ? [new Uint8Array(32)] : undefined;
    // Sealed in version 0, a packet begins like a ping; what follows is chance, and an empty map once in 256 times.
    const packet = encodePacket([encodeMessage(value)], { ...options, version: 1, nonce: () => nonce });
    try {
      const { messages } = decodePacket(packet, { label: options.label, keys: other });
      assert(options.key !== undefined && messages.length === 0, "a packet was taken");
    } catch (error) {
      assert.equal((error as { code?: string }).code, options.key === undefined ? "gossip_sealed" : "gossip_crc");
    }
  });
});

Deno.test("decodePacket() with another label, with none and with one too many is refused", () => {
  property(fc.tuple(message, label, label), ([value, mine, theirs]) => {
    const options = { label: theirs, key: undefined, nonce: () => new Uint8Array(12), compress: false };
    const packet = encodePacket([encodeMessage(value)], options);
    const read = () => decodePacket(packet, { label: mine, keys: undefined });
    if (mine.toHex() === theirs.toHex()) assertEquals(read().messages, [value]);
    else assert.throws(read, { code: "gossip_label" });
  });
});

Deno.test("StreamDecoder undoes encodeStream() with every combination of layers, in pieces of any size", () => {
  const streams = fc.tuple(streamMessage, packetOptions, fc.integer({ min: 1, max: 700 }), fc.boolean());
  property(streams, ([value, { nonce, crc: _, ...options }, piece, dials]) => {
    const side = dials ? "dialler" : "answerer";
    const wire = encodeStream(value, { ...options, side, nonce: () => nonce });
    const decoder = new StreamDecoder({ label: options.label, keys: options.key && [options.key], side });
    for (let at = 0; at < wire.length; at += piece) {
      const read = decoder.push(wire.subarray(at, at + piece));
      if (at + piece >= wire.length) assertEquals(read, value);
      else assertEquals(read, undefined);
    }
  });
});

Deno.test("decodeMemberMeta() undoes encodeMemberMeta(), of the original and of this e2d", () => {
  const short = fc.string({ unit: "grapheme", maxLength: 12 });
  const metas = record({
    id: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    name: short,
    clientAddr: short,
    clientUrl: short,
    peerAddr: short,
    peerUrl: short,
    gossipAddr: short,
    bootstrapAddrs: fc.array(short, { maxLength: 2 }),
    status: fc.constantFrom(...nodeStatuses),
    generation: fc.constantFrom(0, ownGeneration, 77),
  });
  property(metas, (meta) => assertEquals(decodeMemberMeta(encodeMemberMeta(meta)), meta));
});

Deno.test("encodeMemberMeta() fits long names and URLs into 512 bytes, and refuses longer ones", async () => {
  const url = `https://etcd-0.cluster-a.example.internal:2379`;
  const meta = { clientUrl: url, peerUrl: url, gossipAddr: "10.0.0.1:7980", status: "running", generation: 2 } as const;
  assert(encodeMemberMeta({ ...meta, name: "n".repeat(63) }).length <= 512);
  const error = await assertE2dError("gossip_meta", () => encodeMemberMeta({ ...meta, name: "n".repeat(400) }));
  assert(error.hint?.includes("shorten"));
});

Deno.test("decodeStatusMessage() undoes encodeStatusMessage()", () => {
  property(record({ name: text, status: fc.constantFrom(...nodeStatuses) }), (value) => {
    assertEquals(decodeStatusMessage(encodeStatusMessage(value)), value);
  });
});

Deno.test("decodeClusterRecord() undoes encodeClusterRecord()", () => {
  const records = record({
    id: fc.integer({ min: -5, max: 1000 }),
    createdMs: fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 }),
    requiredSize: fc.nat(100),
  });
  property(records, (record) => assertEquals(decodeClusterRecord(encodeClusterRecord(record)), record));
});

Deno.test("decodeGob() undoes encodeGob() for any type that nests, whatever number its ids begin with", () => {
  const scalar = fc.oneof<fc.Arbitrary<[GobType, GobValue]>[]>(
    fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }).map((value) => [{ kind: "uint" }, { kind: "uint", value }]),
    fc.bigInt({ min: -(2n ** 63n), max: -1n }).map((value) => [{ kind: "int" }, { kind: "int", value }]),
    fc.double({ noNaN: true }).filter((value) => value !== 0)
      .map((value) => [{ kind: "float" }, { kind: "float", value }]),
    fc.string({ minLength: 1 }).map((value) => [{ kind: "string" }, { kind: "string", value }]),
    bytes({ minLength: 1 }).map((value) => [{ kind: "bytes" }, { kind: "bytes", value }]),
    bytes().map((value) => [{ kind: "opaque", name: "T" }, { kind: "opaque", value }]),
    fc.constant([{ kind: "bool" }, { kind: "bool", value: true }]),
  );
  const { value } = fc.letrec<{ value: [GobType, GobValue] }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 5 },
      scalar,
      fc.array(tie("value"), { minLength: 1, maxLength: 4 }).map((fields): [GobType, GobValue] => [
        { kind: "struct", name: "S", fields: fields.map(([type], at) => ({ name: `F${at}`, type })) },
        { kind: "struct", fields: new Map(fields.map(([, value], at) => [`F${at}`, value])) },
      ]),
      fc.tuple(tie("value"), fc.integer({ min: 1, max: 3 })).map(([[type, value], count]): [GobType, GobValue] => [
        { kind: "list", name: "L", element: type },
        { kind: "list", values: new Array(count).fill(value) },
      ]),
      fc.tuple(scalar, tie("value")).map(([[key, name], [type, value]]): [GobType, GobValue] => [
        { kind: "map", name: "M", key, element: type },
        { kind: "map", entries: [[name, value]] },
      ]),
    ),
  }));
  property(fc.tuple(value, fc.constantFrom(64, 65, 66, 300)), ([[type, value], firstId]) => {
    assertEquals(decodeGob(encodeGob(type, value, firstId)), value);
  });
});
