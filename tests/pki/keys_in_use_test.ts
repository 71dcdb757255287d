import { generateCertificates, initAuthority } from "../../lib/pki/generate.ts";
import { type KeysInUse, readKeysInUse } from "../../lib/pki/rollover/keys_in_use.ts";
import { dropOld, prepareRollover, reissueUnderNext, trustNext } from "../../lib/pki/rollover/files.ts";
import { assertE2dError, assertEquals } from "../support/assert.ts";
import { testPorts } from "./support.ts";

const kind = "ecdsa-p256";
const ca = { caCert: "/p/ca.crt", caKey: "/p/ca.key" };
const pairs = ["server", "peer", "client"].map((role) => ({
  role,
  paths: { cert: `/p/${role}.crt`, key: `/p/${role}.key` },
}));
const options = { ...ca, pairs };

/** "old", "next": which key a secret derives from. */
function named(keys: KeysInUse, names: Map<string, string>): Record<string, string> {
  const text = (list: KeysInUse["gossip"]) => list.map((key) => names.get(key.toHex()) ?? "unknown").join(" ");
  return { gossip: text(keys.gossip), recipients: text(keys.recipients), former: text(keys.former) };
}

Deno.test("readKeysInUse() seals for both keys from the first phase to the last, and opens with the old one ever after", async () => {
  const made = testPorts();
  const ports = { ...made, remove: (path: string) => made.files.remove(path) };
  await initAuthority(ports, { ...ca, kind });
  await generateCertificates(ports, { ...ca, outputDir: "/p", hosts: ["n1"], kind });
  const names = new Map<string, string>();
  const read = async (more: { caCert?: string } = { caCert: ca.caCert }) =>
    named(await readKeysInUse(ports.files, { caKey: ca.caKey, pairs, ...more }), names);
  const only = await readKeysInUse(ports.files, options);
  names.set(only.gossip[0]!.toHex(), "old");
  assertEquals(named(only, names), { gossip: "old", recipients: "old", former: "" });

  await prepareRollover(ports, { ...options, kind });
  names.set((await readKeysInUse(ports.files, options)).gossip[1]!.toHex(), "next");
  const both = { gossip: "old next", recipients: "old next", former: "" };
  assertEquals(await read(), both);
  assertEquals(await read({}), both);
  await trustNext(ports, options);
  assertEquals(await read(), both);
  await reissueUnderNext(ports, options);
  assertEquals(await read(), { gossip: "next old", recipients: "next old", former: "" });
  // Who sees no certificate cannot tell that it is not over; whoever is to open it has the next key by now.
  assertEquals(await read({}), { gossip: "next", recipients: "next", former: "old" });
  await dropOld(ports, options);
  const over = { gossip: "next", recipients: "next", former: "old" };
  assertEquals(await read(), over);
  assertEquals(await read({}), over);
});

Deno.test("readKeysInUse() says which key is missing", async () => {
  const { files } = testPorts();
  await assertE2dError("ca_key_missing", () => readKeysInUse(files, { caKey: "/p/ca.key", pairs: [] }));
});
