/** A stranger on the network: sockets that send what no member would, and a look at what it costs the node. */
import { encodeMessage } from "../../lib/gossip/wire/message_codec.ts";
import type { Alive, PushPull } from "../../lib/gossip/wire/message.ts";
import { encodePacket } from "../../lib/gossip/wire/packet.ts";
import type { Connections, Datagrams, HostPort } from "../../lib/ports.ts";
import { systemRandom } from "../../lib/sys/random.ts";
import { systemConnections } from "../../lib/sys/tcp.ts";
import { bindDatagrams } from "../../lib/sys/udp.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const versions = {
  protocolMin: 1,
  protocolMax: 5,
  protocolCurrent: 2,
  delegateMin: 0,
  delegateMax: 0,
  delegateCurrent: 0,
};
const place = { address: Uint8Array.of(127, 0, 0, 66), port: 7980, meta: new Uint8Array(0) };

export const aliveAs = (node: string): Alive => ({ kind: "alive", incarnation: 9, node, ...place, versions });

export const stateAs = (name: string): PushPull => ({
  kind: "pushPull",
  join: true,
  nodes: [{ name, incarnation: 9, state: "alive", ...place, versions }],
  userState: new Uint8Array(0),
});

/** Packets of somebody who has no key, or a wrong one; `count` of them, all different. */
export function strangersPackets(count: number, wrongKey: Bytes): Bytes[] {
  const wrap = (key: Bytes | undefined, name: string) =>
    encodePacket([encodeMessage(aliveAs(name))], {
      label: new Uint8Array(0),
      key,
      nonce: () => systemRandom.bytes(12),
      compress: false,
    });
  return Array.from({ length: count }, (_, at) => {
    switch (at % 4) {
      case 0:
        return systemRandom.bytes(1 + Math.floor(systemRandom.float() * 1400));
      // As large as a packet can be.
      case 1:
        return systemRandom.bytes(60_000);
      case 2:
        return wrap(undefined, `evil-${at}`);
      default:
        return wrap(wrongKey, `evil-${at}`);
    }
  });
}

/** Sends the packets again and again, as fast as one thread can; returns how many. */
export async function flood(to: HostPort, packets: readonly Bytes[], forMs: number): Promise<number> {
  const socket = await bindDatagrams({ host: "127.0.0.1", port: 0 });
  const endMs = performance.now() + forMs;
  let sent = 0;
  while (performance.now() < endMs) {
    // Together, so that the socket is never idle; bounded, so that they do not pile up here.
    await Promise.all(
      Array.from({ length: 64 }, () => socket.send(packets[sent++ % packets.length]!, to).catch(() => {})),
    );
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  socket.close();
  return sent;
}

/** Opens connections that send `head` and then one byte in `everyMs`; whoever is hung up on comes again. */
export class Loris implements AsyncDisposable {
  readonly #end = new AbortController();
  readonly #callers: Promise<void>[];
  dialled = 0;

  constructor(to: HostPort, { count, head, everyMs }: { count: number; head: (at: number) => Bytes; everyMs: number }) {
    this.#callers = Array.from({ length: count }, (_, at) => this.#call(to, head(at), everyMs));
  }

  async #call(to: HostPort, head: Bytes, everyMs: number): Promise<void> {
    while (!this.#end.signal.aborted) {
      let connection: Deno.TcpConn | undefined;
      try {
        connection = await Deno.connect({ hostname: to.host, port: to.port });
        this.dialled++;
        for (let at = 0; at < head.length;) at += await connection.write(head.subarray(at));
        for (;;) {
          await pause(everyMs, this.#end.signal);
          await connection.write(new Uint8Array(1));
        }
      } catch {
        // Hung up on, or at its end.
      } finally {
        connection?.close();
      }
      await pause(100, this.#end.signal).catch(() => {});
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await Promise.all(this.#callers);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

/** Ports for a gossip node that keep what arrives and what it says over streams, as who listens on the wire would. */
export class Wire {
  readonly packets: Bytes[] = [];
  readonly streams: Bytes[] = [];

  readonly bindDatagrams = async (at: HostPort): Promise<Datagrams> => {
    const socket = await bindDatagrams(at);
    const { packets } = this;
    return {
      local: socket.local,
      send: (data, to) => socket.send(data, to),
      async *receive() {
        for await (const datagram of socket.receive()) {
          if (packets.length < 5_000) packets.push(datagram.data.slice() as Bytes);
          yield datagram;
        }
      },
      close: () => socket.close(),
    };
  };

  readonly connections: Connections = {
    listen: systemConnections.listen,
    dial: async (to, signal) => {
      const connection = await systemConnections.dial(to, signal);
      const said: number[] = [];
      const writer = connection.writable.getWriter();
      return {
        ...connection,
        writable: new WritableStream<Bytes>({
          write: async (data) => {
            said.push(...data);
            await writer.write(data);
          },
        }),
        close: () => {
          if (said.length > 0) this.streams.push(Uint8Array.from(said));
          connection.close();
        },
      };
    },
  };
}

/** Sends it all, and gives the number of bytes that come back until the other side hangs up. */
export async function callWith(to: HostPort, bytes: Bytes): Promise<number> {
  const connection = await Deno.connect({ hostname: to.host, port: to.port });
  let open = true;
  const close = () => {
    if (open) connection.close();
    open = false;
  };
  const timer = setTimeout(close, 15_000);
  let answered = 0;
  try {
    for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
    await connection.closeWrite();
    const chunk = new Uint8Array(16_384);
    for (let count = await connection.read(chunk); count !== null; count = await connection.read(chunk)) {
      answered += count;
    }
  } catch {
    // Reset: it hung up with our bytes unread.
  } finally {
    clearTimeout(timer);
    close();
  }
  return answered;
}

/** The memory that a process has in use, MiB, at most, until it is disposed of. */
export class MemoryWatch implements Disposable {
  readonly #timer: ReturnType<typeof setInterval>;
  mostMiB = 0;

  constructor(readonly pid: number) {
    this.mostMiB = memoryMiB(pid);
    this.#timer = setInterval(() => this.mostMiB = Math.max(this.mostMiB, memoryMiB(pid)), 100);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

export function memoryMiB(pid: number): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
}
