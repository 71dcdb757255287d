import { directGet } from "../../lib/sys/http/direct_get.ts";
import { assert, assertEquals } from "../support/assert.ts";

/** Sends `answer` on the first connection after its request, and resolves with that request. */
function serveOnce(answer: string | undefined, onRequest = () => {}) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const request = (async () => {
    const connection = await listener.accept();
    const chunk = new Uint8Array(4_096);
    const count = await connection.read(chunk) ?? 0;
    onRequest();
    if (answer !== undefined) {
      await connection.write(new TextEncoder().encode(answer));
      connection.close();
    } else await connection.read(chunk).catch(() => {}).finally(() => connection.close());
    return new TextDecoder().decode(chunk.subarray(0, count));
  })();
  return { url: `http://127.0.0.1:${listener.addr.port}/version`, request, close: () => listener.close() };
}

const failureOf = (call: Promise<string>) => call.then(() => "success", (error) => String(error.message));

Deno.test("directGet() returns the body of a complete answer of status 200, and throws for every other", async () => {
  const table: [string, string | RegExp][] = [
    ["HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody", "body"],
    ["HTTP/1.1 200 OK\r\n\r\nbody", "body"],
    ["HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nbody", /within its body/],
    ["HTTP/1.0 200 OK\r\nContent-Le", /before its body/],
    ["HTTP/1.0 404 Not Found\r\n\r\nbody", /404/],
    ["", /before its body/],
  ];
  for (const [answer, expected] of table) {
    const server = serveOnce(answer);
    const outcome = directGet(server.url, undefined, { timeoutMs: 10_000 });
    if (typeof expected === "string") assertEquals(await outcome, expected);
    else assert(expected.test(await failureOf(outcome)), answer);
    assert((await server.request).startsWith("GET /version HTTP/1.0\r\nHost: 127.0.0.1:"));
    server.close();
  }
});

Deno.test("directGet() times out when the server does not answer", async () => {
  const stop = new AbortController();
  const server = serveOnce(undefined, () => stop.abort(new Error("given up")));
  const outcome = failureOf(directGet(server.url, undefined, { timeoutMs: 60_000, signal: stop.signal }));
  assertEquals(await outcome, "given up");
  server.close();
  await server.request;
});
