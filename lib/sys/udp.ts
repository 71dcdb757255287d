/** UDP over node:dgram, because Deno's own datagrams need an unstable flag. */
import { Buffer } from "node:buffer";
import { createSocket, type Socket } from "node:dgram";
import { E2dError } from "../errors.ts";
import type { Datagram, Datagrams, HostPort } from "../ports.ts";
import { NewestQueue } from "./newest_queue.ts";

/** Packets kept for a busy reader: at 64 KiB each, 32 MiB for one socket. */
const queueMax = 512;
/**
 * The kernel's buffer while this process is busy. Deno 2.6 cannot set it, so the system's default applies there
 * (`net.core.rmem_default` on Linux).
 */
const receiveBufferBytes = 4 * 1024 * 1024;

/**
 * Binds a UDP socket. Port 0 takes any free port. Throws E2dError `address_in_use` or `udp_listen`.
 */
export async function bindDatagrams(at: HostPort): Promise<Datagrams> {
  const socket = createSocket(at.host.includes(":") ? "udp6" : "udp4");
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind(at.port, at.host, () => {
        socket.off("error", reject);
        resolve();
      });
    });
  } catch (cause) {
    try {
      socket.close();
    } catch {
      // A socket that failed to bind may be closed already.
    }
    const busy = (cause as { code?: string }).code === "EADDRINUSE";
    throw new E2dError(
      busy ? "address_in_use" : "udp_listen",
      `Cannot listen on UDP "${at.host}:${at.port}": ${busy ? "the port is in use" : (cause as Error).message}`,
      {
        cause,
        ...busy && { hint: `find the process that listens on port ${at.port} (ss -lunp), or choose another port` },
      },
    );
  }
  try {
    socket.setRecvBufferSize(receiveBufferBytes);
  } catch {
    // The system's default applies.
  }
  return new UdpSocket(socket);
}

class UdpSocket implements Datagrams {
  readonly local: HostPort;
  readonly #socket: Socket;
  readonly #received = new NewestQueue<Datagram>(queueMax);
  #closing = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    const { address, port } = socket.address();
    this.local = { host: address, port };
    socket.on("message", (message: Uint8Array<ArrayBuffer>, from: { address: string; port: number }) => {
      this.#received.push({
        data: new Uint8Array(message.buffer, message.byteOffset, message.byteLength),
        from: { host: from.address, port: from.port },
      });
    });
    // An error of an idle socket (an ICMP answer to an earlier packet) must not end the process; sends report their own.
    socket.on("error", () => {});
  }

  /** Packets that were dropped because the reader was too slow. */
  get overflowed(): number {
    return this.#received.dropped;
  }

  send(data: Uint8Array, to: HostPort): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (cause: unknown) => {
        const message = cause instanceof Error ? cause.message : String(cause);
        reject(new E2dError("udp_send", `Cannot send to UDP "${to.host}:${to.port}": ${message}`, { cause }));
      };
      if (this.#closing) return fail("the socket is closed");
      try {
        const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
        this.#socket.send(bytes, to.port, to.host, (error) => error ? fail(error) : resolve());
      } catch (error) {
        fail(error);
      }
    });
  }

  receive(): AsyncGenerator<Datagram> {
    return this.#received.read();
  }

  /** `receive` ends when the port is free again. */
  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#socket.close(() => this.#received.close());
  }
}
