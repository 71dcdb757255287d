/**
 * Machines of their own on one machine: a network namespace for each node, and one that routes between them and this
 * process. Packets from one node to another are dropped in silence, in one direction or both. Needs root.
 */
const number = reserveNumber();
const subnet = `10.${200 + number}`;
const tag = `e2d${Deno.pid % 10_000}x${number}`;

async function ip(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("ip", { args }).output();
  if (!success) throw new Error(`ip ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}

export class Machines implements AsyncDisposable {
  readonly #router = `${tag}r`;
  readonly #count: number;
  readonly #dropped = new Set<string>();

  private constructor(count: number) {
    this.#count = count;
  }

  static async make(count: number): Promise<Machines> {
    const machines = new Machines(count);
    try {
      await machines.#make();
    } catch (error) {
      await machines[Symbol.asyncDispose]();
      throw error;
    }
    return machines;
  }

  address(at: number): string {
    return `${subnet}.${at + 1}.2`;
  }

  /** What a command line begins with to run on that machine. */
  inside(at: number): string[] {
    return ["ip", "netns", "exec", this.#name(at)];
  }

  /** The file that is that machine's network namespace. */
  namespace(at: number): string {
    return `/run/netns/${this.#name(at)}`;
  }

  /** The address under which every machine reaches the one between them. */
  get router(): string {
    return `${subnet}.0.2`;
  }

  insideRouter(): string[] {
    return ["ip", "netns", "exec", this.#router];
  }

  /** From now on nothing that `from` sends reaches `to`. */
  async drop(from: number, to: number): Promise<void> {
    const rule = `${from} ${to}`;
    if (this.#dropped.has(rule)) return;
    this.#dropped.add(rule);
    await ip("-n", this.#router, "rule", "add", "from", this.address(from), "to", this.address(to), "blackhole");
  }

  async cut(a: number, b: number): Promise<void> {
    await this.drop(a, b);
    await this.drop(b, a);
  }

  /** Cuts one machine off from all others; this process still reaches it. */
  async isolate(at: number): Promise<void> {
    for (let other = 0; other < this.#count; other++) if (other !== at) await this.cut(at, other);
  }

  async heal(): Promise<void> {
    for (const rule of this.#dropped) {
      const [from, to] = rule.split(" ").map(Number);
      await ip("-n", this.#router, "rule", "del", "from", this.address(from!), "to", this.address(to!), "blackhole");
    }
    this.#dropped.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (let at = 0; at < this.#count; at++) await ip("netns", "del", this.#name(at)).catch(() => {});
    await ip("netns", "del", this.#router).catch(() => {});
    await ip("link", "del", `${tag}h`).catch(() => {});
  }

  #name(at: number): string {
    return `${tag}n${at}`;
  }

  async #make(): Promise<void> {
    const router = this.#router;
    await ip("netns", "add", router);
    await ip("-n", router, "link", "set", "lo", "up");
    await ip("link", "add", `${tag}h`, "type", "veth", "peer", "name", "host", "netns", router);
    await ip("addr", "add", `${subnet}.0.1/24`, "dev", `${tag}h`);
    await ip("link", "set", `${tag}h`, "up");
    await ip("-n", router, "addr", "add", `${subnet}.0.2/24`, "dev", "host");
    await ip("-n", router, "link", "set", "host", "up");
    await ip("netns", "exec", router, "sysctl", "-qw", "net.ipv4.ip_forward=1");
    for (let at = 0; at < this.#count; at++) {
      const name = this.#name(at);
      const net = `${subnet}.${at + 1}`;
      await ip("netns", "add", name);
      await ip("link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", `n${at}`, "netns", router);
      await ip("-n", router, "addr", "add", `${net}.1/24`, "dev", `n${at}`);
      await ip("-n", router, "link", "set", `n${at}`, "up");
      await ip("-n", name, "addr", "add", `${net}.2/24`, "dev", "eth0");
      await ip("-n", name, "link", "set", "eth0", "up");
      await ip("-n", name, "link", "set", "lo", "up");
      await ip("-n", name, "route", "add", "default", "via", `${net}.1`);
      await ip("route", "add", `${net}.0/24`, "via", `${subnet}.0.2`);
    }
  }
}

/** Of nobody else on this machine: held by a port for as long as this process lives. */
function reserveNumber(): number {
  for (let number = 0; number < 50; number++) {
    // Left behind by a run that was killed.
    if (Deno.networkInterfaces().some(({ address }) => address.startsWith(`10.${200 + number}.`))) continue;
    try {
      Deno.listen({ hostname: `127.39.0.${number + 1}`, port: 1_025 }).unref();
      return number;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
  throw new Error("no range of networks is free");
}
