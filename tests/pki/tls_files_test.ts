import { checkTlsFiles, requireUsable } from "../../lib/pki/tls_files.ts";
import { generateCertificates, initAuthority } from "../../lib/pki/generate.ts";
import { checkTlsPaths, type TlsPaths } from "../../lib/pki/tls_set.ts";
import { writePem } from "../../lib/pki/pem.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { dayMs, goPki, type TestPorts, testPorts } from "./support.ts";

const kind = "ecdsa-p256";
const paths = {
  caCert: "/p/ca.crt",
  caKey: "/p/ca.key",
  serverCert: "/p/server.crt",
  serverKey: "/p/server.key",
  peerCert: "/p/peer.crt",
  peerKey: "/p/peer.key",
  clientCert: "/p/client.crt",
  clientKey: "/p/client.key",
} as const;

async function filledPorts(): Promise<TestPorts> {
  const ports = testPorts();
  await initAuthority(ports, { ...paths, kind });
  await generateCertificates(ports, { ...paths, outputDir: "/p", hosts: ["n1.local", "10.0.0.1"], kind });
  return ports;
}

function report(ports: TestPorts, changed: TlsPaths = {}, hosts = ["n1.local"]) {
  const set = checkTlsPaths({ ...paths, ...changed });
  return checkTlsFiles(ports.files, set, { nowMs: ports.clock.nowMs, clientHosts: hosts, peerHosts: hosts });
}

Deno.test("checkTlsFiles() has nothing to say about what gencerts wrote, and knows every certificate's end", async () => {
  const ports = await filledPorts();
  const { problems, warnings, certificates } = await report(ports, {}, ["n1.local", "10.0.0.1"]);
  assertEquals([problems, warnings], [[], []]);
  assertEquals(certificates.map(({ role }) => role), ["ca", "server", "peer", "client"]);
  assert(certificates.every(({ notAfterMs }) => notAfterMs > ports.clock.nowMs));
});

Deno.test("checkTlsFiles() has nothing to say about the original's files", async () => {
  const ports = testPorts();
  for (const path of Object.values(paths)) {
    await ports.files.writeAtomic(path, await goPki(path.slice(3)), { mode: path.endsWith("key") ? 0o600 : 0o644 });
  }
  const { problems, warnings } = await report(ports, {}, ["localhost", "127.0.0.1"]);
  assertEquals([problems, warnings], [[], []]);
});

Deno.test("checkTlsFiles() reports everything wrong at once", async () => {
  const ports = await filledPorts();
  ports.files.files.delete("/p/server.crt");
  await ports.files.writeAtomic("/p/client.key", ports.files.text("/p/peer.key"), { mode: 0o600 });
  const { problems } = await report(ports, {}, ["elsewhere"]);
  assertEquals(problems.length, 3, problems.join("\n"));
  assert(
    problems[0]!.includes('Cannot read server certificate "/p/server.crt": there is no such file'),
    String(problems[0]),
  );
  assert(problems[1]!.includes('"/p/peer.crt" does not name the advertised host "elsewhere" (it names: n1.local, 10'));
  assert(problems[2]!.includes('"/p/client.crt" with key "/p/client.key": the key belongs to another certificate'));
});

Deno.test("checkTlsFiles() finds a pair that is not made for its role", async () => {
  const ports = await filledPorts();
  const swapped = await report(ports, { peerCert: "/p/server.crt", peerKey: "/p/server.key" });
  assertEquals(swapped.problems, [
    'the peer certificate "/p/server.crt" is not made for "client auth", only for server auth',
  ]);
  const server = await report(ports, { serverCert: "/p/client.crt", serverKey: "/p/client.key" }, []);
  assertEquals(server.problems.length, 1);
});

Deno.test("checkTlsFiles() finds another authority's pair, and a CA key that does not belong", async () => {
  const ports = await filledPorts();
  await ports.files.writeAtomic("/p/ca.crt", await goPki("ca.crt"));
  const { problems } = await report(ports);
  assertEquals(problems.length, 4, problems.join("\n"));
  assert(problems[0]!.includes("the key does not belong to the certificate"), String(problems[0]));
  assert(problems[1]!.includes("is not signed by the trusted authority"), String(problems[1]));
});

Deno.test("checkTlsFiles() tells expired from not yet valid", async () => {
  const ports = await filledPorts();
  const start = ports.clock.nowMs;
  ports.clock.nowMs = start - dayMs;
  const early = await report(ports);
  assert(early.problems[0]!.includes("is not valid before 2026-12-31T23:55:00Z (is this machine's clock right?)"));
  ports.clock.nowMs = start + 6 * 365 * dayMs;
  const late = await report(ports);
  assert(late.problems.some((problem) => problem.includes('"/p/server.crt" expired on ')), late.problems.join("\n"));
});

Deno.test("checkTlsFiles() warns of keys that others can read, once each", async () => {
  const ports = await filledPorts();
  ports.files.files.get("/p/ca.key")!.mode = 0o644;
  ports.files.files.get("/p/peer.key")!.mode = 0o640;
  const { problems, warnings } = await report(ports, { clientCert: "/p/peer.crt", clientKey: "/p/peer.key" });
  assertEquals(problems, []);
  assertEquals(warnings, [
    'the key "/p/ca.key" can be read by every user of this machine: chmod 600 /p/ca.key',
    'the key "/p/peer.key" can be read by its group: chmod 600 /p/peer.key',
  ]);
});

Deno.test("checkTlsFiles() names the mended slip of the original's unit file", async () => {
  const ports = await filledPorts();
  // Mode 0644, as a certificate may have: nobody is told to hide it.
  const { problems, warnings } = await report(ports, { caKey: "/p/ca.crt" });
  assertEquals(warnings, []);
  assertEquals(problems, [
    'Cannot read CA key "/p/ca.crt": the file holds a certificate, not a private key ' +
    '(hint: the key is usually in "/p/ca.key")',
  ]);
});

Deno.test("checkTlsFiles() reads a CA key that is given alone", async () => {
  const ports = await filledPorts();
  const check = (caKey: string) =>
    checkTlsFiles(ports.files, { kind: "plain", caKey }, { nowMs: 0, clientHosts: [], peerHosts: [] });
  assertEquals((await check("/p/ca.key")).problems, []);
  assertEquals((await check("/p/none.key")).problems.length, 1);
});

Deno.test("checkTlsFiles() lets a server key pass that only etcd can read, with a warning", async () => {
  const ports = await filledPorts();
  await ports.files.writeAtomic("/p/server.key", writePem("DSA PRIVATE KEY", new Uint8Array(4)), { mode: 0o600 });
  const { problems, warnings } = await report(ports);
  assertEquals([problems.length, warnings.length], [0, 1]);
});

Deno.test("requireUsable() throws all problems in one error", async () => {
  requireUsable({ problems: [], warnings: ["w"], certificates: [] });
  const error = await assertE2dError("tls_unusable", () => {
    requireUsable({ problems: ["one", "two"], warnings: [], certificates: [] });
  });
  assertEquals(error.message, "Cannot start with these certificates: one; two");
});
