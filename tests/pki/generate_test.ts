import { loadAuthority } from "../../lib/pki/authority.ts";
import { readCertificates } from "../../lib/pki/certificate.ts";
import { verifyChain } from "../../lib/pki/chain.ts";
import { certificateHosts, generateCertificates, initAuthority, readAuthority } from "../../lib/pki/generate.ts";
import { formatHost } from "../../lib/pki/host.ts";
import { writePem } from "../../lib/pki/pem.ts";
import { readPrivateKey } from "../../lib/pki/private_key.ts";
import { readPair } from "../../lib/pki/pair.ts";
import { x509Library } from "../../lib/pki/x509.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { dayMs, goPki, testPorts } from "./support.ts";

const paths = { caCert: "/pki/ca.crt", caKey: "/pki/ca.key" };
const kind = "ecdsa-p256";
const hosts = ["node1", "10.0.0.1"];

async function certificateOf(text: string) {
  return (await readCertificates(text, { role: "certificate", path: "x" }))[0];
}

Deno.test("initAuthority() writes the key 0600 in a directory 0700, named and dated as the original does", async () => {
  const ports = testPorts();
  assertEquals(await initAuthority(ports, { ...paths, kind }), { written: [paths.caCert, paths.caKey], backups: [] });
  assertEquals(ports.files.files.get(paths.caKey)?.mode, 0o600);
  assertEquals(ports.files.files.get(paths.caCert)?.mode, 0o644);
  assertEquals(ports.files.directories.get("/pki"), 0o700);
  const [ours, theirs] = [
    await certificateOf(ports.files.text(paths.caCert)),
    await certificateOf(await goPki("ca.crt")),
  ];
  assertEquals(ours.subject, theirs.subject);
  assertEquals(ours.subjectDer, theirs.subjectDer);
  assertEquals(ours.notAfterMs - ours.notBeforeMs, theirs.notAfterMs - theirs.notBeforeMs);
  assertEquals([ours.isAuthority, ours.usages], [true, undefined]);
});

Deno.test("initAuthority() never replaces a key unasked, and keeps the old one when it is forced to", async () => {
  const ports = testPorts();
  await initAuthority(ports, { ...paths, kind });
  const old = ports.files.text(paths.caKey);
  const error = await assertE2dError("pki_file_exists", () => initAuthority(ports, { ...paths, kind }));
  assertEquals(error.message, 'Cannot write "/pki/ca.key": the file already exists');
  assertEquals(ports.files.text(paths.caKey), old);
  for (const suffix of ["", "-2"]) {
    const before = ports.files.text(paths.caKey);
    const { backups } = await initAuthority(ports, { ...paths, kind, force: true });
    const copy = `/pki/ca.key.old-20270101T000000Z${suffix}`;
    assert(backups.includes(copy), String(backups));
    assertEquals(ports.files.text(copy), before);
    assertEquals(ports.files.files.get(copy)?.mode, 0o600);
    assert(ports.files.text(paths.caKey) !== before);
  }
});

Deno.test("initAuthority() leaves no certificate without its key wherever the power is cut", async () => {
  for (let writes = 0; writes < 3; writes++) {
    const ports = testPorts();
    ports.files.writesLeft = writes;
    await assertE2dError("power_lost", () => initAuthority(ports, { ...paths, kind }));
    assert(!ports.files.files.has(paths.caCert));
  }
});

Deno.test("generateCertificates() makes the original's pairs: subjects, names, usages, chain", async () => {
  const ports = testPorts();
  await initAuthority(ports, { ...paths, kind });
  const { written } = await generateCertificates(ports, { ...paths, outputDir: "/out", hosts, kind });
  assertEquals(written, ["client", "peer", "server"].flatMap((name) => [`/out/${name}.crt`, `/out/${name}.key`]));
  const { trusted } = await readAuthority(ports.files, paths);
  for (const profile of ["client", "peer", "server"] as const) {
    const role = profile;
    const { certificate } = await readPair(
      ports.files,
      { cert: `/out/${profile}.crt`, key: `/out/${profile}.key` },
      role,
    );
    const original = await certificateOf(await goPki(`${profile}.crt`));
    assertEquals(certificate.subjectDer, original.subjectDer);
    assertEquals(certificate.usages, original.usages);
    assertEquals(certificate.isAuthority, false);
    assertEquals(certificate.names.map(formatHost), profile === "client" ? ["client.invalid"] : hosts);
    const chain = await verifyChain({ certificate, authorities: trusted, nowMs: ports.clock.nowMs });
    assertEquals(chain.kind, "verified");
    assertEquals(ports.files.files.get(`/out/${profile}.key`)?.mode, 0o600);
  }
});

Deno.test("generateCertificates() gives a client no name under an authority that may vouch for some names alone", async () => {
  const ports = testPorts();
  const x509 = await x509Library();
  const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
  // Permitted are the DNS names below "corp" (RFC 5280 section 4.2.1.10).
  const corp = Uint8Array.of(0x30, 0x0a, 0xa0, 0x08, 0x30, 0x06, 0x82, 0x04, 0x63, 0x6f, 0x72, 0x70);
  const authority = await x509.X509CertificateGenerator.createSelfSigned({
    name: "CN=corp",
    keys,
    notBefore: new Date(ports.clock.nowMs - 1_000),
    notAfter: new Date(ports.clock.nowMs + 1_000_000_000),
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      new x509.Extension("2.5.29.30", true, corp),
    ],
  });
  await ports.files.writeAtomic(paths.caCert, authority.toString("pem"));
  const pkcs8 = new Uint8Array(await crypto.subtle.exportKey("pkcs8", keys.privateKey));
  await ports.files.writeAtomic(paths.caKey, writePem("PRIVATE KEY", pkcs8), { mode: 0o600 });
  await generateCertificates(ports, { ...paths, outputDir: "/out", hosts: ["n1.corp"], kind });
  const { certificate } = await readPair(ports.files, { cert: "/out/client.crt", key: "/out/client.key" }, "client");
  assertEquals(certificate.names, []);
});

Deno.test("generateCertificates() touches nothing when one of its files is there", async () => {
  const ports = testPorts();
  await initAuthority(ports, { ...paths, kind });
  await ports.files.writeAtomic("/out/server.key", "precious");
  const before = [...ports.files.files.keys()];
  await assertE2dError(
    "pki_file_exists",
    () => generateCertificates(ports, { ...paths, outputDir: "/out", hosts, kind }),
  );
  assertEquals([...ports.files.files.keys()], before);
});

Deno.test("generateCertificates() lets no certificate outlive its authority", async () => {
  const ports = testPorts();
  await initAuthority(ports, { ...paths, kind, lifetimeMs: 10 * dayMs });
  await generateCertificates(ports, { ...paths, outputDir: "/out", hosts, kind, lifetimeMs: 20 * dayMs });
  const authority = await certificateOf(ports.files.text(paths.caCert));
  const server = await certificateOf(ports.files.text("/out/server.crt"));
  assertEquals(server.notAfterMs, authority.notAfterMs);
});

Deno.test("generateCertificates() signs with an authority of the original", async () => {
  const ports = testPorts();
  const theirs = { caCert: "/go/ca.crt", caKey: "/go/ca.key" };
  for (const name of ["ca.crt", "ca.key"]) await ports.files.writeAtomic(`/go/${name}`, await goPki(name));
  await generateCertificates(ports, { ...theirs, outputDir: "/out", hosts, kind });
  const { trusted } = await readAuthority(ports.files, theirs);
  const certificate = await certificateOf(ports.files.text("/out/peer.crt"));
  assertEquals(certificate.issuerDer, trusted[0]!.subjectDer);
  assertEquals((await verifyChain({ certificate, authorities: trusted, nowMs: ports.clock.nowMs })).kind, "verified");
});

Deno.test("certificateHosts() takes the machine's names by default and keeps the original's additions to --hosts", () => {
  const machine = { hostName: "n1", addresses: ["127.0.0.1", "10.0.0.5", "fe80::1", "fe80::2%eth0", "2001:db8::5"] };
  assertEquals(certificateHosts([], machine), ["n1", "127.0.0.1", "10.0.0.5", "2001:db8::5", "127.0.0.1", "localhost"]);
  assertEquals(certificateHosts(["etcd.local"], machine), ["etcd.local", "127.0.0.1", "localhost", "10.0.0.5"]);
});

Deno.test("loadAuthority() takes the certificate of a bundle that its key belongs to, and names what fits nowhere", async () => {
  const ports = testPorts();
  await initAuthority(ports, { ...paths, kind });
  const ours = { path: "/pki/ca.crt", text: ports.files.text(paths.caCert) };
  const bundle = { path: "/pki/both.crt", text: ours.text + await goPki("ca.crt") };
  const goKey = { path: "/go/ca.key", text: await goPki("ca.key") };
  const authority = await loadAuthority({ certificate: bundle, key: goKey });
  assertEquals([authority.trusted.length, authority.certificate], [2, authority.trusted[1]]);
  const mismatch = await assertE2dError("pki_key_mismatch", () => loadAuthority({ certificate: ours, key: goKey }));
  assert(mismatch.message.includes('"/pki/ca.crt"') && mismatch.message.includes('"/go/ca.key"'), mismatch.message);
  const server = async (name: string) => ({ path: `/go/${name}`, text: await goPki(name) });
  await assertE2dError("pki_not_authority", async () => {
    await loadAuthority({ certificate: await server("server.crt"), key: await server("server.key") });
  });
  await assertE2dError("pki_certificate_is_key", () => loadAuthority({ certificate: goKey, key: goKey }));
});

Deno.test("generateCertificates() writes nothing when the CA key is damaged but still looks right", async () => {
  const ports = testPorts();
  const key = readPrivateKey(await goPki("ca.key"), { role: "CA key", path: "ca.key" });
  const numbers = key.pkcs1!.slice();
  // A byte of the private exponent: modulus and public exponent still match the certificate.
  numbers[300]! ^= 0xff;
  await ports.files.writeAtomic("/go/ca.crt", await goPki("ca.crt"));
  await ports.files.writeAtomic("/go/ca.key", writePem("RSA PRIVATE KEY", numbers));
  const go = { caCert: "/go/ca.crt", caKey: "/go/ca.key" };
  await assertE2dError("pki_key_damaged", () => generateCertificates(ports, { ...go, outputDir: "/o", hosts, kind }));
  assert(!ports.files.files.has("/o/server.crt"));
});
