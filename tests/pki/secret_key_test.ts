import { writePem } from "../../lib/pki/pem.ts";
import { makePrivateKey } from "../../lib/pki/private_key.ts";
import { secretKeyFromCaKey } from "../../lib/pki/secret_key.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import file from "../vectors/memberlist-vectors.json" with { type: "json" };

const vector = file.vectors.find((candidate) => candidate.name === "secret-key-from-ca-key") as unknown as {
  ca_key_der_hex: string;
  expect: { secret_key_hex: string };
};
const pkcs1 = Uint8Array.fromHex(vector.ca_key_der_hex);
const source = { role: "CA key", path: "ca.key" };

Deno.test("secretKeyFromCaKey() gives the secret of the Go original for a PKCS#1 key", () => {
  const secret = secretKeyFromCaKey(writePem("RSA PRIVATE KEY", pkcs1), source);
  assertEquals(secret.bytes.toHex(), vector.expect.secret_key_hex);
  assertEquals(secret.legacyPeerProblem, undefined);
});

Deno.test("secretKeyFromCaKey() does not change when an RSA key is converted to PKCS#8, and warns of Go nodes", async () => {
  const key = await makePrivateKey("rsa-2048");
  const first = secretKeyFromCaKey(writePem("RSA PRIVATE KEY", key.pkcs1!), source);
  const second = secretKeyFromCaKey(writePem("PRIVATE KEY", key.pkcs8), source);
  assertEquals(second.bytes, first.bytes);
  assert(second.legacyPeerProblem?.includes("openssl rsa -traditional"), second.legacyPeerProblem);
});

Deno.test("secretKeyFromCaKey() takes the same secret from both containers of an EC key", async () => {
  const key = await makePrivateKey("ecdsa-p256");
  const fromPkcs8 = secretKeyFromCaKey(writePem("PRIVATE KEY", key.pkcs8), source);
  assert(fromPkcs8.legacyPeerProblem?.includes("not an RSA key"), fromPkcs8.legacyPeerProblem);

  const sec1 = await new Deno.Command("openssl", {
    args: ["pkey", "-traditional"],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const writer = sec1.stdin.getWriter();
  await writer.write(new TextEncoder().encode(writePem("PRIVATE KEY", key.pkcs8)));
  await writer.close();
  const text = new TextDecoder().decode((await sec1.output()).stdout);
  assert(text.startsWith("-----BEGIN EC PRIVATE KEY-----"), text);
  assertEquals(secretKeyFromCaKey(text, source).bytes, fromPkcs8.bytes);
  const other = await makePrivateKey("ecdsa-p256");
  assert(secretKeyFromCaKey(writePem("PRIVATE KEY", other.pkcs8), source).bytes.toHex() !== fromPkcs8.bytes.toHex());
});

Deno.test("secretKeyFromCaKey() never hashes what is public", async () => {
  await assertE2dError("pki_key_is_certificate", () => secretKeyFromCaKey(writePem("CERTIFICATE", pkcs1), source));
  // openssl writes the curve's name before an EC key: a first block that every cluster shares.
  const parameters = writePem("EC PARAMETERS", Uint8Array.fromHex("06082a8648ce3d030107"));
  await assertE2dError("pki_key_missing", () => secretKeyFromCaKey(parameters, source));
});
