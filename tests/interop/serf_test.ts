/**
 * `serf agent`, an independent memberlist peer: join in both directions, tags and metadata, a minute of probes, leave,
 * crash and return; plain and encrypted at the same time.
 */
import { assert, assertEquals } from "../support/assert.ts";
import { eventually, patienceMs } from "../support/fixtures.ts";
import { part } from "../support/parts.ts";
import { withTimeout } from "./json_process.ts";
import { type OurNode, ourNode } from "./our_node.ts";
import { quietMinute } from "./quiet_minute.ts";

const serf = () => part("serf-0.9.4", "serf");
const key = Uint8Array.from({ length: 32 }, (_, at) => at * 11 & 255);

/** Serf stores tags in the metadata: a mark, then a msgpack map. */
const tags = (role: string) => Uint8Array.from([0xff, 0x81, ...raw("role"), ...raw(role)]);
const raw = (value: string) => [0xa0 | value.length, ...new TextEncoder().encode(value)];
/** Serf requires its own delegate versions, which other programs on memberlist do not have. */
const versions = {
  protocolMin: 1,
  protocolMax: 5,
  protocolCurrent: 2,
  delegateMin: 2,
  delegateMax: 5,
  delegateCurrent: 4,
};

interface SerfMember {
  name: string;
  addr: string;
  tags: Record<string, string>;
  status: string;
}

class Serf implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #rpc: string;
  readonly #logged: Promise<void>;
  log = "";

  constructor(name: string, host: string, role: string, sealed: boolean) {
    this.#rpc = `${host}:7373`;
    const args = ["agent", `-node=${name}`, `-bind=${host}:7980`, `-rpc-addr=${this.#rpc}`, "-tag", `role=${role}`];
    if (sealed) args.push(`-encrypt=${key.toBase64()}`);
    const child = new Deno.Command(serf(), { args: [...args, "-log-level=debug"], stdout: "piped", stderr: "null" })
      .spawn();
    this.#child = child;
    this.#logged = (async () => {
      for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) this.log += chunk;
    })();
  }

  async run(command: string, ...args: string[]): Promise<string> {
    const child = new Deno.Command(serf(), { args: [command, `-rpc-addr=${this.#rpc}`, ...args] });
    const { success, stdout, stderr } = await withTimeout(child.output(), patienceMs, `serf ${command}`);
    if (!success) throw new Error(`serf ${command}: ${new TextDecoder().decode(stderr)}`);
    return new TextDecoder().decode(stdout);
  }

  async members(): Promise<SerfMember[]> {
    return JSON.parse(await this.run("members", "-format=json")).members;
  }

  async member(name: string): Promise<SerfMember | undefined> {
    return (await this.members()).find((member) => member.name === name);
  }

  /** The log lines of serf's memberlist about suspected nodes and its own suspicion. */
  doubts(): string[] {
    return this.log.split("\n").filter((line) => /suspect|refut|no acks|timeout/i.test(line));
  }

  async kill(): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    await this.#child.status;
    await this.#logged;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

const stateOf = (node: OurNode, name: string) => node.gossip.members().find((member) => member.name === name)?.state;

async function story(net: number, sealed: boolean): Promise<void> {
  const host = (number: number) => `127.0.${net}.${number}`;
  await using stack = new AsyncDisposableStack();
  const ours = (number: number, role: string, seeds: number[]) =>
    ourNode({
      name: `our-${number}`,
      host: host(number),
      meta: tags(role),
      versions,
      seeds: seeds.map(host),
      ...sealed && { keys: [key] },
    });

  let agent = stack.use(new Serf("serf-1", host(1), "db", sealed));
  await eventually("the agent", async () => (await agent.members()).length === 1);
  let our2 = await ours(2, "e2d", [1]);
  stack.defer(() => our2.gossip.close());
  const our3 = stack.use(await ours(3, "e2d", []));
  await agent.run("join", `${host(3)}:7980`);
  await eventually("everybody in serf's list", async () => {
    const list = await agent.members();
    return list.length === 3 && list.every(({ status }) => status === "alive");
  });
  assertEquals((await agent.member("our-2"))?.tags, { role: "e2d" });
  for (const node of [our2, our3]) {
    await eventually("everybody in our list", () => node.gossip.metrics().members.alive === 3);
    assertEquals(node.gossip.members().find(({ name }) => name === "serf-1")?.meta, tags("db"));
  }
  our2.gossip.setMeta(tags("new"));
  await agent.run("tags", "-set", "role=other");
  await eventually("our new tags", async () => (await agent.member("our-2"))?.tags.role === "new");
  await eventually(
    "serf's new tags",
    () => our3.gossip.members().find(({ name }) => name === "serf-1")?.meta.toHex() === tags("other").toHex(),
  );

  const probes = () => [our2, our3].map(({ gossip }) => gossip.metrics().probes);
  const before = probes();
  await quietMinute(() => ({
    ours: [our2, our3].map(({ gossip }) => {
      const { suspicions, probeFailures, failures } = gossip.metrics();
      return { suspicions, probeFailures, failures };
    }),
    theirs: agent.doubts(),
  }));
  probes().forEach((count, at) => assert(count > before[at]! + 20, `${count} probes`));
  for (const { gossip } of [our2, our3]) {
    const { failures, dropped } = gossip.metrics();
    assertEquals({ failures, dropped }, { failures: 0, dropped: {} });
  }

  // Ours leaves and returns. Serf reports a failure unless it received its own leave intent.
  await our2.gossip.leave();
  await eventually("our leave", async () => (await agent.member("our-2"))?.status !== "alive");
  await our2.gossip.close();
  our2 = await ours(2, "back", [1]);
  await eventually("our return", async () => {
    const member = await agent.member("our-2");
    return member?.status === "alive" && member.tags.role === "back";
  });

  await agent.run("leave");
  await eventually("serf has left", () => stateOf(our3, "serf-1") === "left");
  await agent.kill();
  agent = stack.use(new Serf("serf-1", host(1), "db", sealed));
  await eventually("the agent again", () => agent.run("join", `${host(3)}:7980`).then(() => true));
  await eventually("serf is back", () => stateOf(our2, "serf-1") === "alive");

  await our2.gossip.close();
  await agent.kill();
  await eventually(
    "serf is found dead",
    () => our3.changes.some(({ change, member }) => change === "failed" && member.name === "serf-1"),
  );
  agent = stack.use(new Serf("serf-1", host(1), "db", sealed));
  await eventually("the agent once more", () => agent.run("join", `${host(3)}:7980`).then(() => true));
  await eventually("serf is back from the dead", () => stateOf(our3, "serf-1") === "alive");
  our2 = await ours(2, "third", [1]);
  await eventually("our return from the dead", async () => (await agent.member("our-2"))?.status === "alive");
}

let stories: Promise<unknown>[] | undefined;

for (const [at, sealed] of [false, true].entries()) {
  Deno.test({
    name: `serf agent, ${sealed ? "sealed" : "plain"}: join, tags, a minute of probes, leave, crash and return`,
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      stories ??= [false, true].map((sealed, at) => story(71 + at, sealed).catch((error) => error));
      const failure = await stories[at];
      if (failure !== undefined) throw failure;
    },
  });
}
