import fc from "fast-check";
import { E2dError } from "../../lib/errors.ts";
import { coversHost, formatHost, parseHost, parseHosts } from "../../lib/pki/host.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";

Deno.test("parseHost() tells names from addresses and gives each one spelling", () => {
  const cases: [string, "dns" | "ip", string][] = [
    ["Node1.Example.com.", "dns", "node1.example.com"],
    ["*.etcd.svc", "dns", "*.etcd.svc"],
    ["e2d-0_a", "dns", "e2d-0_a"],
    ["xn--mnchen-3ya.de", "dns", "xn--mnchen-3ya.de"],
    [" 10.0.0.1 ", "ip", "10.0.0.1"],
    ["[2001:DB8::0:1]", "ip", "2001:db8::1"],
    ["::1", "ip", "::1"],
    ["::ffff:10.0.0.1", "ip", "10.0.0.1"],
  ];
  for (const [text, kind, canonical] of cases) {
    const host = parseHost(text);
    assertEquals([host.kind, formatHost(host)], [kind, canonical]);
  }
});

Deno.test("parseHost() refuses what a certificate cannot name", async () => {
  const wrong = ["", "https://a.b", "a.b:2379", "10.0.0.1:2379", "[::1]:2379", "10.0.0.256", "1.2.3", "fe80::1%eth0"];
  for (const text of [...wrong, "a..b", "-a", "a b", "*", "*.com", "a.*.b", "münchen.de", "x".repeat(64), "1::2::3"]) {
    await assertE2dError("pki_host", () => parseHost(text));
  }
});

Deno.test("parseHosts() keeps each host once, whatever its spelling", () => {
  assertEquals(parseHosts(["a", "A.", "::1", "0:0::1", "127.0.0.1", "a"]).map(formatHost), ["a", "::1", "127.0.0.1"]);
});

Deno.test("coversHost() matches as TLS clients do: one label for a star, addresses by value, no mixing", () => {
  const names = parseHosts(["*.svc.local", "node1", "10.0.0.1", "2001:db8::1"]);
  const covered = (text: string) => coversHost(names, parseHost(text));
  for (const host of ["a.svc.local", "NODE1", "10.0.0.1", "[2001:db8:0::1]"]) assert(covered(host), host);
  for (const host of ["svc.local", "a.b.svc.local", "node2", "10.0.0.2", "::1"]) assert(!covered(host), host);
});

Deno.test("parseHost() gives a host or an E2dError for any text, and reads what it formats", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.domain(), fc.ipV4(), fc.ipV6()), (text) => {
      try {
        const host = parseHost(text);
        assertEquals(parseHost(formatHost(host)), host);
      } catch (error) {
        assert(error instanceof E2dError, String(error));
      }
    }),
    { seed: 7, numRuns: 2000 },
  );
  fc.assert(fc.property(fc.ipV6(), (text) => parseHost(text).kind === "ip"), { seed: 7 });
});
