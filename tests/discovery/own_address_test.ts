import fc from "fast-check";
import { addressKind } from "../../lib/discovery/ip_address.ts";
import type { DiscoveryMethod } from "../../lib/discovery/method.ts";
import { type OwnAddress, ownAddress } from "../../lib/discovery/own_address.ts";
import { E2dError } from "../../lib/errors.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { TestClock } from "../support/test_clock.ts";
import { TestLog } from "../support/test_log.ts";

interface Machine {
  /** `eth0 10.0.0.1` */
  addresses: string[];
  routes?: string[];
  size?: number;
  /** What the metadata service says each time it is asked, the last of it for ever. */
  told?: string | undefined | Error | readonly (string | Error)[];
}

async function choose({ addresses, routes = [], size = 3, told }: Machine): Promise<OwnAddress> {
  const clock = new TestClock();
  const answers = told instanceof Error || typeof told !== "object" ? [told] : [...told];
  const network = {
    addresses: () =>
      ["lo 127.0.0.1", "lo ::1", ...addresses].map((text) => text.split(" ")).map(([device, address]) => ({
        device: device!,
        address: address!,
      })),
    defaultDevices: () => Promise.resolve(routes),
  };
  const method: DiscoveryMethod = {
    name: "test",
    peers: () => Promise.resolve([]),
    ownAddress: () => {
      const answer = answers.length > 1 ? answers.shift() : answers[0];
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    },
  };
  const ports = { network, clock, log: new TestLog() };
  const outcome = await clock.settle(
    ownAddress({ method, clusterSize: size, ...ports }, new AbortController().signal),
  );
  if (outcome.status === "rejected") throw outcome.reason;
  return outcome.value;
}

Deno.test("ownAddress() takes what the metadata service tells", async () => {
  assertEquals(await choose({ addresses: ["eth0 10.0.0.1"], routes: ["eth0"], told: "10.9.9.9" }), {
    host: "10.9.9.9",
    source: "metadata service",
  });
});

Deno.test("ownAddress() takes the default route where no metadata service is, or it has no address", async () => {
  const machine = { addresses: ["docker0 172.17.0.1", "eth0 fd00::5", "eth0 10.0.0.1"], routes: ["eth0"] };
  for (const told of [undefined, "", "0.0.0.0", "127.0.0.1", new E2dError("no_metadata_service", "Cannot find it")]) {
    assertEquals(await choose({ ...machine, told }), { host: "10.0.0.1", source: "default route" });
  }
});

Deno.test("ownAddress() asks a metadata service again that did not answer at first, before it takes another address", async () => {
  const machine = { addresses: ["eth0 10.0.0.1"], routes: ["eth0"] };
  const silent = new E2dError("no_metadata_service", "Cannot find it");
  const busy = await choose({ ...machine, told: [silent, silent, silent, silent, "10.9.9.9"] });
  assertEquals(busy, { host: "10.9.9.9", source: "metadata service" });
  const never = await choose({ ...machine, told: [silent, silent, silent, silent, silent, "10.9.9.9"] });
  assertEquals(never, { host: "10.0.0.1", source: "default route" });
});

Deno.test("ownAddress() takes a loopback address of its own from a metadata service that imitates a cloud", async () => {
  const found = await choose({ addresses: ["eth0 10.0.0.1"], routes: ["eth0"], told: "127.9.1.4" });
  assertEquals(found, { host: "127.9.1.4", source: "metadata service" });
});

Deno.test("ownAddress() does not guess where the metadata service is there and answers badly", async () => {
  const told = new E2dError("cloud_answer", "Cannot ask: garbled");
  await assertE2dError("cloud_answer", () => choose({ addresses: ["eth0 10.0.0.1"], routes: ["eth0"], told }));
});

Deno.test("ownAddress() prefers the first default route with a private address, IPv4 before IPv6", async () => {
  const addresses = ["eth0 198.51.100.7", "eth1 fd00::7", "eth1 192.168.7.7", "eth2 10.0.0.1"];
  assertEquals((await choose({ addresses, routes: ["eth0", "eth1"] })).host, "192.168.7.7");
  assertEquals((await choose({ addresses: ["eth0 fd00::7", "eth0 fe80::1"], routes: ["eth0"] })).host, "fd00::7");
});

Deno.test("ownAddress() never chooses a public address, not for a cluster of one either", async () => {
  const machine = { addresses: ["eth0 198.51.100.7", "eth0 2001:db8::1"], routes: ["eth0"] };
  const error = await assertE2dError("own_address_public", () => choose(machine));
  assert(error.message.includes("198.51.100.7 (eth0)") && error.hint!.includes("--host"));
  assertEquals(await choose({ ...machine, size: 1 }), { host: "127.0.0.1", source: "loopback" });
});

Deno.test("ownAddress() never chooses the loopback for more than one node, nor between two networks", async () => {
  await assertE2dError("own_address_unknown", () => choose({ addresses: [] }));
  const error = await assertE2dError("own_address_unknown", () => choose({ addresses: ["a 10.0.0.1", "b 10.1.0.1"] }));
  assert(error.message.includes("10.0.0.1 (a)") && error.message.includes("10.1.0.1 (b)"));
  assertEquals((await choose({ addresses: ["a 10.0.0.1"] })).source, "only private address");
  // The default route decides, and it leads elsewhere.
  await assertE2dError("own_address_public", () => choose({ addresses: ["a 10.0.0.1", "b 8.8.4.4"], routes: ["b"] }));
});

Deno.test("addressKind() tells private from public ranges at their edges", () => {
  const kinds: Record<string, string> = {
    "9.255.255.255": "public",
    "10.0.0.0": "private",
    "10.255.255.255": "private",
    "11.0.0.0": "public",
    "172.15.255.255": "public",
    "172.16.0.0": "private",
    "172.31.255.255": "private",
    "172.32.0.0": "public",
    "192.167.255.255": "public",
    "192.168.0.0": "private",
    "192.169.0.0": "public",
    "100.63.255.255": "public",
    "100.64.0.0": "private",
    "100.127.255.255": "private",
    "100.128.0.0": "public",
    "169.254.169.254": "link-local",
    "127.255.0.1": "loopback",
    "0.0.0.0": "unusable",
    "224.0.0.1": "unusable",
    "255.255.255.255": "unusable",
    "::1": "loopback",
    "::": "unusable",
    "fe80::1": "link-local",
    "fd12::1": "private",
    "fc00::1": "private",
    "2001:db8::1": "public",
    "ff02::1": "unusable",
    "::ffff:10.0.0.1": "private",
  };
  for (const [text, kind] of Object.entries(kinds)) assertEquals(addressKind(text), kind as never, text);
  for (
    const text of ["", "10.0.0", "10.0.0.256", "1.2.3.4.5", "node", ":", ":::", "1::2::3", "fe80::1%eth0", "[::1]"]
  ) {
    assertEquals(addressKind(text), undefined, text);
  }
});

Deno.test("addressKind() takes any text", () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.ipV6(), fc.ipV4()), (text) => void addressKind(text)), {
    seed: 8,
    numRuns: 2000,
  });
});
