/** The gob codec of e2d and Go's encoding/gob read each other's output. */
import fc from "fast-check";
import { decodeMemberMeta, encodeMemberMeta, type MemberMeta } from "../../lib/gossip/e2d/member_meta.ts";
import { nodeStatuses } from "../../lib/gossip/e2d/node_status.ts";
import { decodeStatusMessage, encodeStatusMessage, type StatusMessage } from "../../lib/gossip/e2d/status_message.ts";
import { assertEquals } from "../support/assert.ts";
import { record } from "../gossip/arbitraries.ts";
import { partProgram } from "./part_program.ts";

const short = fc.string({ unit: "grapheme", maxLength: 12 });
const metas = fc.sample(
  record<Required<MemberMeta>>({
    id: fc.bigInt({ min: 0n, max: 2n ** 53n - 1n }),
    name: short,
    clientAddr: short,
    clientUrl: short,
    peerAddr: short,
    peerUrl: short,
    gossipAddr: short,
    bootstrapAddrs: fc.array(short, { maxLength: 2 }),
    status: fc.constantFrom(...nodeStatuses),
    generation: fc.constantFrom(0, 2),
  }),
  { seed: 9, numRuns: 500 },
);
const statuses = fc.sample(
  record<StatusMessage>({ name: short, status: fc.constantFrom(...nodeStatuses) }),
  { seed: 9, numRuns: 200 },
);

/** One line in, one line out. */
async function ask(mode: "encode" | "decode", requests: unknown[]): Promise<Record<string, unknown>[]> {
  const program = partProgram("go-e2d-peer", "e2d-peer", "e2d-peer");
  const child = new Deno.Command(program, { args: [mode], stdin: "piped", stdout: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  const written = (async () => {
    await writer.write(new TextEncoder().encode(requests.map((request) => JSON.stringify(request) + "\n").join("")));
    await writer.close();
  })();
  const { stdout, success } = await child.output();
  await written;
  if (!success) throw new Error("e2d-peer failed");
  return new TextDecoder().decode(stdout).trimEnd().split("\n").map((line) => JSON.parse(line));
}

/** A Member in Go's JSON. */
const goMember = (meta: Required<MemberMeta>) => ({
  ID: Number(meta.id),
  Name: meta.name,
  ClientAddr: meta.clientAddr,
  ClientURL: meta.clientUrl,
  PeerAddr: meta.peerAddr,
  PeerURL: meta.peerUrl,
  GossipAddr: meta.gossipAddr,
  BootstrapAddrs: meta.bootstrapAddrs.length === 0 ? null : meta.bootstrapAddrs,
  Status: nodeStatuses.indexOf(meta.status),
});
const goStatus = (status: StatusMessage) => ({ Name: status.name, Status: nodeStatuses.indexOf(status.status) });

Deno.test("encodeMemberMeta() and encodeStatusMessage() are readable by Go, which skips the generation", async () => {
  const answers = await ask("decode", [
    ...metas.map((meta) => ({ Kind: "member", Data: encodeMemberMeta(meta).toHex() })),
    ...statuses.map((status) => ({ Kind: "status", Data: encodeStatusMessage(status).toHex() })),
  ]);
  assertEquals(answers, [
    ...metas.map((meta) => ({ member: goMember(meta) })),
    ...statuses.map((status) => ({ status: goStatus(status) })),
  ]);
});

Deno.test("decodeMemberMeta() and decodeStatusMessage() read the output of Go, and the encoders without a generation equal it", async () => {
  const answers = await ask("encode", [
    ...metas.map((meta) => ({ Kind: "member", Member: goMember(meta) })),
    ...statuses.map((status) => ({ Kind: "status", Status: goStatus(status) })),
  ]);
  for (const [at, meta] of metas.entries()) {
    const written = answers[at]!.data as string;
    assertEquals(decodeMemberMeta(Uint8Array.fromHex(written)), { ...meta, generation: 0 });
    assertEquals(encodeMemberMeta({ ...meta, generation: 0 }).toHex(), written);
  }
  for (const [at, status] of statuses.entries()) {
    const written = answers[metas.length + at]!.data as string;
    assertEquals(decodeStatusMessage(Uint8Array.fromHex(written)), status);
    assertEquals(encodeStatusMessage(status).toHex(), written);
  }
});
