/** The transport on real loopback sockets: what goes through, what does not, and what strangers can do to it. */
import { encodeMessage } from "../../lib/gossip/wire/message_codec.ts";
import { Keyring } from "../../lib/gossip/wire/keyring.ts";
import { labelBytes } from "../../lib/gossip/wire/label.ts";
import type { Message, NodeState, PushPull } from "../../lib/gossip/wire/message.ts";
import { openTransport, type Transport, type TransportHandlers } from "../../lib/gossip/transport.ts";
import type { Datagram, Datagrams, HostPort, LogFields, Logger } from "../../lib/ports.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { systemRandom } from "../../lib/sys/random.ts";
import { systemConnections } from "../../lib/sys/tcp.ts";
import { bindDatagrams } from "../../lib/sys/udp.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";

const keyA = new Uint8Array(32).fill(1);
const keyB = new Uint8Array(32).fill(2);

class Memory implements Logger {
  readonly lines: { level: string; message: string; fields: LogFields | undefined }[] = [];
  #line(level: string) {
    return (message: string, fields?: LogFields) => void this.lines.push({ level, message, fields });
  }
  debug = this.#line("debug");
  info = this.#line("info");
  warn = this.#line("warn");
  error = this.#line("error");
  with = () => this;
}

const node = (name: string, port: number): NodeState => ({
  name,
  address: Uint8Array.of(127, 0, 0, 1),
  port,
  incarnation: 1,
  meta: new Uint8Array(0),
  state: "alive",
  versions: {
    protocolMin: 1,
    protocolMax: 5,
    protocolCurrent: 2,
    delegateMin: 0,
    delegateMax: 0,
    delegateCurrent: 0,
  },
});
const stateOf = (name: string): PushPull => ({
  kind: "pushPull",
  join: true,
  nodes: [node(name, 1)],
  userState: new Uint8Array(0),
});

interface Peer extends AsyncDisposable {
  transport: Transport;
  at: HostPort;
  log: Memory;
  packets: Message[];
  users: string[];
  merged: PushPull[];
  /** Resolves when something has been handed up `count` times in all. */
  seen(count: number): Promise<void>;
}

async function peer(
  name: string,
  { keys, label = "" }: { keys?: Keyring; label?: string } = {},
  overrides: Partial<TransportHandlers> = {},
): Promise<Peer> {
  const log = new Memory();
  const packets: Message[] = [], users: string[] = [], merged: PushPull[] = [];
  let count = 0;
  const waiting: { count: number; resolve: () => void }[] = [];
  const one = () => {
    count++;
    for (const waiter of waiting) if (waiter.count <= count) waiter.resolve();
  };
  const transport = await openTransport({
    bind: { host: "127.0.0.1", port: 0 },
    label: labelBytes(label),
    keyring: keys,
    compress: true,
    bindDatagrams,
    connections: systemConnections,
    clock: systemClock,
    random: systemRandom,
    log,
    handlers: {
      packet(messages) {
        packets.push(...messages);
        one();
      },
      pushPull: () => stateOf(name),
      pushPullAnswered(request) {
        merged.push(request);
        one();
      },
      ping: (ping) => ping.node === name,
      user(data) {
        users.push(new TextDecoder().decode(data));
        one();
      },
      keyMismatchesChanged() {},
      ...overrides,
    },
  });
  transport.start();
  return {
    transport,
    at: transport.local,
    log,
    packets,
    users,
    merged,
    seen: (wanted) =>
      count >= wanted ? Promise.resolve() : new Promise((resolve) => waiting.push({ count: wanted, resolve })),
    [Symbol.asyncDispose]: () => transport.close(),
  };
}

const nack = (sequence: number): Message => ({ kind: "nack", sequence });

for (const keys of [undefined, new Keyring([keyA])]) {
  const how = keys ? "sealed" : "plain";
  Deno.test(`Transport carries packets, push/pull, pings and user data, ${how}`, async () => {
    await using a = await peer("a", { ...keys && { keys }, label: "red" });
    await using b = await peer("b", { ...keys && { keys }, label: "red" });
    a.transport.send(b.at, [encodeMessage(nack(1)), encodeMessage(nack(2))]);
    await b.seen(1);
    assertEquals(b.packets, [nack(1), nack(2)]);

    assertEquals(await a.transport.pushPull(b.at, stateOf("a")), stateOf("b"));
    await b.seen(2);
    assertEquals(b.merged, [stateOf("a")]);

    assertEquals(await a.transport.ping(b.at, { kind: "ping", sequence: 7, node: "b" }, 5000), true);
    assertEquals(await a.transport.ping(b.at, { kind: "ping", sequence: 8, node: "c" }, 5000), false);

    await a.transport.sendUser(b.at, new TextEncoder().encode("hello"));
    await b.seen(3);
    assertEquals(b.users, ["hello"]);
    assertEquals(b.transport.metrics.streamsAccepted, 4);
    assertEquals(b.transport.metrics.dropped, {});
  });
}

Deno.test("Transport: nodes with different keys, or without one, refuse each other, count it and log it once", async () => {
  const cases: {
    mine: Keyring | undefined;
    theirs: Keyring | undefined;
    packetCodes: readonly string[];
    peerSays: RegExp | undefined;
  }[] = [
    { mine: new Keyring([keyA]), theirs: new Keyring([keyB]), packetCodes: ["gossip_sealed"], peerSays: undefined },
    { mine: undefined, theirs: new Keyring([keyB]), packetCodes: ["gossip_sealed"], peerSays: undefined },
    // What is sealed is random to a node without a key: now and then its first bytes announce more than there is.
    {
      mine: new Keyring([keyA]),
      theirs: undefined,
      packetCodes: ["gossip_decode", "gossip_truncated"],
      peerSays: /encrypted/,
    },
  ];
  for (const { mine, theirs, packetCodes, peerSays } of cases) {
    await using a = await peer("a", mine && { keys: mine });
    await using b = await peer("b", theirs && { keys: theirs });
    for (let i = 0; i < 5; i++) a.transport.send(b.at, [encodeMessage({ kind: "user", data: new Uint8Array(9) })]);
    const error = await a.transport.pushPull(b.at, stateOf("a")).catch((error) => error);
    if (peerSays) {
      // The answer is readable: it came from a node without a key, but this node takes nothing unsealed.
      assertEquals(error.code, "gossip_sealed");
    } else assert(["gossip_sealed", "gossip_peer", "gossip_stream"].includes(error.code), String(error));
    const { dropped } = b.transport.metrics;
    const count = () => packetCodes.reduce((sum, code) => sum + (dropped[code] ?? 0), 0);
    for (let tries = 0; count() < 5 && tries < 200; tries++) await systemClock.sleep(5);
    assert(count() >= 5, JSON.stringify(dropped));
    assertEquals(b.packets, []);
    assertEquals(b.merged, []);
    const warned = b.log.lines.filter((line) => line.level === "warn").map((line) => String(line.fields?.reason));
    for (const code of packetCodes) {
      assertEquals(warned.filter((reason) => reason === code).length, dropped[code] === undefined ? 0 : 1, code);
    }
  }
});

/** "kind host:port evidence" of all mismatches, the host being the only one here. */
const mismatches = ({ transport }: Peer) =>
  transport.keyMismatches().map(({ kind, port, evidence }) => `${kind} ${port ?? "-"} ${evidence}`);

Deno.test("Transport reports key mismatches by address on both sides until the keys match", async () => {
  const cases = [
    { mine: [keyA], theirs: [keyB], here: "differs", there: "differs" },
    { mine: [keyA], theirs: undefined, here: "peer_has_none", there: "own_missing" },
    { mine: undefined, theirs: [keyB], here: "own_missing", there: "peer_has_none" },
  ] as const;
  for (const { mine, theirs, here, there } of cases) {
    let changes = 0;
    const keyMismatch = () => void changes++;
    await using a = await peer("a", mine && { keys: new Keyring(mine) }, { keyMismatchesChanged: keyMismatch });
    await using b = await peer("b", theirs && { keys: new Keyring(theirs) });
    for (let attempt = 0; attempt < 3; attempt++) await a.transport.pushPull(b.at, stateOf("a")).catch(() => {});
    assertEquals(mismatches(a), [`${here} ${b.at.port} answer`]);
    assertEquals(mismatches(b), [`${there} - stream`]);
    assertEquals(changes, 1);
    const readable = await peer("c", mine && { keys: new Keyring(mine) });
    await using c = readable;
    // Another node of that machine says nothing of this one; a packet that can be read does.
    assertEquals(await a.transport.ping(c.at, { kind: "ping", sequence: 1, node: "c" }, 5_000), true);
    assertEquals(mismatches(a), [`${here} ${b.at.port} answer`]);
  }
  const [a, b] = [new Keyring([keyA]), new Keyring([keyB])];
  await using one = await peer("one", { keys: a });
  await using two = await peer("two", { keys: b });
  await one.transport.pushPull(two.at, stateOf("one")).catch(() => {});
  assertEquals([mismatches(one).length, mismatches(two).length], [1, 1]);
  b.replace([keyA]);
  await one.transport.pushPull(two.at, stateOf("one"));
  assertEquals([mismatches(one), mismatches(two)], [[], []]);
});

Deno.test('Transport reports packets with another key with the evidence "packet"', async () => {
  await using a = await peer("a", { keys: new Keyring([keyA]) });
  await using b = await peer("b", { keys: new Keyring([keyB]) });
  for (let tries = 0; mismatches(b).length === 0 && tries < 200; tries++) {
    a.transport.send(b.at, [encodeMessage(nack(1))]);
    await systemClock.sleep(5);
  }
  assertEquals(mismatches(b), [`differs ${a.at.port} packet`]);
});

Deno.test("Transport does not report garbage as a key mismatch", async () => {
  for (const keys of [undefined, new Keyring([keyA])]) {
    await using a = await peer("a", keys && { keys });
    const texts = ["GET / HTTP/1.1\r\n\r\n", "\n\n", "\x16\x03\x01\x02\x00\x01\x00", "SSH-2.0-x\r\n", "\x06"];
    for (const text of texts) {
      const connection = await systemConnections.dial(a.at, new AbortController().signal);
      const writer = connection.writable.getWriter();
      await writer.write(new TextEncoder().encode(text)).catch(() => {});
      await writer.close().catch(() => {});
      await connection.readable.getReader().read().catch(() => {});
      connection.close();
    }
    assertEquals(mismatches(a), []);
  }
});

Deno.test("Transport: a key changes without a packet lost: add everywhere, use everywhere, remove everywhere", async () => {
  const ringA = new Keyring([keyA]), ringB = new Keyring([keyA]);
  await using a = await peer("a", { keys: ringA });
  await using b = await peer("b", { keys: ringB });
  let sent = 0;
  const both = async () => {
    sent++;
    a.transport.send(b.at, [encodeMessage(nack(sent))]);
    b.transport.send(a.at, [encodeMessage(nack(sent))]);
    await a.seen(sent * 2 - 1); // each round hands up one packet to either side and one push/pull
    assertEquals(await a.transport.pushPull(b.at, stateOf("a")), stateOf("b"));
    assertEquals(await b.transport.pushPull(a.at, stateOf("b")), stateOf("a"));
    await a.seen(sent * 2);
    await b.seen(sent * 2);
  };
  await both();
  ringA.add(keyB);
  await both();
  ringB.add(keyB);
  await both();
  ringA.usePrimary(keyB);
  await both();
  ringB.usePrimary(keyB);
  await both();
  ringA.remove(keyA);
  await both();
  ringB.remove(keyA);
  await both();
  assertEquals([a.transport.metrics.dropped, b.transport.metrics.dropped], [{}, {}]);
});

Deno.test("openTransport() names the port that is in use, for UDP and for TCP", async () => {
  await using a = await peer("a");
  const options = {
    bind: a.at,
    label: new Uint8Array(0),
    keyring: undefined,
    compress: true,
    bindDatagrams,
    connections: systemConnections,
    clock: systemClock,
    random: systemRandom,
    log: new Memory(),
    handlers: {} as TransportHandlers,
  };
  const udp = await assertE2dError("address_in_use", () => openTransport(options));
  assert(udp.message.includes(`UDP "127.0.0.1:${a.at.port}"`), udp.message);
  const listener = await systemConnections.listen({ host: "127.0.0.1", port: 0 });
  const tcp = await assertE2dError("address_in_use", () => openTransport({ ...options, bind: listener.local }));
  assert(tcp.message.includes(`TCP "127.0.0.1:${listener.local.port}"`), tcp.message);
  listener.close();
  // The UDP half is given back; the runtime frees a closed socket on a later turn.
  for (let tries = 0;; tries++) {
    try {
      (await bindDatagrams(listener.local)).close();
      break;
    } catch (error) {
      if (tries === 100) throw error;
      await systemClock.sleep(1);
    }
  }
});

Deno.test("Transport goes on after handlers that throw, garbage on both sockets and peers that hang up", async () => {
  let broken = true;
  await using a = await peer("a", {}, {
    pushPull: () => {
      if (broken) throw new Error("handler broke");
      return stateOf("a");
    },
  });
  await using b = await peer("b");
  await assertE2dError("gossip_stream", () => b.transport.pushPull(a.at, stateOf("b")));
  broken = false;
  const socket = await bindDatagrams({ host: "127.0.0.1", port: 0 });
  for (let i = 0; i < 200; i++) {
    await socket.send(systemRandom.bytes(1 + Math.floor(systemRandom.float() * 1400)), a.at);
    if (i % 10 > 0) continue;
    const stream = await systemConnections.dial(a.at, AbortSignal.timeout(5000));
    const writer = stream.writable.getWriter();
    await writer.write(systemRandom.bytes(50));
    stream.close();
  }
  socket.close();
  b.transport.send(a.at, [encodeMessage(nack(9))]);
  assertEquals(await b.transport.pushPull(a.at, stateOf("b")), stateOf("a"));
  const { metrics } = a.transport;
  assert(Object.values(metrics.dropped).reduce((sum, count) => sum + count, 0) > 100, JSON.stringify(metrics));
});

Deno.test("Transport closes what is open, and its calls end, when it is closed", async () => {
  await using a = await peer("a");
  const silent = await systemConnections.listen({ host: "127.0.0.1", port: 0 });
  const accepted = (async () => {
    for await (const connection of silent.accept()) return connection;
  })();
  const exchange = a.transport.pushPull(silent.local, stateOf("a")).catch((error) => error);
  const connection = await accepted;
  await a.transport.close();
  await a.transport.close();
  assertEquals((await exchange).code, "gossip_closed");
  connection?.close();
  silent.close();
});

Deno.test("Transport closes a stream that sends nothing within the deadline", async () => {
  await using a = await peer("a");
  const silent = await systemConnections.listen({ host: "127.0.0.1", port: 0 });
  const accepted = (async () => {
    for await (const connection of silent.accept()) return connection;
  })();
  const error = await assertE2dError("gossip_stream", () => a.transport.pushPull(silent.local, stateOf("a"), 50));
  assert(error.message.includes("within 50 ms"), error.message);
  (await accepted)?.close();
  silent.close();
});

/** A socket on which garbage never ceases: there is always one more packet, without a wait. */
class Flood implements Datagrams {
  readonly local: HostPort;
  given = 0;
  #closed = false;

  constructor(local: HostPort) {
    this.local = local;
  }

  send(): Promise<void> {
    return Promise.resolve();
  }

  async *receive(): AsyncGenerator<Datagram> {
    while (!this.#closed) {
      const data = Uint8Array.from({ length: 40 }, (_, at) => (this.given * 31 + at * 17) & 255);
      yield {
        data,
        from: { host: `10.9.${this.given >> 8 & 255}.${this.given++ & 255}`, port: 1 + this.given % 60_000 },
      };
    }
  }

  close(): void {
    this.#closed = true;
  }
}

Deno.test("Transport serves streams during a flood that never ceases, and keeps nothing of it but counters", async () => {
  const flood = new Flood({ host: "127.0.0.1", port: 0 });
  const lines = { warn: 0 };
  const log: Logger = {
    debug() {},
    info() {},
    warn: () => void lines.warn++,
    error: (message) => {
      throw new Error(message);
    },
    with: () => log,
  };
  const transport = await openTransport({
    bind: flood.local,
    label: labelBytes(""),
    keyring: new Keyring([keyA]),
    compress: true,
    bindDatagrams: () => Promise.resolve(flood),
    connections: {
      dial: systemConnections.dial,
      async listen(at) {
        const listener = await systemConnections.listen(at);
        Object.assign(flood, { local: listener.local });
        return listener;
      },
    },
    clock: systemClock,
    random: systemRandom,
    log,
    handlers: {
      packet: () => {
        throw new Error("garbage was taken for a packet");
      },
      pushPull: () => stateOf("a"),
      pushPullAnswered() {},
      ping: () => true,
      user() {},
      keyMismatchesChanged() {},
    },
  });
  transport.start();
  await using b = await peer("b", { keys: new Keyring([keyA]) });
  const target = flood.local;
  while (flood.given < 50_000) assertEquals(await b.transport.pushPull(target, stateOf("b")), stateOf("a"));
  const dropped = transport.dropped();
  // One reason or two, however many senders and packets there were, and one line for each.
  assert(Object.keys(dropped).length <= 3, JSON.stringify(dropped));
  assert(lines.warn <= 3, `${lines.warn} lines`);
  assert(Object.values(dropped).reduce((sum, count) => sum + count, 0) >= 50_000 - 1, JSON.stringify(dropped));
  await transport.close();
});
