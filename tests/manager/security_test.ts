import { prepareSecurity } from "../../lib/manager/security/security.ts";
import { generateCertificates, initAuthority } from "../../lib/pki/generate.ts";
import { dayMs, testPorts } from "../pki/support.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { TestLog } from "../support/test_log.ts";

/** A node that was off for 91 days, with certificates of 90. */
async function afterTheEnd() {
  const ports = { ...testPorts(), log: new TestLog() };
  const ca = { caCert: "/p/ca.crt", caKey: "/p/ca.key" };
  await initAuthority(ports, { ...ca, kind: "ecdsa-p256" });
  const made = { ...ca, outputDir: "/p", hosts: ["n1"], kind: "ecdsa-p256", lifetimeMs: 90 * dayMs } as const;
  await generateCertificates(ports, made);
  ports.clock.nowMs += 91 * dayMs;
  const paths = {
    caCert: ca.caCert,
    serverCert: "/p/server.crt",
    serverKey: "/p/server.key",
    peerCert: "/p/peer.crt",
    peerKey: "/p/peer.key",
  };
  const expect = { nowMs: ports.clock.nowMs, clientHost: "n1", peerHost: "n1" };
  return { ports, paths, expect, caKey: ca.caKey };
}

Deno.test("prepareSecurity() with --auto-renew renews certificates that expired while the node was down", async () => {
  const { ports, paths, expect, caKey } = await afterTheEnd();
  const { scheme } = await prepareSecurity({ ...paths, caKey, autoRenew: true }, expect, ports);
  assertEquals(scheme, "https");
  const renewed = ports.log.lines.filter(({ message }) => message.startsWith("renewed a certificate"));
  assertEquals(renewed.map(({ level, fields }) => `${level} ${fields.role}`).sort(), ["warn peer", "warn server"]);
});

Deno.test("prepareSecurity() refuses expired certificates without --auto-renew, and those it cannot renew", async () => {
  const first = await afterTheEnd();
  const off = { ...first.paths, caKey: first.caKey, autoRenew: false };
  const error = await assertE2dError("tls_unusable", () => prepareSecurity(off, first.expect, first.ports));
  assert(error.message.includes("expired on"), error.message);

  const { ports, paths, expect, caKey } = await afterTheEnd();
  await ports.files.writeAtomic("/p/peer.key", "broken");
  const refused = await assertE2dError(
    "tls_unusable",
    () => prepareSecurity({ ...paths, caKey, autoRenew: true }, expect, ports),
  );
  assert(refused.message.includes("peer"), refused.message);
  assert(!refused.message.includes("server.crt"), refused.message);
});
