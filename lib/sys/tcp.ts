import { E2dError } from "../errors.ts";
import type { Connection, Connections, HostPort, Listener } from "../ports.ts";

/** The TCP of this machine. */
export const systemConnections: Connections = {
  async dial(to, signal) {
    try {
      return connection(await Deno.connect({ hostname: to.host, port: to.port, signal }));
    } catch (cause) {
      const message = signal.aborted ? "it was aborted" : (cause as Error).message;
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
          {
            cause,
            ...busy && { hint: `find the process that listens on port ${at.port} (ss -ltnp), or choose another port` },
          },
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
        // A peer that disconnects in the queue and a temporary lack of file descriptors must not end the listener. The
        // pause prevents a busy loop while the lack lasts.
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
 * Deno's own streams close the socket when either of them ends. These keep it open, so that a side that has sent
 * everything can still receive the answer.
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
