/** Notifications of a node to systemd, on a real datagram socket. */
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { freshHost, NodeProcess } from "./node_process.ts";

/** The socket of systemd. Each datagram is a set of variables. */
class NotifySocket implements AsyncDisposable {
  readonly path: string;
  readonly told: Record<string, string>[] = [];
  readonly #socket: Deno.DatagramConn;
  readonly #read: Promise<void>;
  #wake = () => {};

  constructor(directory: string) {
    this.path = `${directory}/notify`;
    this.#socket = Deno.listenDatagram({ transport: "unixpacket", path: this.path });
    this.#read = this.#receive();
  }

  /** Resolves with the number of the first set from `since` on that fits. */
  async first(fits: (set: Record<string, string>) => boolean, { since = 0, timeoutMs = 60_000 } = {}): Promise<number> {
    const signal = AbortSignal.timeout(timeoutMs);
    for (let at = since;; at++) {
      while (at >= this.told.length) {
        if (signal.aborted) throw new Error(`no such notice in ${timeoutMs} ms: ${JSON.stringify(this.told)}`);
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, 500);
          this.#wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
      if (fits(this.told[at]!)) return at;
    }
  }

  async #receive(): Promise<void> {
    for await (const [data] of this.#socket) {
      const lines = new TextDecoder().decode(data).split("\n");
      this.told.push(Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2))));
      this.#wake();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    await this.#read.catch(() => {});
  }
}

const service = (socket: string, watchdogUsec = "2000000") => ({ NOTIFY_SOCKET: socket, WATCHDOG_USEC: watchdogUsec });

Deno.test("systemd: a single node reports ready when it serves, sends watchdog notifications, and reports its stop", async () => {
  await using folder = await temporaryDirectory();
  await using socket = new NotifySocket(folder.path);
  await using node = new NodeProcess({ dataDir: `${folder.path}/data`, environment: service(socket.path) });
  const ready = await socket.first((set) => set.READY === "1");
  // Without a retry: a node that reported ready must serve. etcd answers this with a linearizable read.
  const health = await fetch(`${node.clientUrl}/health`, { signal: AbortSignal.timeout(30_000) });
  assertEquals((await health.json()).health, "true");
  assertEquals(socket.told[ready]!.STATUS, "serving as leader of 1 voting member");
  assert(socket.told.slice(0, ready).some(({ EXTEND_TIMEOUT_USEC }) => Number(EXTEND_TIMEOUT_USEC) > 0));
  let sign = ready;
  for (let count = 0; count < 3; count++) sign = await socket.first((set) => set.WATCHDOG === "1", { since: sign + 1 });
  const before = socket.told.length;
  assertEquals(await node.stop(), 0);
  await socket.first((set) => set.STOPPING === "1", { since: before });
  assertEquals(socket.told.filter(({ READY }) => READY === "1").length, 1);
  // systemd-notify would have requested one. systemd accepts notifications only from the main process.
  assertEquals(socket.told.filter(({ BARRIER }) => BARRIER !== undefined), []);
});

Deno.test("systemd: a node that waits for its peers reports ready and its wait reason", async () => {
  await using folder = await temporaryDirectory();
  await using socket = new NotifySocket(folder.path);
  await using node = new NodeProcess({
    dataDir: `${folder.path}/data`,
    environment: service(socket.path),
    args: ["-n=3", `--bootstrap-addrs=${freshHost()},${freshHost()}`],
  });
  const ready = await socket.first((set) => set.READY === "1");
  await socket.first((set) =>
    set.STATUS?.startsWith("gathering: no other node has answered by gossip yet: asked 127.") ?? false
  );
  assert(Number.isNaN(await node.etcdPid()) || await node.etcdPid() === 0, "no etcd runs before its peers are there");
  await socket.first((set) => set.WATCHDOG === "1", { since: ready + 1 });
  assertEquals(await node.stop(), 0);
});

Deno.test("systemd: a node that cannot run reports the reason as its status", async () => {
  await using folder = await temporaryDirectory();
  await using socket = new NotifySocket(folder.path);
  const host = freshHost();
  using _taken = Deno.listen({ hostname: host, port: 2380 });
  await using node = new NodeProcess({ host, dataDir: `${folder.path}/data`, environment: service(socket.path) });
  assertEquals(await node.exit(), 1);
  const last = await socket.first((set) => set.STATUS?.startsWith("cannot run: ") ?? false);
  assert(socket.told[last]!.STATUS!.includes(`${host}:2380`), socket.told[last]!.STATUS);
  assertEquals(socket.told.filter(({ READY }) => READY === "1"), []);
});

Deno.test("systemd: a socket in the abstract namespace is notified through systemd-notify", async () => {
  await using folder = await temporaryDirectory();
  const name = `e2d-test-${Deno.pid}-${crypto.randomUUID()}`;
  // Deno cannot listen there.
  const listener = new Deno.Command("python3", {
    args: [
      "-c",
      "import socket,sys\n" +
      "s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); s.bind('\\0'+sys.argv[1]); s.settimeout(60)\n" +
      "print('listening',flush=True)\n" +
      "while True:\n m=s.recv(4096).decode(); print(m,flush=True)\n if 'READY=1' in m: break",
      name,
    ],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const lines = listener.stdout.pipeThrough(new TextDecoderStream())[Symbol.asyncIterator]();
  let heard = (await lines.next()).value ?? "";
  await using node = new NodeProcess({
    dataDir: `${folder.path}/data`,
    environment: { NOTIFY_SOCKET: `@${name}` },
  });
  for (let next = await lines.next(); !next.done; next = await lines.next()) heard += next.value;
  assertEquals((await listener.status).code, 0);
  assert(heard.includes("READY=1"), heard);
  assertEquals(await node.stop(), 0);
});
