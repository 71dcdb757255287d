/** Names that two live addresses claim, and members of another cluster: by hand, one core alone. */
import type { SwimEffect } from "../../lib/gossip/swim/types.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { alive, Alone, changes, endpoint, record, sent } from "./swim_world.ts";

const pushPull = (...nodes: ReturnType<typeof record>[]) =>
  ({ kind: "pushPull", state: { kind: "pushPull", join: false, nodes, userState: new Uint8Array(0) } }) as const;

/** Pings over streams at an address for a name. */
function claimPings(effects: readonly SwimEffect[], name: string, number: number) {
  return effects.flatMap((effect) =>
    effect.kind === "streamPing" && effect.ping.node === name && effect.to.address[3] === number
      ? [effect.ping.sequence]
      : []
  );
}

const conflicts = (node: Alone) =>
  node.swim.conflicts().map(({ name, holder, claimer }) => `${name} ${holder.address[3]} ${claimer.address[3]}`);

Deno.test("Swim reports a name that two live addresses claim, and no claim of an address that does not answer for it", () => {
  const node = new Alone();
  node.hear(alive("b", 2));
  const [stale] = claimPings(node.hear(alive("b", 3)), "b", 3);
  assert(stale !== undefined);
  assertEquals(conflicts(node), [], "it may be old news of a node that has moved");
  node.pass(12_000);
  assertEquals(conflicts(node), []);

  node.hear(alive("b", 2, 5));
  const pings = node.hear(alive("b", 3));
  const [ping] = claimPings(pings, "b", 3), [holder] = claimPings(pings, "b", 2);
  node.feed({ kind: "streamPingAnswered", sequence: ping! });
  assertEquals(conflicts(node), [], "it may have moved there a moment ago");
  const answered = node.feed({ kind: "streamPingAnswered", sequence: holder! });
  assertEquals(answered.some(({ kind }) => kind === "conflicts"), true);
  assertEquals(conflicts(node), ["b 2 3"]);
});

Deno.test("Swim reports another live node of its own name, and lets that one know of itself", () => {
  const node = new Alone();
  const effects = node.feed(pushPull(record("self", 8, "alive"), record("b", 2, "alive")));
  const [ping] = claimPings(effects, "self", 8);
  const answered = node.feed({ kind: "streamPingAnswered", sequence: ping! });
  assertEquals(conflicts(node), ["self 1 8"]);
  const told = answered.find((effect) => effect.kind === "pushPull");
  assertEquals(told?.kind === "pushPull" && [...told.to.address], [10, 0, 0, 8]);
});

Deno.test("Swim ends a conflict when one of the two falls silent, and when the holder is dead", () => {
  const claimed = () => {
    const node = new Alone();
    node.hear(alive("b", 2));
    const pings = node.hear(alive("b", 3));
    for (const number of [2, 3]) {
      node.feed({ kind: "streamPingAnswered", sequence: claimPings(pings, "b", number)[0]! });
    }
    return node;
  };
  const silent = claimed();
  assertEquals(silent.pass(5_000).some(({ kind }) => kind === "conflicts"), false);
  assertEquals(conflicts(silent), ["b 2 3"]);
  assertEquals(silent.pass(6_000).some(({ kind }) => kind === "conflicts"), true);
  assertEquals(conflicts(silent), []);

  const dead = claimed();
  dead.hear({ kind: "dead", node: "b", incarnation: 1, from: "c" });
  assertEquals(conflicts(dead), []);
});

Deno.test("Swim looks into 16 claims at a time, however many it hears", () => {
  const node = new Alone();
  node.hear(alive("b", 2));
  let pings = 0;
  for (let number = 3; number < 100; number++) pings += claimPings(node.hear(alive("b", number)), "b", number).length;
  assertEquals(pings, 16);
});

Deno.test("Swim excludes members of another cluster: it does not probe them, gossip to them or gossip about them", () => {
  const node = new Alone();
  node.hear(alive("b", 2), alive("y", 9));
  node.feed({ kind: "shun", names: ["y"] });
  assertEquals(node.swim.members().map(({ name }) => name), ["self", "b"]);
  assertEquals(node.swim.state(false).nodes.map(({ name }) => name), ["self", "b"]);
  const effects = node.pass(60_000);
  assertEquals(effects.some((effect) => effect.kind === "send" && effect.to.address[3] === 9), false);
  // Nor does it take in again what others tell of it.
  assertEquals(changes(node.feed(pushPull(record("y", 9, "alive", 7)))), []);
  assertEquals(node.member("y"), undefined);
});

Deno.test("Swim answers a ping of a member of another cluster, and ignores its other messages", () => {
  const node = new Alone();
  node.hear(alive("b", 2), alive("y", 9));
  node.feed({ kind: "shun", names: ["y"] });
  const effects = node.hear({ kind: "ping", sequence: 3, node: "self" }, alive("z", 10));
  assertEquals(sent(effects).map(({ kind }) => kind), ["ack"]);
  assertEquals(node.member("z"), undefined);
  const seed = { host: "10.0.0.9", port: 7980 };
  assertEquals(changes(node.feed({ ...pushPull(record("z", 10, "alive")), seed })), []);
});

Deno.test("Swim forgets a silent member of another cluster, and accepts it again once it is not excluded", () => {
  const node = new Alone();
  node.hear(alive("b", 2), alive("y", 9));
  node.feed({ kind: "shun", names: ["y"] });
  for (let heard = 0; heard < 3; heard++) {
    assertEquals(changes(node.pass(60_000)).includes("y forgotten"), false);
    node.feed(pushPull(record("y", 9, "alive")));
  }
  assert(changes(node.pass(100_000)).includes("y forgotten"));
  node.hear(alive("y", 9, 2));
  node.feed({ kind: "shun", names: ["y"] });
  node.feed({ kind: "shun", names: [] });
  assertEquals(changes(node.feed(pushPull(record("y", 9, "alive", 3)))), ["y joined"]);
});

Deno.test("Swim does not exclude another node with the name or at the address of a foreign member", () => {
  const node = new Alone();
  node.hear(alive("y", 9));
  node.feed({ kind: "shun", names: ["y"] });
  assertEquals(changes(node.feed(pushPull(record("y", 5, "alive")))), ["y joined"]);
  const moved = new Alone();
  moved.hear(alive("y", 9));
  moved.feed({ kind: "shun", names: ["y"] });
  assertEquals(changes(moved.feed(pushPull(record("d", 9, "alive")))), ["y forgotten", "d joined"]);
  assertEquals(endpoint(9).address[3], moved.member("d")?.address[3]);
});
