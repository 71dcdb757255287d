import fc from "fast-check";
import { addressFromText, addressToText } from "../../lib/gossip/address.ts";
import { assertE2dError, assertEquals } from "../support/assert.ts";
import { address, runs } from "./arbitraries.ts";

Deno.test("addressFromText() reads what addressToText() writes", () => {
  fc.assert(fc.property(address, (bytes) => assertEquals(addressFromText(addressToText(bytes)), bytes)), runs);
});

Deno.test("addressFromText() reads the usual short forms", () => {
  const cases: Record<string, string | undefined> = {
    "127.0.0.1": "7f000001",
    "::ffff:127.0.0.1": "7f000001",
    "::1": "00000000000000000000000000000001",
    "[::1]": "00000000000000000000000000000001",
    "::": "00000000000000000000000000000000",
    "fe80::1%eth0": "fe800000000000000000000000000001",
    "2001:db8:0:0:0:0:0:5": "20010db8000000000000000000000005",
    "256.0.0.1": undefined,
    "1.2.3": undefined,
    "node-a": undefined,
    "1::2::3": undefined,
    "1:2:3:4:5:6:7": undefined,
    "1:2:3:4:5:6:7:8:9": undefined,
    "12345::": undefined,
    "": undefined,
  };
  for (const [text, expected] of Object.entries(cases)) assertEquals(addressFromText(text)?.toHex(), expected, text);
});

Deno.test("addressToText() writes IPv4-mapped addresses as IPv4 and refuses other lengths", async () => {
  assertEquals(addressToText(Uint8Array.fromHex("00000000000000000000ffff7f000001")), "127.0.0.1");
  await assertE2dError("gossip_address", () => addressToText(new Uint8Array(5)));
});
