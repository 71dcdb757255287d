import { Buffer } from "node:buffer";
import { createSocket, type Socket } from "node:dgram";
import { E2dError } from "../errors.ts";
import type { Datagram, Datagrams, HostPort } from "../ports.ts";

/** Packets kept for a reader that is busy; with 64 KiB each, the most one socket can make this process hold is 32 MiB. */
const waitingMax = 512;
/**
 * What the kernel is asked to keep while this process is busy. Where it cannot be set (Deno 2.6 knows no such option)
 * the system's default stays, `net.core.rmem_default` on Linux.
 */
const receiveBufferBytes = 4 * 1024 * 1024;

/**
 * Binds a UDP socket; port 0 takes any free one. node:dgram, because Deno's own datagrams are behind an unstable flag.
 * Throws E2dError `address_in_use` or `udp_listen`.
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
      { cause, ...busy && { hint: `stop what listens on port ${at.port}, or choose another one` } },
    );
  }
  try {
    socket.setRecvBufferSize(receiveBufferBytes);
  } catch {
    // The default stays.
  }
  return new UdpSocket(socket);
}

class UdpSocket implements Datagrams {
  readonly local: HostPort;
  readonly #socket: Socket;
  readonly #waiting: Datagram[] = [];
  #wake: (() => void) | undefined;
  #closing = false;
  #closed = false;
  /** Packets that were thrown away because nobody had asked for them. */
  overflowed = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
    const { address, port } = socket.address();
    this.local = { host: address, port };
    socket.on("message", (message: Uint8Array<ArrayBuffer>, from: { address: string; port: number }) => {
      if (this.#waiting.length >= waitingMax) {
        this.#waiting.shift();
        this.overflowed++;
      }
      this.#waiting.push({
        data: new Uint8Array(message.buffer, message.byteOffset, message.byteLength),
        from: { host: from.address, port: from.port },
      });
      this.#wake?.();
    });
    // An error on an idle socket (an ICMP answer to an earlier packet) must not end the process; sends report their own.
    socket.on("error", () => {});
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

  async *receive(): AsyncGenerator<Datagram> {
    while (true) {
      const next = this.#waiting.shift();
      if (next) yield next;
      else if (this.#closed) return;
      else {
        await new Promise<void>((resolve) => this.#wake = resolve);
        this.#wake = undefined;
      }
    }
  }

  /** `receive` ends once the port is free again. */
  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#socket.close(() => {
      this.#closed = true;
      this.#wake?.();
    });
  }
}
