/**
 * One wrong bootstrap address joins the gossip of two clusters: how they come apart, and when a node of the Go original,
 * which knows nothing of this, is among them. What a core would conclude from facts is said here after seven seconds.
 */
import { assert, assertEquals } from "../support/assert.ts";
import { GossipWorld, type Machine } from "../sim/gossip_world.ts";

const rounds = 40;

class TwoClusters {
  readonly world = new GossipWorld({ seed: 5 });
  readonly x = ["x1", "x2", "x3"].map((name) => this.world.addMachine(name));
  readonly y = ["y1", "y2", "y3"].map((name) => this.world.addMachine(name));
  /** Nodes that keep apart from nobody. */
  readonly bridges: Machine[] = [];
  readonly #knownSinceMs = new Map<string, number>();

  constructor() {
    const at = (machine: Machine) => this.world.hostPort(machine);
    for (const each of this.x) this.world.seedsOf.set(each.name, this.x.map(at));
    for (const each of this.y) this.world.seedsOf.set(each.name, this.y.map(at));
    // The mistake.
    this.world.seedsOf.set("x1", [...this.x, this.y[0]!].map(at));
  }

  run(seconds: number): void {
    for (let second = 0; second < seconds; second++) {
      this.world.clock.runFor(1_000);
      for (const [own, other] of [[this.x, this.y], [this.y, this.x]] as const) {
        for (const machine of own) this.#judge(machine, other);
      }
    }
  }

  sees(machine: Machine): string[] {
    return machine.process!.swim.members().filter(({ state }) => state === "alive").map(({ name }) => name).sort();
  }

  #judge(machine: Machine, other: readonly Machine[]): void {
    if (machine.process === undefined) return;
    const known = this.sees(machine);
    const due: string[] = [];
    for (const { name } of other) {
      const key = `${machine.name} ${name}`;
      const since = this.#knownSinceMs.get(key);
      if (since === undefined && known.includes(name)) this.#knownSinceMs.set(key, this.world.clock.nowMs);
      else if (since !== undefined && this.world.clock.nowMs - since >= 7_000) due.push(name);
    }
    this.world.shun(machine, due);
  }
}

Deno.test("two clusters joined by one wrong address separate, suspect no node, and stay separate", () => {
  const both = new TwoClusters();
  for (const machine of [...both.x, ...both.y]) both.world.start(machine);
  both.run(5);
  assertEquals(both.sees(both.x[2]!), ["x1", "x2", "x3", "y1", "y2", "y3"], "joined by mistake");
  both.run(20);
  for (let round = 0; round < rounds; round++) {
    both.run(15);
    for (const machine of both.x) assertEquals(both.sees(machine), ["x1", "x2", "x3"]);
    for (const machine of both.y) assertEquals(both.sees(machine), ["y1", "y2", "y3"]);
  }
  const swims = both.world.live().map(({ process }) => process!.swim.metrics);
  assertEquals(swims.map(({ failures }) => failures), [0, 0, 0, 0, 0, 0]);
});

Deno.test("after the wrong address is gone nothing of the other cluster is left, and a restarted node meets its own alone", () => {
  const both = new TwoClusters();
  for (const machine of [...both.x, ...both.y]) both.world.start(machine);
  both.run(60);
  both.world.seedsOf.set("x1", both.x.map((machine) => both.world.hostPort(machine)));
  both.world.kill(both.x[0]!);
  both.run(3);
  both.world.start(both.x[0]!);
  both.run(200);
  for (const machine of both.x) {
    both.world.shun(machine, []);
    assertEquals(both.sees(machine), ["x1", "x2", "x3"]);
  }
  both.world.clock.runFor(120_000);
  for (const machine of both.x) assertEquals(both.sees(machine), ["x1", "x2", "x3"]);
});

Deno.test("a node that excludes no member gossips about both clusters, and the others stay separate", () => {
  const both = new TwoClusters();
  const go = both.world.addMachine("go");
  both.world.seedsOf.set("go", [both.x[0]!, both.y[0]!].map((machine) => both.world.hostPort(machine)));
  for (const machine of [...both.x, ...both.y, go]) both.world.start(machine);
  both.run(60);
  for (let round = 0; round < rounds; round++) {
    both.run(5);
    for (const machine of both.x) assertEquals(both.sees(machine), ["go", "x1", "x2", "x3"]);
    for (const machine of both.y) assertEquals(both.sees(machine), ["go", "y1", "y2", "y3"]);
  }
  assert(both.sees(go).length === 7, both.sees(go).join(" "));
});
