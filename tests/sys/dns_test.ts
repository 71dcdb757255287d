import { parseResolverSettings, systemResolver } from "../../lib/sys/dns.ts";
import { type FakeZone, startDnsServer } from "../support/dns_server.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";

const never = new AbortController().signal;

async function withServer(zone: FakeZone, run: (server: Awaited<ReturnType<typeof startDnsServer>>) => Promise<void>) {
  const server = await startDnsServer(zone);
  try {
    await run(server);
  } finally {
    server.close();
  }
}

const resolver = (server: { host: string; port: number }, search: string[] = [], dotsMin = 1) =>
  systemResolver({ servers: [server], search, dotsMin });

Deno.test("systemResolver() returns SRV records, and A and AAAA records together", async () => {
  const zone: FakeZone = (name) =>
    name === "_e2d._tcp.etcd.test"
      ? { services: [{ host: "n1.etcd.test", port: 7980, priority: 1, weight: 2 }] }
      : { addresses: ["10.0.0.1", "fd00::7"] };
  await withServer(zone, async (server) => {
    assertEquals(await resolver(server).services("_e2d._tcp.etcd.test", never), [
      { host: "n1.etcd.test", port: 7980, priority: 1, weight: 2 },
    ]);
    assertEquals(await resolver(server).addresses("n1.etcd.test", never), ["10.0.0.1", "fd00::7"]);
  });
});

Deno.test("systemResolver() distinguishes an absent name or record from a failing or refusing server", async () => {
  for (const [code, text] of [[2, "SERVFAIL"], [5, "REFUSED"], [4, "NOTIMP"], [9, "code 9"]] as const) {
    await withServer(() => ({ code }), async (server) => {
      const error = await assertE2dError("dns_failed", () => resolver(server).services("x.test", never));
      assert(error.message.includes(text) && error.message.includes('"x.test"'), error.message);
    });
  }
  await withServer(() => ({ code: 3 }), async (server) => {
    assertEquals(await resolver(server).addresses("x.test", never), undefined);
  });
  await withServer(() => ({}), async (server) => {
    assertEquals(await resolver(server).services("x.test", never), undefined);
  });
});

Deno.test("systemResolver() queries the next server when one fails", async () => {
  await withServer(() => ({ code: 2 }), async (bad) => {
    await withServer(() => ({ addresses: ["10.0.0.2"] }), async (good) => {
      const both = systemResolver({ servers: [bad, good], search: [], dotsMin: 1 });
      assertEquals(await both.addresses("x.test", never), ["10.0.0.2"]);
    });
  });
});

Deno.test("systemResolver() repeats a query over TCP when the answer was truncated", async () => {
  const services = Array.from({ length: 900 }, (_, at) => ({ host: `n${at}.etcd.test`, port: 7000 + at }));
  await withServer(() => ({ services, truncated: true }), async (server) => {
    const found = await resolver(server).services("etcd.test", never);
    assertEquals(found!.length, 900);
    assertEquals(found![899]!.host, "n899.etcd.test");
  });
});

Deno.test("systemResolver() ignores an answer with another id, and refuses a truncated one", async () => {
  await withServer(() => ({ addresses: ["10.0.0.3"], forged: true }), async (server) => {
    assertEquals(await resolver(server).addresses("x.test", never), ["10.0.0.3"]);
  });
  await withServer(() => ({ addresses: ["10.0.0.3"], cut: 2 }), async (server) => {
    const error = await assertE2dError("dns_failed", () => resolver(server).addresses("x.test", never));
    assert(error.message.includes("it is truncated"), error.message);
  });
});

Deno.test("systemResolver() stops when it is aborted", async () => {
  await withServer(() => "silence", async (server) => {
    const stop = new AbortController();
    const asking = resolver(server).services("x.test", stop.signal);
    stop.abort(new Error("enough"));
    await asking.then(() => assert(false), (error) => assertEquals((error as Error).message, "enough"));
  });
});

Deno.test("systemResolver() looks up short names in the search domains, and absolute names only as they are", async () => {
  const zone: FakeZone = (name) => name === "etcd.ns.svc.test" ? { addresses: ["10.0.0.4"] } : { code: 3 };
  await withServer(zone, async (server) => {
    assertEquals(await resolver(server, ["ns.svc.test"], 5).addresses("etcd", never), ["10.0.0.4"]);
    assertEquals(server.asked.some((asked) => asked.startsWith("etcd ")), false);
    assertEquals(await resolver(server, ["ns.svc.test"]).addresses("etcd.", never), undefined);
  });
});

Deno.test("parseResolverSettings() reads servers, search and ndots of a resolv.conf(5)", () => {
  assertEquals(
    parseResolverSettings(
      "# x\nnameserver 10.0.0.2\nnameserver fd00::3\nsearch a.test b.test.\noptions edns0 ndots:5\n",
    ),
    {
      servers: [{ host: "10.0.0.2", port: 53 }, { host: "fd00::3", port: 53 }],
      search: ["a.test", "b.test"],
      dotsMin: 5,
    },
  );
  assertEquals(parseResolverSettings(""), { servers: [{ host: "127.0.0.1", port: 53 }], search: [], dotsMin: 1 });
});
