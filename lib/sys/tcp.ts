import { E2dError } from "../errors.ts";
import type { Connection, Connections, HostPort, Listener } from "../ports.ts";

/** TCP of the machine. */
export const systemConnections: Connections = {
  async dial(to, signal) {
    try {
      return connection(await Deno.connect({ hostname: to.host, port: to.port, signal }));
    } catch (cause) {
      const message = signal.aborted ? "it was given up" : (cause as Error).message;
      throw new E2dError("tcp_dial", `Cannot connect to "${to.host}:${to.port}": ${message}`, { cause });
    }
  },

  listen(at) {
    let listener: Deno.TcpListener;
    try {
      listener = Deno.listen({ hostname: at.host, port: at.port });
    } catch (cause) {
      const busy = cause instanceof Deno.errors.AddrInUse;
      return Promise.reject(
        new E2dError(
          busy ? "address_in_use" : "tcp_listen",
          `Cannot listen on TCP "${at.host}:${at.port}": ${busy ? "the port is in use" : (cause as Error).message}`,
          { cause, ...busy && { hint: `stop what listens on port ${at.port}, or choose another one` } },
        ),
      );
    }
    return Promise.resolve(new TcpListener(listener));
  },
};

class TcpListener implements Listener {
  readonly local: HostPort;
  readonly #listener: Deno.TcpListener;
  #closed = false;

  constructor(listener: Deno.TcpListener) {
    this.#listener = listener;
    this.local = { host: listener.addr.hostname, port: listener.addr.port };
  }

  async *accept(): AsyncGenerator<Connection> {
    while (!this.#closed) {
      let accepted: Deno.TcpConn;
      try {
        accepted = await this.#listener.accept();
      } catch {
        if (this.#closed) return;
        // A peer that hangs up in the queue, or no file descriptor left for a moment, is no reason to stop listening;
        // the pause keeps a lasting shortage from becoming a busy loop.
        await new Promise((resolve) => setTimeout(resolve, 50));
        continue;
      }
      yield connection(accepted);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#listener.close();
  }
}

/** Bytes of one read. */
const chunkBytes = 16 * 1024;

/**
 * Streams of our own over the socket: those of Deno free it when either of them ends, but a side that has said all it
 * had to say still wants to hear the answer.
 */
function connection(tcp: Deno.TcpConn): Connection {
  let closed = false;
  const close = () => {
    if (closed) return;
    closed = true;
    tcp.close();
  };
  return {
    remote: { host: tcp.remoteAddr.hostname, port: tcp.remoteAddr.port },
    readable: new ReadableStream({
      async pull(controller) {
        const chunk = new Uint8Array(chunkBytes);
        const count = await tcp.read(chunk);
        if (count === null) controller.close();
        else controller.enqueue(chunk.subarray(0, count));
      },
    }, { highWaterMark: 0 }),
    writable: new WritableStream({
      async write(data) {
        for (let at = 0; at < data.length;) at += await tcp.write(data.subarray(at));
      },
      close: () => tcp.closeWrite(),
      abort: close,
    }),
    close,
  };
}
