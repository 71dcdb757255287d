import { generateCertificates, initAuthority } from "../../lib/pki/generate.ts";
import { gossipKeyFingerprint } from "../../lib/pki/key_fingerprint.ts";
import { secretKeyFromCaKey } from "../../lib/pki/secret_key.ts";
import { inspectCertificates, inspectionTable } from "../../lib/pki/inspect.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { dayMs, goPki, newYearMs, type TestPorts, testPorts } from "./support.ts";

const ca = { caCert: "/p/ca.crt", caKey: "/p/ca.key" };

async function filledPorts(): Promise<TestPorts> {
  const ports = testPorts();
  for (const name of ["ca.crt", "ca.key", "server.crt", "server.key"]) {
    await ports.files.writeAtomic(`/p/${name}`, await goPki(name), { mode: 0o600 });
  }
  return ports;
}

const inspect = (ports: TestPorts, warnDays = 30, certificates = ["/p/ca.crt", "/p/server.crt"]) =>
  inspectCertificates(ports.files, { caCert: "/p/ca.crt", certificates, nowMs: ports.clock.nowMs, warnDays });

Deno.test("inspectCertificates() shows every fact of the original's certificates and no problem", async () => {
  const { certificates, problems } = await inspect(await filledPorts());
  assertEquals(problems, []);
  const { fingerprint, ...server } = certificates[1]!;
  assertEquals(fingerprint.length, 64);
  assertEquals(server, {
    path: "/p/server.crt",
    position: 1,
    subject: "C=US, ST=Boston, L=MA, CN=etcd server",
    issuer: "C=US, ST=Boston, L=MA, O=Critical Stack, CN=e2d-ca",
    serial: "6897e29ee9f067017db855481b1be8f59434e3aa",
    names: ["localhost", "127.0.0.1", "127.0.0.1", "192.0.2.2"],
    usage: ["server auth"],
    notBefore: "2026-11-23T06:42:00Z",
    notAfter: "2031-11-22T06:42:00Z",
    daysLeft: 1786,
    chain: "verified",
  });
  assertEquals(certificates[0]!.usage, ["CA"]);
});

Deno.test("inspectCertificates() finds what expires within the days asked for, and not a day more", async () => {
  const ports = await filledPorts();
  assertEquals((await inspect(ports, 1786)).problems, []);
  const { problems } = await inspect(ports, 1787);
  assertEquals(problems.length, 2);
  assert(problems[1]!.includes("expires in 1786 days, on 2031-11-22T06:42:00Z"), String(problems[1]));
  ports.clock.nowMs = Date.UTC(2032, 0, 1);
  const expired = await inspect(ports);
  assert(expired.problems[0]!.endsWith("expired on 2031-11-22T06:42:00Z"), String(expired.problems[0]));
});

Deno.test("inspectCertificates() finds a broken chain, a wrong key, an open key and a missing file together", async () => {
  const ports = await filledPorts();
  await initAuthority(ports, { caCert: "/p/ca.crt", caKey: "/p/ca.key", kind: "ecdsa-p256", force: true });
  await ports.files.writeAtomic("/p/server.key", await goPki("peer.key"), { mode: 0o644 });
  const { problems, certificates } = await inspect(ports, 30, ["/p/server.crt", "/p/none.crt"]);
  assertEquals(problems.length, 4, problems.join("\n"));
  assert(problems[0]!.includes('Cannot read certificate "/p/none.crt"'));
  assert(problems[1]!.includes("not signed by the trusted authority"));
  assert(problems[2]!.includes("the key belongs to another certificate"));
  assert(problems[3]!.includes("can be read by every user"));
  assertEquals(certificates.length, 2);
});

Deno.test("inspectCertificates() tells the certificates of a bundle apart", async () => {
  const ports = await filledPorts();
  await initAuthority(ports, { caCert: "/q/ca.crt", caKey: "/q/ca.key", kind: "ecdsa-p256" });
  await ports.files.writeAtomic("/p/ca.crt", ports.files.text("/q/ca.crt") + await goPki("ca.crt"));
  const { certificates, problems } = await inspect(ports);
  assertEquals(problems, []);
  assertEquals(certificates.map(({ path, position }) => `${path} ${position}`), [
    "/p/ca.crt 1",
    "/p/ca.crt 2",
    "/p/server.crt 1",
  ]);
});

Deno.test("inspectionTable() is a table of one line each", async () => {
  const ports = testPorts(newYearMs);
  await initAuthority(ports, { ...ca, kind: "ecdsa-p256", lifetimeMs: 90 * dayMs });
  await generateCertificates(ports, { ...ca, outputDir: "/p", hosts: ["n1", "10.0.0.1"], kind: "ecdsa-p256" });
  const { certificates } = await inspect(ports, 30, ["/p/client.crt", "/p/server.crt"]);
  assertEquals(
    inspectionTable(certificates),
    [
      "FILE           SUBJECT                                             NAMES           USAGE        EXPIRES     DAYS LEFT  CHAIN",
      "/p/ca.crt      C=US, ST=Boston, L=MA, O=Critical Stack, CN=e2d-ca  -               CA           2027-03-31  89         verified",
      "/p/client.crt  C=US, ST=Boston, L=MA, CN=etcd client               client.invalid  client auth  2027-03-31  89         verified",
      "/p/server.crt  C=US, ST=Boston, L=MA, CN=etcd server               n1,10.0.0.1     server auth  2027-03-31  89         verified",
      "",
    ].join("\n"),
  );
});

Deno.test("inspectCertificates() names the gossip key by a fingerprint, where the CA key is here", async () => {
  const ports = await filledPorts();
  const options = { caCert: "/p/ca.crt", certificates: [], nowMs: ports.clock.nowMs, warnDays: 30 };
  const { gossipKey } = await inspectCertificates(ports.files, { ...options, caKey: "/p/ca.key" });
  const { bytes } = secretKeyFromCaKey(ports.files.text("/p/ca.key"), { role: "CA key", path: "ca.key" });
  assertEquals(gossipKey, { path: "/p/ca.key", fingerprint: gossipKeyFingerprint(bytes) });
  assert(/^[0-9a-f]{12}$/.test(gossipKey!.fingerprint) && !bytes.toHex().includes(gossipKey!.fingerprint));
  const without = await inspectCertificates(ports.files, { ...options, caKey: "/elsewhere/ca.key" });
  assertEquals([without.gossipKey, without.problems], [undefined, []]);
});
