/**
 * Keeps a broken or abandoned HTTP/2 stream from ending the process on Deno (2.6.10).
 *
 * While it reads an HTTP/2 stream, node:http2 starts promises that it does not await. When the server is killed during an
 * answer, or the stream was cancelled, they fail as unhandled rejections, which end the process. The call itself fails
 * through the error of its connection.
 */
interface ClientStream {
  destroyed: boolean;
  closed: boolean;
  push(chunk: null): void;
}

let applied = false;

/** For the whole process. Idempotent. */
export async function containStreamFailures(): Promise<void> {
  if (applied) return;
  applied = true;
  const { ClientHttp2Stream } = await import("node:http2") as unknown as {
    ClientHttp2Stream?: { prototype: { _read(this: ClientStream, size: number): void } };
  };
  // Later releases (2.9) implement streams differently and do not export the class.
  if (ClientHttp2Stream !== undefined) {
    const read = ClientHttp2Stream.prototype._read;
    // A closed stream has no resource to read from, but is not destroyed before its reader has reached the end.
    ClientHttp2Stream.prototype._read = function (size) {
      if (this.closed && !this.destroyed) this.push(null);
      else read.call(this, size);
    };
  }
  globalThis.addEventListener("unhandledrejection", (event) => {
    if (isFromHttp2(event.reason)) event.preventDefault();
  });
}

/** True when node:http2 itself created the error, not code that it called. */
function isFromHttp2(error: unknown): boolean {
  const frame = error instanceof Error ? /^\s+at .*$/m.exec(error.stack ?? "")?.[0] : undefined;
  return frame !== undefined && /^\s+at (?:async )?node:http2:/.test(frame);
}
