/**
 * Clusters of real memberlist nodes and nodes of e2d, for both generations, plain and encrypted, all at the same time: join
 * in both directions, metadata, messages, a minute of probes without a suspicion, leave, crash and return.
 */
import { assert, assertEquals } from "../support/assert.ts";
import { eventually } from "../support/fixtures.ts";
import { JsonProcess, type Line } from "./json_process.ts";
import { type OurNode, ourNode } from "./our_node.ts";
import { partProgram } from "./part_program.ts";
import { quietMinute } from "./quiet_minute.ts";

interface Variant {
  version: "0.2.0" | "0.7.0";
  sealed: boolean;
  /** Third number of the loopback addresses, so that the clusters cannot meet. */
  net: number;
  label?: string;
  goCompresses?: boolean;
}

const variants: Variant[] = [
  { version: "0.2.0", sealed: false, net: 61 },
  { version: "0.2.0", sealed: true, net: 62 },
  { version: "0.7.0", sealed: false, net: 63, goCompresses: false },
  { version: "0.7.0", sealed: true, net: 64, label: "prod-east" },
];

const key = Uint8Array.from({ length: 32 }, (_, at) => at * 7 & 255);
const text = (value: string) => new TextEncoder().encode(value);
const hexOf = (value: string) => text(value).toHex();

class Cluster {
  readonly #variant: Variant;

  constructor(variant: Variant) {
    this.#variant = variant;
  }

  host(number: number): string {
    return `127.0.${this.#variant.net}.${number}`;
  }

  async go(name: string, number: number, meta: string): Promise<JsonProcess> {
    const { version, sealed, label, goCompresses = true } = this.#variant;
    const args = ["-name", name, "-bind", this.host(number), "-meta", hexOf(meta), `-compress=${goCompresses}`];
    if (sealed) args.push("-key", key.toHex());
    if (label) args.push("-label", label);
    const peer = new JsonProcess(partProgram(`memberlist-${version}`, "memberlist-peer", "memberlist-peer"), args);
    await peer.event("its start", ({ event }) => event === "ready");
    return peer;
  }

  ours(name: string, number: number, meta: string, seeds: number[]): Promise<OurNode> {
    const { sealed, label } = this.#variant;
    return ourNode({
      name,
      host: this.host(number),
      meta: text(meta),
      seeds: seeds.map((seed) => this.host(seed)),
      ...sealed && { keys: [key] },
      ...label && { label },
    });
  }
}

const goSees = async (peer: JsonProcess) =>
  Object.fromEntries(
    ((await peer.request("members")).members as { name: string; meta: string }[])
      .map(({ name, meta }) => [name, new TextDecoder().decode(Uint8Array.fromHex(meta))]).sort(),
  );
const weSee = ({ gossip }: OurNode) =>
  Object.fromEntries(
    gossip.members().filter(({ state }) => state === "alive")
      .map(({ name, meta }) => [name, new TextDecoder().decode(meta)]).sort(),
  );
/** Runs an action immediately and every five seconds until it is disposed of. */
class Repeated implements AsyncDisposable {
  readonly #timer: number;
  #last: Promise<void>;

  constructor(once: () => Promise<void>) {
    this.#last = once();
    this.#timer = setInterval(() => this.#last = this.#last.then(once), 5_000);
  }

  async end(): Promise<void> {
    clearInterval(this.#timer);
    await this.#last;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}

/** The log lines of memberlist about suspected nodes and its own suspicion. */
const doubts = (peer: JsonProcess) =>
  peer.events.filter(({ event, text }) => event === "log" && /suspect|refut|failed|timeout/i.test(String(text)));

async function story(variant: Variant): Promise<void> {
  const cluster = new Cluster(variant);
  await using stack = new AsyncDisposableStack();

  // Join in both directions: ours has a Go node as its seed, and a Go node joins ours.
  const goA = stack.use(await cluster.go("go-a", 1, "meta of go-a"));
  const ourB = stack.use(await cluster.ours("our-b", 2, "meta of our-b", [1]));
  const goC = stack.use(await cluster.go("go-c", 3, "meta of go-c"));
  await eventually("our-b in go-a's list", async () => "our-b" in await goSees(goA));
  assertEquals((await goC.request("join", { addresses: [cluster.host(2) + ":7980"] })).joined, 1);
  let ourD = await cluster.ours("our-d", 4, "meta of our-d", [2]);
  stack.defer(() => ourD.gossip.close());
  const everybody = {
    "go-a": "meta of go-a",
    "go-c": "meta of go-c",
    "our-b": "meta of our-b",
    "our-d": "meta of our-d",
  };
  const allSee = async (what: string, expected: Record<string, string>, peers = [goA, goC], ours = [ourB, ourD]) => {
    const wanted = JSON.stringify(expected);
    await eventually(what, async () => {
      const lists = [...await Promise.all(peers.map(goSees)), ...ours.map(weSee)].map((list) => JSON.stringify(list));
      if (lists.some((list) => list !== wanted)) throw new Error(`they see ${lists.join("; ")}, not ${wanted}`);
      return true;
    });
  };
  await allSee("all see all with their metadata", everybody);

  // Changed metadata reaches the others in both directions.
  ourB.gossip.setMeta(text("new of our-b"));
  await goC.request("meta", { data: hexOf("new of go-c") });
  const changed = { ...everybody, "our-b": "new of our-b", "go-c": "new of go-c" };
  await allSee("all see the new metadata", changed);

  // Messages: gossiped, to one node over a stream, to one node in a packet.
  // A broadcast goes to random nodes four times and may miss one: it is sent until all have it.
  await using broadcasting = new Repeated(async () => {
    ourB.gossip.broadcast(text("from our-b to all"), "hello");
    await goA.request("broadcast", { data: hexOf("from go-a to all") });
  });
  await ourD.gossip.send("go-c", text("from our-d to go-c"));
  await goC.request("send", { to: "our-d", data: hexOf("from go-c to our-d, reliably"), reliable: true });
  const got = (message: string) => ({ event, data }: Line) => event === "message" && data === hexOf(message);
  await goA.event("a broadcast of ours", got("from our-b to all"));
  await goC.event("a broadcast of ours", got("from our-b to all"));
  await goC.event("a stream message of ours", got("from our-d to go-c"));
  await eventually(
    "messages of go",
    () =>
      ourB.messages.includes("from go-a to all") && ourD.messages.includes("from go-a to all") &&
      ourD.messages.includes("from go-c to our-d, reliably"),
  );
  await broadcasting.end();
  // v0.2.0 cannot send best-effort messages to a node: it uses the name as an address.
  if (variant.version !== "0.2.0") {
    await goC.request("send", { to: "our-b", data: hexOf("from go-c to our-b, as it comes") });
    await eventually("a packet message", () => ourB.messages.includes("from go-c to our-b, as it comes"));
  }

  // A minute of probes in all directions without a suspicion.
  const probes = () => [ourB, ourD].map(({ gossip }) => gossip.metrics().probes);
  const before = probes();
  await quietMinute(() => ({
    ours: [ourB, ourD].map(({ gossip }) => {
      const { suspicions, failures, probeFailures, refutations } = gossip.metrics();
      return { suspicions, failures, probeFailures, refutations };
    }),
    theirs: [goA, goC].map(doubts),
  }));
  probes().forEach((count, at) => assert(count > before[at]! + 20, `${count} probes`));
  for (const { gossip } of [ourB, ourD]) {
    const { failures, dropped, conflicts, refusedMerges } = gossip.metrics();
    assertEquals({ failures, dropped, conflicts, refusedMerges }, {
      failures: 0,
      dropped: {},
      conflicts: 0,
      refusedMerges: 0,
    });
  }
  await allSee("all still see all", changed);

  // Leave, and return under the same name.
  const leftAt = goA.events.length;
  const doubted = doubts(goA).length;
  await ourD.gossip.leave();
  await goA.event("our leave", ({ event, name }) => event === "leave" && name === "our-d", { from: leftAt });
  await ourD.gossip.close();
  assertEquals(doubts(goA).slice(doubted), [], "a leave is not a failure");
  ourD = await cluster.ours("our-d", 4, "our-d again", [1]);
  await allSee("our-d is back after its leave", { ...changed, "our-d": "our-d again" }, [goA, goC], [ourB, ourD]);
  await goC.request("leave");
  await eventually("go-c has left", () => ourB.gossip.members().find(({ name }) => name === "go-c")?.state === "left");
  await goC.kill();
  const goC2 = stack.use(await cluster.go("go-c", 3, "go-c again"));
  await goC2.request("join", { addresses: [cluster.host(4) + ":7980"] });
  const again = { ...changed, "our-d": "our-d again", "go-c": "go-c again" };
  await allSee("go-c is back after its leave", again, [goA, goC2], [ourB, ourD]);

  // Crash: detected by probes; the restarted node refutes its own death and is alive again.
  const crashedAt = goA.events.length;
  await Promise.all([ourD.gossip.close(), goC2.kill()]);
  await goA.event("our crash", ({ event, name }) => event === "leave" && name === "our-d", { from: crashedAt });
  await eventually(
    "go-c is found dead",
    () => ourB.changes.some(({ change, member }) => change === "failed" && member.name === "go-c"),
  );
  ourD = await cluster.ours("our-d", 4, "our-d, third life", [1]);
  const goC3 = stack.use(await cluster.go("go-c", 3, "go-c, third life"));
  await goC3.request("join", { addresses: [cluster.host(2) + ":7980"] });
  await allSee(
    "both are back after their crash",
    { ...again, "our-d": "our-d, third life", "go-c": "go-c, third life" },
    [goA, goC3],
    [ourB, ourD],
  );
}

/** The first test starts all clusters; each test waits for its own. */
let stories: Map<Variant, Promise<unknown>> | undefined;

for (const variant of variants) {
  const { version, sealed, label } = variant;
  Deno.test({
    name: `memberlist v${version}, ${sealed ? "sealed" : "plain"}${label ? ", labelled" : ""}: ` +
      "join, metadata, messages, a minute of probes, leave, crash and return",
    // The clusters of the other tests keep running meanwhile.
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      stories ??= new Map(variants.map((each) => [each, story(each).catch((error) => error)]));
      const failure = await stories.get(variant);
      if (failure !== undefined) throw failure;
    },
  });
}
