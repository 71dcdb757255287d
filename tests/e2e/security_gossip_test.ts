/** Attackers without the key on the gossip port of a cluster with a key, as docs/security.md describes them. */
import { type E2dGossip, startE2dGossip } from "../../lib/gossip/e2d/gossip.ts";
import { labelBytes } from "../../lib/gossip/wire/label.ts";
import { encodeStream } from "../../lib/gossip/wire/stream_frame.ts";
import type { StatusReport } from "../../lib/manager/status/report.ts";
import { secretKeyFromCaKey } from "../../lib/pki/secret_key.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { systemRandom } from "../../lib/sys/random.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { eventually, temporaryDirectory } from "../support/fixtures.ts";
import { TestLog } from "../support/test_log.ts";
import { callWith, flood, Loris, MemoryWatch, stateAs, strangersPackets, Wire } from "./attacker.ts";
import { e2d, freshHost, NodeProcess } from "./node_process.ts";

/**
 * The memory that unauthenticated senders can make a node hold: 512 waiting packets of 64 KiB (32 MiB), 32 streams of
 * 3 MiB (96 MiB), each copied once; doubled, because garbage is collected later.
 */
const growthMaxMiB = 256;

const names = ["a", "b", "c"] as const;

Deno.test("a node under a flood of garbage, replayed packets and hostile streams keeps its cluster, members and memory limit", async (t) => {
  await using dir = await temporaryDirectory();
  const ca = [`--ca-cert=${dir.path}/ca.crt`, `--ca-key=${dir.path}/ca.key`];
  assertEquals((await e2d(["pki", "init", ...ca])).code, 0);
  const secret = secretKeyFromCaKey(await Deno.readTextFile(`${dir.path}/ca.key`), { role: "CA key", path: "ca.key" });
  const hosts = names.map(() => freshHost());
  await using stack = new AsyncDisposableStack();
  const nodes = names.map((name, at) =>
    stack.use(
      new NodeProcess({
        host: hosts[at]!,
        dataDir: `${dir.path}/${name}`,
        args: [
          `--name=${name}`,
          "-n=3",
          `--bootstrap-addrs=${hosts.join(",")}`,
          ca[1]!,
          "--health-check-timeout=30s",
          `--status-addr=${hosts[at]}:7981`,
        ],
      }),
    )
  );
  const [a, b, c] = nodes as [NodeProcess, NodeProcess, NodeProcess];
  await Promise.all(nodes.map((node) => node.healthy()));
  const target = { host: a.host, port: 7980 };

  const status = async (node: NodeProcess): Promise<StatusReport> =>
    await (await fetch(`http://${node.host}:7981/status`)).json();
  const metric = async (name: string) => {
    const text = await (await fetch(`http://${a.host}:7981/metrics`)).text();
    return Number(text.split("\n").find((line) => line.startsWith(`e2d_gossip_${name} `))?.split(" ")[1]);
  };
  const memberIds = async () => (await (await a.client()).memberList(a.clientUrl)).map(({ id }) => id).sort();
  const members = await memberIds();
  assertEquals(members.length, 3);

  /** Asserts that the cluster serves and has no new member. */
  const sound = async () => {
    for (const [at, node] of nodes.entries()) {
      const client = await node.client();
      await client.put(`key-${at}`, "value", { timeoutMs: 10_000 });
    }
    assertEquals(await memberIds(), members);
    for (const node of nodes) {
      const { gossip } = await status(node);
      const strangers = gossip.filter(({ name, state }) =>
        state !== "left" && !(names as readonly string[]).includes(name)
      );
      assertEquals(strangers, []);
    }
    await eventually("all see each other alive", async () => {
      for (const node of nodes) {
        const { gossip } = await status(node);
        if (gossip.filter(({ state }) => state === "alive").length < 2) return false;
      }
      return true;
    });
  };

  // A member with the key, whose traffic is what an eavesdropper can record.
  const wire = new Wire();
  const withKey = async (name: string): Promise<E2dGossip> => {
    const at = { host: freshHost(), port: 7980 };
    return await startE2dGossip({
      name,
      bind: at,
      advertise: at,
      clientUrl: `http://${at.host}:2379`,
      peerUrl: `http://${at.host}:2380`,
      keys: [secret.bytes],
      seeds: () => [target],
      bindDatagrams: wire.bindDatagrams,
      connections: wire.connections,
      clock: systemClock,
      random: systemRandom,
      log: new TestLog(),
    });
  };
  const stateOf = async (name: string) => (await status(a)).gossip.find((member) => member.name === name)?.state;
  const spy = await withKey("spy");
  try {
    await eventually("the spy is among the members of gossip", async () => await stateOf("spy") === "alive");
    await eventually("enough is recorded", () => wire.packets.length >= 20 && wire.streams.length > 0);
    await spy.memberlist.leave();
    await eventually("a knows that the spy has left", async () => await stateOf("spy") === "left");
  } finally {
    await spy.close();
  }
  using memory = new MemoryWatch(a.pid);
  const beforeMiB = memory.mostMiB;

  await t.step("garbage, packets without the key and with another key", async () => {
    const sent = await flood(target, strangersPackets(400, systemRandom.bytes(32)), 6_000);
    await sound();
    // A loaded machine can send as many, too.
    assert(sent > 2_000, `only ${sent} packets were sent`);
    assert(await metric('dropped{reason="gossip_sealed"}') > 500);
  });

  await t.step("replayed encrypted packets and streams of a member that has left", async () => {
    const refused = await metric('dropped{reason="gossip_sealed"}');
    const received = await metric("packets_received");
    await flood(target, wire.packets, 2_000);
    let answered = 0;
    for (const stream of wire.streams) answered += await callWith(target, stream);
    // They were read and answered, so the following state is their effect.
    assert(answered > 0 && await metric("packets_received") > received + 200);
    assert(await metric('dropped{reason="gossip_sealed"}') - refused < 100);
    await sound();
    assertEquals(await stateOf("spy"), "left");
  });

  await t.step("oversized, malformed and unencrypted streams, and hundreds that never end", async () => {
    const plain = encodeStream(stateAs("evil"), {
      label: labelBytes(""),
      key: undefined,
      nonce: () => new Uint8Array(12),
      compress: false,
      side: "dialler",
    });
    for (
      const bytes of [
        plain,
        Uint8Array.of(10, 255, 255, 255, 255, 1, 2, 3),
        Uint8Array.of(244, 255, 1),
        Uint8Array.of(10, 0, 0, 0, 0),
        systemRandom.bytes(300_000),
        new TextEncoder().encode("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        new Uint8Array(0),
      ]
    ) await callWith(target, bytes);
    // Each announces a frame of 3 MiB, a third of them send nearly all of it, and none of them ends.
    const header = Uint8Array.of(10, 0, 0x2f, 0xff, 0xff);
    const long = new Uint8Array(header.length + 3_000_000);
    long.set(header);
    await using _loris = new Loris(target, {
      count: 150,
      head: (at) => at % 3 === 0 ? long : header,
      everyMs: 500,
    });
    await eventually("all places are taken", async () => await metric("streams_refused") > 50);
    // A member with the key still connects to the same port.
    const friend = await withKey("friend");
    try {
      await eventually("a friend gets in", async () => await stateOf("friend") === "alive");
      await friend.memberlist.leave();
      await eventually("a knows that the friend has left", async () => await stateOf("friend") === "left");
    } finally {
      await friend.close();
    }
    await sound();
  });

  const grownMiB = memory.mostMiB - beforeMiB;
  console.log(`memory: ${beforeMiB.toFixed(0)} MiB before, ${grownMiB.toFixed(0)} MiB more at most`);
  assert(grownMiB < growthMaxMiB, `memory grew by ${grownMiB} MiB`);
  for (const node of [a, b, c]) {
    assertEquals(node.log.filter(({ outcome }) => String(outcome).startsWith("remove")), []);
    // Each reason is logged once a minute.
    const told = node.log.filter(({ level, message }) => level === "warn" && message.startsWith("Dropped"));
    assert(told.length < 20, `${told.length} lines of refusals`);
  }
});
