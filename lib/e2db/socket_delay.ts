/**
 * TCP_NODELAY for gRPC on Deno. A gRPC call is two small HTTP/2 frames, headers and data; with Nagle's algorithm the
 * second waits for the acknowledgement of the first, which the other side delays by 40 ms. Node turns the algorithm off
 * for HTTP/2; Deno's node:http2 (2.6) does not, and its Socket.setNoDelay is lost when called before the connection is
 * made. grpc-js gives no hold on its sockets, so the one method they all begin with is extended, once for the process.
 */
let done = false;

export async function turnOffSocketDelay(): Promise<void> {
  // deno-lint-ignore no-explicit-any -- `navigator` is not in every platform's types
  const agent: unknown = (globalThis as any).navigator?.userAgent;
  if (done || typeof agent !== "string" || !agent.startsWith("Deno/")) return;
  done = true;
  const { Socket } = await import("node:net");
  const connect = Socket.prototype.connect as (...args: unknown[]) => unknown;
  Socket.prototype.connect = function (this: InstanceType<typeof Socket>, ...args: unknown[]) {
    this.once("connect", () => this.setNoDelay(true));
    return connect.apply(this, args);
  } as typeof Socket.prototype.connect;
}
