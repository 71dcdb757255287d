import fc from "fast-check";
import { E2dError } from "../../lib/errors.ts";
import { allowsUsage, readCertificates, writeCertificates } from "../../lib/pki/certificate.ts";
import { verifyChain } from "../../lib/pki/chain.ts";
import { formatHost } from "../../lib/pki/host.ts";
import { generateCertificates, initAuthority } from "../../lib/pki/generate.ts";
import { writePem } from "../../lib/pki/pem.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { goPki, newYearMs, testPorts } from "./support.ts";

const source = { role: "server certificate", path: "/x/server.crt" };

Deno.test("readCertificates() reads what the original wrote", async () => {
  const [server] = await readCertificates(await goPki("server.crt"), source);
  assertEquals(server.subject, "C=US, ST=Boston, L=MA, CN=etcd server");
  assertEquals(server.issuer, "C=US, ST=Boston, L=MA, O=Critical Stack, CN=e2d-ca");
  assertEquals(server.commonName, "etcd server");
  assertEquals(server.serial, "6897e29ee9f067017db855481b1be8f59434e3aa");
  assertEquals(server.notAfterMs - server.notBeforeMs, 5 * 365 * 24 * 60 * 60 * 1000);
  assertEquals(server.usages, ["server auth"]);
  assertEquals(server.names.map(formatHost), ["localhost", "127.0.0.1", "127.0.0.1", "192.0.2.2"]);
  assertEquals([server.keyKind, server.isAuthority], ["rsa", false]);
  assertEquals(allowsUsage(server, "client auth"), false);
});

Deno.test("verifyChain() accepts the original's chain, and refuses another authority's and an expired one", async () => {
  const [server] = await readCertificates(await goPki("server.crt"), source);
  const authorities = await readCertificates(await goPki("ca.crt"), source);
  const nowMs = newYearMs;
  assertEquals((await verifyChain({ certificate: server, authorities, nowMs })).kind, "verified");
  const late = await verifyChain({ certificate: server, authorities, nowMs: authorities[0].notAfterMs });
  assert(late.kind === "unverified" && late.reason.endsWith("has expired"), JSON.stringify(late.kind));
  // Another authority of the very same name: the signature decides.
  const ports = testPorts();
  await initAuthority(ports, { caCert: "/ca.crt", caKey: "/ca.key", kind: "ecdsa-p256" });
  const others = await readCertificates(ports.files.text("/ca.crt"), source);
  assertEquals(others[0].subjectDer, authorities[0].subjectDer);
  assertEquals((await verifyChain({ certificate: server, authorities: others, nowMs })).kind, "unverified");
  const either = await verifyChain({ certificate: server, authorities: [...others, ...authorities], nowMs });
  assert(either.kind === "verified" && either.authority.fingerprint === authorities[0].fingerprint);
});

Deno.test("verifyChain() lets no ordinary certificate vouch for another", async () => {
  const ports = testPorts();
  const paths = { caCert: "/go/server.crt", caKey: "/go/server.key" };
  for (const name of ["server.crt", "server.key"]) await ports.files.writeAtomic(`/go/${name}`, await goPki(name));
  await assertE2dError(
    "pki_not_authority",
    () => generateCertificates(ports, { ...paths, outputDir: "/o", hosts: [], kind: "ecdsa-p256" }),
  );
});

Deno.test("readCertificates() refuses a key, an empty file and a damaged certificate by name", async () => {
  const key = await goPki("server.key");
  const error = await assertE2dError("pki_certificate_is_key", () => readCertificates(key, source));
  assert(error.message.includes('"/x/server.crt"'));
  await assertE2dError("pki_certificate_missing", () => readCertificates("", source));
  await assertE2dError(
    "pki_certificate_damaged",
    () => readCertificates(writePem("CERTIFICATE", new Uint8Array(9)), source),
  );
  const many = (await goPki("ca.crt")).repeat(201);
  await assertE2dError("pki_pem", () => readCertificates(many, source));
});

Deno.test("readCertificates() gives certificates or an E2dError for any bytes", async () => {
  const good = await readCertificates(await goPki("peer.crt"), source);
  const damaged = fc.tuple(fc.nat(good[0].der.length - 1), fc.nat(255)).map(([at, byte]) => {
    const der = good[0].der.slice();
    der[at] = byte;
    return writePem("CERTIFICATE", der);
  });
  const cut = fc.nat(good[0].der.length).map((at) => writePem("CERTIFICATE", good[0].der.subarray(0, at)));
  const random = fc.uint8Array({ maxLength: 300 }).map((bytes) => writePem("CERTIFICATE", bytes));
  await fc.assert(
    fc.asyncProperty(fc.oneof(damaged, cut, random, fc.string()), async (text) => {
      try {
        const read = await readCertificates(text, source);
        await verifyChain({ certificate: read[0], authorities: read, nowMs: newYearMs });
      } catch (error) {
        assert(error instanceof E2dError, String(error));
      }
    }),
    { seed: 7, numRuns: 600 },
  );
});

Deno.test("writeCertificates() writes a bundle that readCertificates() reads in the same order", async () => {
  const text = await goPki("ca.crt") + await goPki("peer.crt");
  assertEquals(writeCertificates(await readCertificates(text, source)), text);
});
