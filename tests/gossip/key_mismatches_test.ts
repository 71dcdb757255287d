import { type KeyMismatch, KeyMismatches } from "../../lib/gossip/key_mismatches.ts";
import { encodeMessage } from "../../lib/gossip/wire/message_codec.ts";
import { encodePacket, packetMismatch } from "../../lib/gossip/wire/packet.ts";
import { assertEquals } from "../support/assert.ts";

const mismatch = (host: string, change: Partial<KeyMismatch> = {}): KeyMismatch => ({
  kind: "differs",
  host,
  port: 7980,
  evidence: "answer",
  ...change,
});
const texts = (all: KeyMismatches, nowMs: number) =>
  all.list(nowMs).map(({ kind, host, port, evidence }) => `${kind} ${host}:${port ?? ""} ${evidence}`);

Deno.test("KeyMismatches has one entry for a node, with the strongest evidence and the port that is known", () => {
  const all = new KeyMismatches();
  const heard = { kind: "differs", host: "a", evidence: "stream" } as const;
  assertEquals(all.add(heard, 0), true);
  assertEquals(all.add(mismatch("a"), 1), true);
  assertEquals(all.add(heard, 2), false);
  assertEquals(texts(all, 2), ["differs a:7980 answer"]);
  assertEquals(all.add(mismatch("a", { kind: "peer_has_none", evidence: "packet" }), 3), true, "what is newer counts");
  assertEquals(texts(all, 3), ["peer_has_none a:7980 packet"]);
});

Deno.test("KeyMismatches drops an address that is silent or becomes readable", () => {
  const all = new KeyMismatches();
  all.add(mismatch("a"), 0);
  all.add(mismatch("b"), 50_000);
  assertEquals(texts(all, 89_999).length, 2);
  assertEquals(texts(all, 90_000), ["differs b:7980 answer"]);
  assertEquals([all.remove({ host: "b", port: 7981 }), all.remove({ host: "b", port: 7980 })], [false, true]);
  assertEquals(texts(all, 90_001), []);
});

Deno.test("KeyMismatches keeps 16 entries, and lets no forged packet keep out what a stream has shown", () => {
  const all = new KeyMismatches();
  for (let at = 0; at < 1_000; at++) all.add(mismatch(`forged${at}`, { evidence: "packet" }), 0);
  assertEquals(all.list(0).length, 16);
  assertEquals(all.add(mismatch("real"), 1), true);
  assertEquals([all.list(1).length, texts(all, 1).includes("differs real:7980 answer")], [16, true]);
});

Deno.test("packetMismatch() distinguishes sealed packets from plain ones by the whole packet", () => {
  const key = new Uint8Array(32).fill(1);
  const label = new Uint8Array(0);
  const ping = encodeMessage({ kind: "ping", sequence: 1, node: "a" });
  const make = (key: Uint8Array | undefined) =>
    encodePacket([ping], { label, key, nonce: () => new Uint8Array(12).fill(7), compress: true });
  const other = [new Uint8Array(32).fill(2)];
  assertEquals(packetMismatch(make(key), { label, keys: other }), "differs");
  assertEquals(packetMismatch(make(undefined), { label, keys: other }), "peer_has_none");
  assertEquals(packetMismatch(make(key), { label, keys: undefined }), "own_missing");
  assertEquals(packetMismatch(make(undefined), { label, keys: undefined }), undefined);
  assertEquals(
    packetMismatch(new TextEncoder().encode("hello, is there anybody who listens?"), { label, keys: other }),
    undefined,
  );
});
