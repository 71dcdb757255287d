/** The rules of the core, one at a time; the simulation tests them together. */
import { LogLimit } from "../../lib/gossip/log_limit.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { alive, Alone, changes, endpoint, record, sent } from "./swim_world.ts";

const suspect = (node: string, incarnation: number, from: string) =>
  ({ kind: "suspect", node, incarnation, from }) as const;
const dead = (node: string, incarnation: number, from: string) => ({ kind: "dead", node, incarnation, from }) as const;
const pushPull = (...nodes: ReturnType<typeof record>[]) =>
  ({ kind: "pushPull", state: { kind: "pushPull", join: false, nodes, userState: new Uint8Array(0) } }) as const;

Deno.test("Swim starts at incarnation 1, for a node of 0 is dead to memberlist", () => {
  const { swim } = new Alone();
  assertEquals([swim.self.incarnation, swim.self.state], [1, "alive"]);
});

Deno.test("Swim answers a ping for itself, to the source that it names, and none for another name", () => {
  const node = new Alone();
  const ping = { kind: "ping", sequence: 7, node: "self" } as const;
  const effects = node.hear({ ...ping, source: { ...endpoint(5), name: "b" } });
  const [effect] = effects;
  assert(effect?.kind === "send");
  assertEquals([...effect.to.address], [10, 0, 0, 5]);
  assertEquals(sent(effects)[0], { kind: "ack", sequence: 7, payload: new Uint8Array(0) });
  assertEquals(sent(node.hear({ ...ping, node: "another" })), []);
});

Deno.test("Swim accepts new members and newer records, and ignores older ones", () => {
  const node = new Alone();
  assertEquals(changes(node.hear(alive("b", 2, 3))), ["b joined"]);
  assertEquals(changes(node.hear(alive("b", 2, 3, { meta: Uint8Array.of(9) }))), [], "equal is not newer");
  assertEquals(changes(node.hear(alive("b", 2, 4, { meta: Uint8Array.of(9) }))), ["b updated"]);
  assertEquals(changes(node.hear(alive("b", 2, 2))), []);
  assertEquals(node.member("b")?.incarnation, 4);
});

Deno.test("Swim refuses records without sound versions, at incarnation 0, without a name or port, and one too many", () => {
  const node = new Alone({ membersMax: 2 });
  node.hear({ ...alive("b", 2), versions: undefined }, alive("b", 2, 0), alive("", 2));
  assertEquals([node.swim.members().length, node.swim.metrics.refusedRecords], [1, 3]);
  node.hear(alive("b", 2), alive("c", 3));
  assertEquals(node.swim.members().map(({ name }) => name), ["self", "b"]);
});

Deno.test("Swim leaves a name where it is until its holder has left: another address is a conflict", () => {
  const node = new Alone();
  node.hear(alive("b", 2));
  node.hear(alive("b", 3, 9));
  assertEquals([node.member("b")?.address[3], node.swim.metrics.conflicts], [2, 1]);
  node.hear(dead("b", 9, "b"));
  assertEquals(changes(node.hear(alive("b", 3, 1))), ["b joined"], "at any incarnation");
  assertEquals(node.member("b")?.address[3], 3);
});

Deno.test("Swim refutes what is said against it with a higher incarnation, and doubts itself a little more", () => {
  const node = new Alone();
  node.hear(suspect("self", 5, "b"));
  assertEquals([node.swim.self.incarnation, node.swim.load.health], [6, 1]);
  node.hear(dead("self", 6, "self"));
  assertEquals(node.swim.self.incarnation, 7);
  node.hear(suspect("self", 3, "b"));
  assertEquals(node.swim.self.incarnation, 7, "an old accusation is refuted already");
  node.hear(alive("self", 1, 7, { meta: Uint8Array.of(8) }));
  assertEquals(node.swim.self.incarnation, 8, "another's idea of this node's metadata is not let stand");
});

Deno.test("Swim declares a suspect dead in its time, sooner when others agree, never when it objects", () => {
  const times = (confirmations: number, objects = false) => {
    const node = new Alone({ probeIntervalMs: 1000 });
    node.hear(alive("b", 2), alive("c", 3), alive("d", 4), alive("e", 5));
    const startMs = node.nowMs;
    node.hear(suspect("b", 1, "c"));
    if (confirmations > 0) node.hear(suspect("b", 1, "d"));
    if (confirmations > 1) node.hear(suspect("b", 1, "e"));
    if (objects) node.hear(alive("b", 2, 2));
    while (node.nowMs - startMs < 40_000) {
      if (changes(node.pass(100)).includes("b failed")) return Math.round((node.nowMs - startMs) / 1000);
    }
    return undefined;
  };
  // This node's own probe of the suspect fails as well and is a confirmation of its own.
  assertEquals(times(2), 4);
  assert((times(0) ?? 0) > 4, "alone it takes longer");
  assert((times(2, true) ?? Infinity) > 6, "an objection ends the suspicion");
});

Deno.test("Swim treats a death in a peer's state as a suspicion, which a live member can refute", () => {
  const node = new Alone();
  node.hear(alive("b", 2), alive("c", 3));
  assertEquals(changes(node.feed(pushPull(record("b", 2, "dead"), record("c", 3, "left")))), ["b suspected", "c left"]);
  assertEquals(changes(node.hear(alive("b", 2, 2))), ["b trusted"]);
});

Deno.test("Swim refuses a whole state with an incompatible protocol version", () => {
  const node = new Alone();
  const stranger = record("c", 3, "alive");
  stranger.versions = { ...stranger.versions!, protocolMin: 6, protocolMax: 7, protocolCurrent: 6 };
  node.feed(pushPull(record("b", 2, "alive"), stranger));
  assertEquals([node.swim.members().length, node.swim.metrics.refusedMerges], [1, 1]);
});

Deno.test("Swim is not driven to the end of its incarnations by one hostile message", () => {
  const node = new Alone();
  node.hear(suspect("self", 0xffff_ffff, "b"), alive("b", 2, 0xffff_fffe));
  assertEquals([node.swim.self.incarnation, node.member("b")], [1, undefined]);
});

Deno.test("Swim probes directly, then through others and over a stream, then suspects the member", () => {
  const node = new Alone();
  node.hear(alive("b", 2));
  const effects = node.pass(2500);
  const ping = sent(effects).find(({ kind }) => kind === "ping");
  assert(ping?.kind === "ping" && ping.node === "b");
  assert(effects.some((effect) => effect.kind === "streamPing"), "a stream is tried");
  assertEquals(changes(effects), ["b suspected"]);
  assertEquals(node.swim.metrics.probeFailures >= 1, true);
});

Deno.test("Swim asks up to three others to probe, and an ack from one of them is an answer", () => {
  const node = new Alone();
  node.hear(alive("b", 2), alive("c", 3), alive("d", 4), alive("e", 5), alive("f", 6));
  const effects = node.pass(1600);
  const asked = sent(effects).filter(({ kind }) => kind === "indirectPing");
  assertEquals(asked.length, 3);
  const [request] = asked;
  assert(request?.kind === "indirectPing");
  node.hear({ kind: "ack", sequence: request.sequence, payload: new Uint8Array(0) });
  assertEquals(changes(node.pass(300)).includes(`${request.node} suspected`), false);
});

Deno.test("Swim does not suspect a member that answers only over a stream", () => {
  const node = new Alone();
  node.hear(alive("b", 2));
  for (let passedMs = 0; passedMs < 10_000; passedMs += 100) {
    for (const effect of node.pass(100)) {
      if (effect.kind === "streamPing") node.feed({ kind: "streamPingAnswered", sequence: effect.ping.sequence });
    }
  }
  assertEquals([node.member("b")?.state, node.swim.metrics.probeFailures], ["alive", 0]);
  assert(node.swim.metrics.streamOnlyProbes > 3);
});

Deno.test("Swim relays probes, passes acks on, and sends a nack without one", () => {
  const node = new Alone();
  const request = {
    kind: "indirectPing",
    sequence: 40,
    target: endpoint(3).address,
    port: 7980,
    node: "c",
    nack: true,
    source: { ...endpoint(2), name: "b" },
  } as const;
  const [ping] = sent(node.hear(request));
  assert(ping?.kind === "ping" && ping.node === "c");
  assertEquals(sent(node.hear({ kind: "ack", sequence: ping.sequence, payload: new Uint8Array(0) }))[0], {
    kind: "ack",
    sequence: 40,
    payload: new Uint8Array(0),
  });
  node.hear({ ...request, sequence: 41 });
  assertEquals(sent(node.pass(450)).filter(({ kind }) => kind === "nack"), [{ kind: "nack", sequence: 41 }]);
});

Deno.test("Swim suspects no member right after a pause: answers may wait unread", () => {
  const node = new Alone();
  node.hear(alive("b", 2), alive("c", 3));
  node.pass(1200);
  node.nowMs += 60_000;
  assertEquals(changes(node.feed({ kind: "wake" })), []);
  assertEquals(node.swim.metrics.pauses, 1);
});

Deno.test("Swim leaves: broadcasts it, reports the end, and does not refute it", () => {
  const node = new Alone();
  node.hear(alive("b", 2));
  const effects = [...node.feed({ kind: "leave" }), ...node.pass(3000)];
  assert(
    sent(effects).some((message) => message.kind === "dead" && message.node === "self" && message.from === "self"),
  );
  assertEquals(effects.filter(({ kind }) => kind === "leaveBroadcast").length, 1);
  node.hear(dead("self", 1, "self"), suspect("self", 1, "b"));
  assertEquals(node.swim.self.state, "left");
  const alone = new Alone();
  assert(
    alone.feed({ kind: "leave" }).some(({ kind }) => kind === "leaveBroadcast"),
    "with nobody to tell it is told at once",
  );
});

Deno.test("Swim contacts its seeds until one answers, and a lost member without end", () => {
  const seeds = [{ host: "10.0.0.2", port: 7980 }];
  const node = new Alone();
  const asked = (effects: ReturnType<Alone["pass"]>) => effects.filter(({ kind }) => kind === "pushPullSeed").length;
  let count = asked(node.feed({ kind: "setSeeds", seeds }));
  for (let second = 0; second < 10; second++) {
    node.feed({ kind: "pushPullFailed", seed: seeds[0]! });
    count += asked(node.pass(1000));
  }
  assert(count >= 7, `asked ${count} times in ten seconds`);
  node.feed({ ...pushPull(record("b", 2, "alive")), seed: seeds[0]! });
  assertEquals(changes(node.pass(20_000)).filter((change) => change === "b failed"), ["b failed"]);
  // Three hours later its record is long gone, and it is still called.
  let late = 0;
  for (let minute = 0; minute < 180; minute++) {
    node.feed({ kind: "pushPullFailed", seed: seeds[0]! });
    const times = asked(node.pass(60_000));
    if (minute >= 170) late += times;
  }
  assertEquals(node.member("b"), undefined);
  assert(late >= 10, `asked ${late} times in the last ten minutes`);
});

Deno.test("Swim.step() throws for commands that make no sense", async () => {
  const node = new Alone();
  await assertE2dError("gossip_meta", () => node.feed({ kind: "setMeta", meta: new Uint8Array(513) }));
  await assertE2dError("gossip_too_long", () => node.feed({ kind: "broadcast", data: new Uint8Array(1400), key: "k" }));
  await assertE2dError("gossip_busy", () => {
    for (let at = 0; at < 300; at++) node.feed({ kind: "broadcast", data: Uint8Array.of(1), key: `${at}` });
  });
});

Deno.test("Swim logs one line about one member however often its cause is repeated", () => {
  const node = new Alone();
  node.hear(alive("b", 2));
  const notes = (effects: ReturnType<Alone["hear"]>) => effects.filter(({ kind }) => kind === "log").length;
  const conflict = () => notes(node.hear(alive("b", 3, 9)));
  assertEquals([conflict(), conflict(), conflict()], [1, 0, 0]);
  assertEquals(node.swim.metrics.conflicts, 3);
});

Deno.test("NoteLimit lets the same be said once a minute, and of 256 things at most in one", () => {
  const limit = new LogLimit();
  assertEquals([limit.allows("a", 0), limit.allows("a", 59_999), limit.allows("a", 60_000)], [true, false, true]);
  for (let at = 1; at < 256; at++) assertEquals(limit.allows(`b${at}`, 60_001), true);
  assertEquals(limit.allows("one more", 60_002), false);
  assertEquals(limit.allows("one more", 120_001), true);
});

Deno.test("Swim broadcasts to every member of a cluster of four under concurrent probes", () => {
  const node = new Alone();
  node.hear(alive("b", 2), alive("c", 3), alive("d", 4));
  node.pass(5000);
  const effects = node.feed({ kind: "broadcast", data: Uint8Array.of(42), key: "status" });
  // Pings of one member must not use up what all are to hear.
  for (let sequence = 0; sequence < 10; sequence++) {
    effects.push(...node.hear({ kind: "ping", sequence, node: "self" }));
  }
  effects.push(...node.pass(1000));
  const told = effects.flatMap((effect) =>
    effect.kind === "send" && sent([effect]).some(({ kind }) => kind === "user") ? [effect.to.address[3]] : []
  );
  assertEquals(told.sort(), [2, 3, 4]);
});
