import fc from "fast-check";
import { E2dError } from "../../lib/errors.ts";
import { writePem } from "../../lib/pki/pem.ts";
import {
  likelyKeyPath,
  makePrivateKey,
  publicKeyOf,
  readPrivateKey,
  writePrivateKey,
} from "../../lib/pki/private_key.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { goPki } from "./support.ts";

const source = { role: "CA key", path: "/etc/e2d/ca.key" };

Deno.test("readPrivateKey() reads the original's PKCS#1 key and writes it back byte for byte", async () => {
  const text = await goPki("ca.key");
  const key = readPrivateKey(text, source);
  assertEquals(key.algorithm, { kind: "rsa", bits: 2048 });
  assertEquals(writePrivateKey(key), text);
});

Deno.test("readPrivateKey() finds the same PKCS#1 bytes in a PKCS#8 container", async () => {
  const key = readPrivateKey(await goPki("ca.key"), source);
  const again = readPrivateKey(writePem("PRIVATE KEY", key.pkcs8), source);
  assertEquals(again.pkcs1, key.pkcs1);
});

Deno.test("makePrivateKey() makes RSA 2048 written as PKCS#1, and P-256 written as PKCS#8", async () => {
  const rsa = await makePrivateKey("rsa-2048");
  assert(writePrivateKey(rsa).startsWith("-----BEGIN RSA PRIVATE KEY-----\n"));
  const ec = await makePrivateKey("ecdsa-p256");
  assert(writePrivateKey(ec).startsWith("-----BEGIN PRIVATE KEY-----\n"));
  assertEquals(readPrivateKey(writePrivateKey(ec), source), ec);
});

Deno.test("readPrivateKey() says that a certificate is a certificate and names the file the key is likely in", async () => {
  const text = await goPki("ca.crt");
  const error = await assertE2dError(
    "pki_key_is_certificate",
    () => readPrivateKey(text, { role: "CA key", path: "/etc/kubernetes/pki/etcd/ca.crt" }),
  );
  assertEquals(
    error.message,
    'Cannot read CA key "/etc/kubernetes/pki/etcd/ca.crt": the file holds a certificate, not a private key',
  );
  assertEquals(error.hint, 'the key is usually in "/etc/kubernetes/pki/etcd/ca.key"');
  assertEquals(likelyKeyPath("/a/ca.pem"), "/a/ca.key");
});

Deno.test("readPrivateKey() refuses what is no usable key with a code of its own", async () => {
  const pem = (label: string, bytes = new Uint8Array([0x30, 0x00])) => writePem(label, bytes);
  const good = await goPki("ca.key");
  const legacy = good.replace("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n");
  const cases: [string, string][] = [
    ["pki_key_missing", ""],
    ["pki_key_missing", "not PEM at all"],
    ["pki_key_missing", pem("PUBLIC KEY")],
    ["pki_key_missing", pem("CERTIFICATE REQUEST")],
    ["pki_key_encrypted", pem("ENCRYPTED PRIVATE KEY")],
    ["pki_key_encrypted", legacy],
    ["pki_key_unsupported", pem("OPENSSH PRIVATE KEY")],
    ["pki_key_several", good + good],
    ["pki_key_damaged", pem("RSA PRIVATE KEY")],
    ["pki_key_damaged", pem("EC PRIVATE KEY")],
    ["pki_key_damaged", pem("PRIVATE KEY")],
    ["pki_pem", good.slice(0, 200)],
    ["pki_pem", good.replace(/\n[A-Za-z0-9+/]/, "\n!")],
    ["pki_pem", "-----END RSA PRIVATE KEY-----"],
    ["pki_pem", "x".repeat(2 * 1024 * 1024)],
  ];
  for (const [code, text] of cases) {
    const error = await assertE2dError(code, () => readPrivateKey(text, source));
    assert(error.message.startsWith('Cannot read CA key "/etc/e2d/ca.key": '), error.message);
  }
});

Deno.test("readPrivateKey() gives a key or an E2dError for any text, and publicKeyOf() likewise", async () => {
  const keys = [await goPki("ca.key"), writePrivateKey(await makePrivateKey("ecdsa-p256"))];
  const damaged = fc.tuple(fc.constantFrom(...keys), fc.nat(), fc.nat(255), fc.boolean()).map(
    ([pem, at, byte, inside]) => {
      if (!inside) return pem.slice(0, at % pem.length) + String.fromCharCode(byte) + pem.slice(at % pem.length + 1);
      // Damage below the base64, where the DER is.
      const [, label, body] = /-----BEGIN (.+?)-----\n(.*)-----END/s.exec(pem)!;
      const der = Uint8Array.fromBase64(body!.replaceAll("\n", ""));
      der[at % der.length] = byte;
      return writePem(label!, der);
    },
  );
  const wrapped = fc.tuple(fc.constantFrom("RSA PRIVATE KEY", "EC PRIVATE KEY", "PRIVATE KEY"), fc.uint8Array())
    .map(([label, bytes]) => writePem(label, bytes));
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.string(), damaged, wrapped), async (text) => {
      try {
        await publicKeyOf(readPrivateKey(text, source), source);
      } catch (error) {
        assert(error instanceof E2dError, String(error));
      }
    }),
    { seed: 7, numRuns: 500 },
  );
});
