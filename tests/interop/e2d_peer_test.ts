/**
 * Legacy peers (the gossip of the Go original) beside nodes of this e2d: they gather by the bootstrap protocol of the
 * original, and each side sees the other's record and status.
 */
import { type E2dGossip, startE2dGossip } from "../../lib/gossip/e2d/gossip.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { eventually } from "../support/fixtures.ts";
import { JsonProcess } from "./json_process.ts";
import { MemoryLog, systemParts } from "./our_node.ts";
import { partProgram } from "./part_program.ts";

const key = Uint8Array.from({ length: 32 }, (_, at) => at * 13 & 255);

const host = (net: number, number: number) => `127.0.${net}.${number}`;
const bootstrap = (net: number) => [1, 2, 3].map((number) => `${host(net, number)}:7980`);

async function goNode(net: number, number: number, ...more: string[]): Promise<JsonProcess> {
  const at = host(net, number);
  const peer = new JsonProcess(partProgram("go-e2d-peer", "e2d-peer", "e2d-peer"), [
    ...["-name", `go${number}`, "-gossip", `${at}:7980`, "-key", key.toHex()],
    ...["-client-url", `https://${at}:2379`, "-peer-url", `https://${at}:2380`],
    ...["-bootstrap", bootstrap(net).join(",")],
    ...more,
  ]);
  await peer.event("its start", ({ event }) => event === "ready");
  return peer;
}

interface Ours extends AsyncDisposable {
  gossip: E2dGossip;
  notes: string[];
}

async function ourNode(net: number, number: number): Promise<Ours> {
  const at = host(net, number);
  const notes: string[] = [];
  const gossip = await startE2dGossip({
    name: `our${number}`,
    bind: { host: at, port: 7980 },
    advertise: { host: at, port: 7980 },
    clientUrl: `https://${at}:2379`,
    peerUrl: `https://${at}:2380`,
    keys: [key],
    seeds: () => [1, 2, 3].map((seed) => ({ host: host(net, seed), port: 7980 })),
    ...systemParts,
    log: new MemoryLog(),
    onNote: (note) => notes.push(new TextDecoder().decode(note)),
  });
  return { gossip, notes, [Symbol.asyncDispose]: () => gossip.close() };
}

const statuses = ({ gossip }: Ours) =>
  Object.fromEntries(
    gossip.members().map(({ name, status, isLegacy }) => [name, `${status}${isLegacy ? ", go" : ""}`]),
  );
const goStatuses = async (peer: JsonProcess) =>
  Object.fromEntries(
    ((await peer.request("members")).members as { Name: string; Status: number }[])
      .map(({ Name, Status }) => [Name, ["unknown", "pending", "running"][Status]]),
  );

Deno.test("startE2dGossip() gathers with legacy peers: both sides see unknown, pending, running", async () => {
  const net = 81;
  await using go1 = await goNode(net, 1);
  await using go2 = await goNode(net, 2);
  await using ours = await ourNode(net, 3);

  // The Go nodes become pending when they see three, and wait until ours is pending, too.
  await eventually("pending Go nodes", () => {
    const { go1, go2 } = statuses(ours);
    return go1 === "pending, go" && go2 === "pending, go";
  });
  assertEquals(go1.events.filter(({ event }) => event === "founds"), []);
  const initialCluster = [
    `go1=https://${host(net, 1)}:2380`,
    `go2=https://${host(net, 2)}:2380`,
    `our3=https://${host(net, 3)}:2380`,
  ].join(",");
  ours.gossip.setStatus("pending");
  for (const peer of [go1, go2]) {
    const bootstrap = await peer.event("its bootstrap", ({ event }) => event === "founds");
    assertEquals(bootstrap.initialCluster, initialCluster);
  }
  ours.gossip.setStatus("running");
  await eventually("all running, to us", () =>
    JSON.stringify(statuses(ours)) ===
      JSON.stringify({ go1: "running, go", go2: "running, go", our3: "running" }));
  for (const peer of [go1, go2]) {
    await eventually("all running, to a Go node", async () =>
      JSON.stringify(await goStatuses(peer)) ===
        JSON.stringify({ go1: "running", go2: "running", our3: "running" }));
    assertEquals(peer.events.filter(({ event }) => event === "undecodable"), []);
  }
  assertEquals(ours.gossip.memberlist.metrics().dropped, {});
});

Deno.test("startE2dGossip(): a Go node joins through a running node of this e2d, and ignores a note", async () => {
  const net = 82;
  await using our1 = await ourNode(net, 1);
  await using our2 = await ourNode(net, 2);
  our1.gossip.setStatus("running");
  await using go = await goNode(net, 3);
  const chance = await go.event("a member to join through", ({ event }) => event === "may-join");
  assertEquals([chance.name, chance.clientUrl], ["our1", `https://${host(net, 1)}:2379`]);

  await eventually("our second node", () => statuses(our1).our2 === "unknown");
  await our1.gossip.sendNote("our2", new TextEncoder().encode("n".repeat(100_000)));
  await eventually("the note", () => our2.notes.length === 1 && our2.notes[0]!.length === 100_000);
  await our1.gossip.sendNote("go3", new TextEncoder().encode("not for you"));
  await go.event("a note that is no status", ({ event, what }) => event === "undecodable" && what === "statusMsg");
  const members = (await go.request("members")).members as { Name: string; PeerURL: string; Status: number }[];
  assertEquals(members.map(({ Name }) => Name), ["go3", "our1", "our2"]);
});

Deno.test("startE2dGossip(): a crashed Go node is dead, and its old status is discarded when it returns", async () => {
  const net = 83;
  await using ours = await ourNode(net, 1);
  await using other = await ourNode(net, 3);
  const go = await goNode(net, 2, "-auto=false");
  await go.request("status", { status: 2 });
  await eventually("a running Go node", () => statuses(ours).go2 === "running, go");
  await go.kill();
  await eventually("its death", () => ours.gossip.members().find(({ name }) => name === "go2")?.state === "dead");
  assert(ours.gossip.members().find(({ name }) => name === "go2")!.sinceMs > 0);
  await using _again = await goNode(net, 2, "-auto=false");
  await eventually("its return", () => {
    const member = ours.gossip.members().find(({ name }) => name === "go2");
    return member?.state === "alive" && member.status === "unknown";
  });
  await eventually("the same elsewhere", () => statuses(other).go2 === "unknown, go");
});
