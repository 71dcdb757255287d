/** A temporary directory that is removed at the end of the scope: `await using dir = await temporaryDirectory();` */
export async function temporaryDirectory(): Promise<{ path: string } & AsyncDisposable> {
  const path = await Deno.makeTempDir({ prefix: "e2d-test-" });
  return {
    path,
    async [Symbol.asyncDispose]() {
      await Deno.remove(path, { recursive: true });
    },
  };
}

/** TCP ports of a loopback address that are free at this moment. */
export function freePorts(count: number, hostname = "127.0.0.1"): number[] {
  const listeners = Array.from({ length: count }, () => Deno.listen({ hostname, port: 0 }));
  const ports = listeners.map((listener) => (listener.addr as Deno.NetAddr).port);
  for (const listener of listeners) listener.close();
  return ports;
}

/**
 * How long a test on real processes waits for an expected state. It is not a measure of speed: it is longer than any
 * period of a protocol (gossip repairs a lost packet after 30 s) and any stall of a loaded machine.
 */
export const patienceMs = 120_000;

/**
 * Calls `probe` until it returns something other than undefined or false; only for tests on real processes.
 * Throws after `timeoutMs` with `what` and the last failure.
 */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  { timeoutMs = patienceMs, everyMs = 100 } = {},
): Promise<T> {
  const end = performance.now() + timeoutMs;
  let last: unknown;
  do {
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  } while (performance.now() < end);
  throw new Error(`waited ${timeoutMs} ms in vain for ${what}`, { cause: last });
}
