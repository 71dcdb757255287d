import fc from "fast-check";
import { parseHttpHead } from "../../lib/sys/http/head.ts";
import { serveHttp } from "../../lib/sys/http/server.ts";
import { generateCertificates, initAuthority } from "../../lib/pki/generate.ts";
import { testPorts } from "../pki/support.ts";
import { assert, assertEquals } from "../support/assert.ts";

const at = { host: "127.0.0.1", port: 0 };

/** The bytes that the server sends until it closes the connection. */
async function raw(port: number, text: string): Promise<string> {
  const connection = await Deno.connect({ hostname: at.host, port });
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  try {
    const data = new TextEncoder().encode(text);
    for (let sent = 0; sent < data.length;) sent += await connection.write(data.subarray(sent));
    for await (const chunk of connection.readable) chunks.push(chunk.slice());
  } catch {
    // The server may reset the connection.
  } finally {
    try {
      connection.close();
    } catch {
      // The stream has closed the connection.
    }
  }
  return await new Blob(chunks).text();
}

Deno.test("serveHttp() answers with status, headers and body, HEAD without a body, and 500 when the handler throws", async () => {
  const server = serveHttp(at, (request) => {
    const { pathname, search } = new URL(request.url);
    if (pathname === "/broken") throw new Error("canary");
    return new Response(`${request.method} ${pathname}${search}\n`, { status: 203, headers: { "x-mine": "yes" } });
  });
  const base = `http://127.0.0.1:${server.local.port}`;
  const response = await fetch(`${base}/a%20b?c=d`);
  assertEquals([response.status, response.headers.get("x-mine")], [203, "yes"]);
  assertEquals(await response.text(), "GET /a%20b?c=d\n");
  const head = await fetch(base, { method: "HEAD" });
  assertEquals([head.status, head.headers.get("content-length"), await head.text()], [203, "7", ""]);
  const broken = await fetch(`${base}/broken`);
  assertEquals([broken.status, await broken.text()], [500, "the node could not answer\n"]);
  await server.close();
  assertEquals(await fetch(base).then(() => "answered", () => "refused"), "refused");
});

/** `count` chunks of 64 KiB; then the end, or an error. */
function pieces(count: number, broken = false): ReadableStream<Uint8Array<ArrayBuffer>> {
  let left = count;
  return new ReadableStream({
    pull(controller) {
      if (left-- > 0) return controller.enqueue(new Uint8Array(65_536).fill(left & 255));
      if (broken) throw new Error("the disk is gone");
      controller.close();
    },
  }, { highWaterMark: 0 });
}

Deno.test("serveHttp() streams long answers, and a client detects one that was cut", async () => {
  const server = serveHttp(at, (request) => new Response(pieces(400, request.url.endsWith("/broken"))));
  const base = `http://127.0.0.1:${server.local.port}`;
  const whole = new Uint8Array(await (await fetch(base)).arrayBuffer());
  assertEquals([whole.length, whole[0], whole.at(-1)], [400 * 65_536, 399 & 255, 0]);
  const broken = await fetch(`${base}/broken`);
  assertEquals(await broken.arrayBuffer().then(() => "whole", () => "broken"), "broken");
  // A client that disconnects cancels the body of its answer.
  const left = await fetch(base);
  await left.body!.cancel();
  await server.close();
});

Deno.test("serveHttp() refuses long, invalid and unsupported requests, and continues to serve", async () => {
  let asked = 0;
  const server = serveHttp(at, () => {
    asked++;
    return new Response("ok");
  });
  const { port } = server.local;
  const cases: [string, string][] = [
    [`GET / HTTP/1.1\r\nHost: x\r\nX: ${"y".repeat(20_000)}\r\n\r\n`, "431"],
    ["GET / HTTP/1.1\r\n\r\n", "400"],
    ["GET / HTTP/2.0\r\nHost: x\r\n\r\n", "400"],
    ["nonsense\r\n\r\n", "400"],
    ["TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", "405"],
  ];
  for (const [text, status] of cases) assertEquals((await raw(port, text)).slice(9, 12), status, text.slice(0, 40));
  assertEquals(asked, 0);
  const answer = await raw(port, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
  assert(answer.startsWith("HTTP/1.1 200 ") && answer.endsWith("\r\n\r\nok"), answer);
  await server.close();
});

Deno.test("serveHttp() has at most 64 connections, and answers beside silent ones", async () => {
  const server = serveHttp(at, () => new Response("ok"));
  const crowd: Deno.TcpConn[] = [];
  try {
    for (let count = 0; count < 300; count++) {
      const caller = await Deno.connect({ hostname: at.host, port: server.local.port });
      crowd.push(caller);
      await caller.write(new TextEncoder().encode("GET / HTTP/1.1\r\nHost:")).catch(() => {});
    }
    // Silent connections are closed in favour of new ones after a second.
    let answer = "";
    for (let tries = 0; answer === "" && tries < 100; tries++) {
      answer = await raw(server.local.port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
      if (answer === "") await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert(answer.endsWith("ok"), answer);
    const closed = await Promise.all(crowd.map(async (caller) => {
      const timer = setTimeout(() => caller.close(), 200);
      try {
        return await caller.read(new Uint8Array(1)) === null;
      } catch (error) {
        return !(error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted);
      } finally {
        clearTimeout(timer);
      }
    }));
    assert(closed.filter((each) => each).length >= 300 - 64, `${closed.filter((each) => each).length} were hung up on`);
  } finally {
    for (const caller of crowd) {
      try {
        caller.close();
      } catch {
        // Closed above.
      }
    }
    await server.close();
  }
});

Deno.test("parseHttpHead() reads requests, and refuses ambiguous ones", () => {
  const parsed = (text: string) => {
    const head = parseHttpHead(text, "http");
    return head && `${head.method} ${head.url}`;
  };
  assertEquals(parsed("GET /a?b HTTP/1.1\r\nHost: x:1\r\nAccept: */*"), "GET http://x:1/a?b");
  assertEquals(parsed("GET //a HTTP/1.1\r\nhost:[::1]:7"), "GET http://[::1]:7//a");
  assertEquals(parsed("GET / HTTP/1.0"), "GET http://localhost/");
  assertEquals(parsed("GET http://evil/ HTTP/1.1\r\nHost: x"), "GET http://evil/");
  for (
    const text of [
      ...["", "GET /", "get / HTTP/1.1\r\nHost: x", "GET  / HTTP/1.1\r\nHost: x", "GET / HTTP/1.1\nHost: x"],
      ...["GET / HTTP/1.1", "GET / HTTP/1.1\r\nHost: x\r\nHost: y", "GET / HTTP/1.1\r\nHost : x"],
      ...["GET / HTTP/1.1\r\nHost: x\r\n folded", "GET / HTTP/1.1\r\nHost: a/b", "GET / HTTP/1.1\r\nHost: u@x"],
      ...["GET / HTTP/1.1\r\nHost: x y", "GET / HTTP/1.1\r\nHost: ", "GET * HTTP/1.1\r\nHost: x"],
      ...[
        "CONNECT x:1 HTTP/1.1\r\nHost: x",
        "GET file:///etc/passwd HTTP/1.1\r\nHost: x",
        "GET /\x00 HTTP/1.1\r\nHost: x",
      ],
    ]
  ) assertEquals([text, parsed(text)], [text, undefined]);
});

Deno.test("parseHttpHead() returns undefined or an http URL for every text", () => {
  const piece = fc.oneof(
    fc.constantFrom(
      "GET ",
      "/",
      " HTTP/1.1",
      "\r\n",
      "Host: ",
      "x",
      ":",
      "[",
      "]",
      "@",
      "%",
      "http://",
      "\0",
      "..",
      "é",
    ),
    fc.string({ unit: "binary", maxLength: 6 }),
  );
  const rest = fc.array(piece, { maxLength: 8 }).map((parts) => parts.join(""));
  let taken = 0;
  fc.assert(
    fc.property(rest, rest, fc.boolean(), (target, header, framed) => {
      const text = framed ? `GET /${target} HTTP/1.1\r\nHost: x\r\nX: ${header}` : target + header;
      const head = parseHttpHead(text, "http");
      if (head === undefined) return;
      taken++;
      assert(new URL(head.url).protocol.startsWith("http"), head.url);
    }),
    { seed: 20261123, numRuns: 2_000 },
  );
  assert(taken > 100, `${taken} of 2000 were requests`);
});

Deno.test("serveHttp() serves HTTPS to clients that trust its authority, and survives clients without TLS", async () => {
  const files = testPorts(Date.now());
  await initAuthority(files, { caCert: "/ca.crt", caKey: "/ca.key", kind: "ecdsa-p256" });
  await generateCertificates(files, {
    caCert: "/ca.crt",
    caKey: "/ca.key",
    outputDir: "/out",
    hosts: ["127.0.0.1"],
    kind: "ecdsa-p256",
  });
  const text = (path: string) => files.files.text(path);
  const server = serveHttp(at, (request) => new Response(new URL(request.url).protocol), {
    certificate: text("/out/server.crt"),
    key: text("/out/server.key"),
  });
  assertEquals(
    await raw(server.local.port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20)).then((t) => /HTTP/.test(t)),
    false,
  );
  using client = Deno.createHttpClient({ caCerts: [text("/ca.crt")] });
  const url = `https://127.0.0.1:${server.local.port}/`;
  assertEquals(await (await fetch(url, { client })).text(), "https:");
  assertEquals(await fetch(url).then(() => "trusted", () => "untrusted"), "untrusted");
  await server.close();
});
