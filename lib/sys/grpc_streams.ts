/**
 * Keeps a broken or abandoned HTTP/2 stream from ending the process on Deno (2.6.10).
 *
 * Reading an HTTP/2 stream, node:http2 starts work that nobody waits for: when the server is killed in the middle of an
 * answer, or the stream was cancelled before, that work fails as an unhandled rejection, which ends the process. The call
 * itself hears of the broken connection another way, and fails as it should.
 */
interface ClientStream {
  destroyed: boolean;
  closed: boolean;
  push(chunk: null): void;
}

let mended = false;

/** For the whole process. May be called again. */
export async function mendGrpcStreams(): Promise<void> {
  if (mended) return;
  mended = true;
  const { ClientHttp2Stream } = await import("node:http2") as unknown as {
    ClientHttp2Stream?: { prototype: { _read(this: ClientStream, size: number): void } };
  };
  // Later releases (2.9) have other streams, and do not show their class.
  if (ClientHttp2Stream !== undefined) {
    const read = ClientHttp2Stream.prototype._read;
    // A closed stream has no resource left to read from; it is not destroyed before its reader has seen its end.
    ClientHttp2Stream.prototype._read = function (size) {
      if (this.closed && !this.destroyed) this.push(null);
      else read.call(this, size);
    };
  }
  globalThis.addEventListener("unhandledrejection", (event) => {
    if (isFromHttp2(event.reason)) event.preventDefault();
  });
}

/** True when the error was made inside node:http2, not below what it called. */
function isFromHttp2(error: unknown): boolean {
  const frame = error instanceof Error ? /^\s+at .*$/m.exec(error.stack ?? "")?.[0] : undefined;
  return frame !== undefined && /^\s+at (?:async )?node:http2:/.test(frame);
}
