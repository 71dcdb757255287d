import fc from "fast-check";
import { readCertificates } from "../../lib/pki/certificate.ts";
import { generateCertificates, initAuthority, readAuthority } from "../../lib/pki/generate.ts";
import { readPair } from "../../lib/pki/pair.ts";
import { daysLeft, decideRenewal, expiryWarning, renewPair } from "../../lib/pki/renewal.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { dayMs, goPki, type TestPorts, testPorts } from "./support.ts";

const kind = "ecdsa-p256";
const ca = { caCert: "/p/ca.crt", caKey: "/p/ca.key" };
const paths = { cert: "/p/server.crt", key: "/p/server.key" };
const role = "server";

async function filledPorts(lifetimeMs = 90 * dayMs): Promise<TestPorts> {
  const ports = testPorts();
  await initAuthority(ports, { ...ca, kind });
  await generateCertificates(ports, { ...ca, outputDir: "/p", hosts: ["n1"], kind, lifetimeMs });
  return ports;
}

Deno.test("decideRenewal() renews from two thirds of a life on, to the millisecond", () => {
  const term = { notBeforeMs: 0, notAfterMs: 90 * dayMs, authorityNotAfterMs: 1000 * dayMs };
  assertEquals(decideRenewal({ ...term, nowMs: 60 * dayMs - 1 }), { kind: "keep", dueMs: 60 * dayMs });
  assertEquals(decideRenewal({ ...term, nowMs: 60 * dayMs }), {
    kind: "renew",
    reason: "two thirds of its life are over",
  });
  assertEquals(decideRenewal({ ...term, nowMs: 90 * dayMs }), { kind: "renew", reason: "it has expired" });
});

Deno.test("decideRenewal() does not renew for nothing when the authority ends with the certificate", () => {
  const term = { notBeforeMs: 0, notAfterMs: 90 * dayMs, authorityNotAfterMs: 90 * dayMs };
  const decided = decideRenewal({ ...term, nowMs: 70 * dayMs });
  assertEquals(decided, { kind: "authority ends", authorityNotAfterMs: 90 * dayMs });
});

Deno.test("decideRenewal() never asks again right after a renewal, whatever the length of the life", () => {
  const lives = fc.record({ lifeMs: fc.integer({ min: 60_000, max: 10 * 365 * dayMs }), nowMs: fc.nat() });
  fc.assert(
    fc.property(lives, ({ lifeMs, nowMs }) => {
      const notBeforeMs = nowMs - Math.min(5 * 60_000, lifeMs / 10);
      const notAfterMs = notBeforeMs + lifeMs;
      const decided = decideRenewal({ nowMs, notBeforeMs, notAfterMs, authorityNotAfterMs: Infinity });
      assert(decided.kind === "keep" && decided.dueMs - nowMs >= lifeMs / 2);
    }),
    { seed: 7 },
  );
});

Deno.test("expiryWarning() speaks 30 days before the end, later for short lives, and tells expired apart", () => {
  const year = { notBeforeMs: 0, notAfterMs: 365 * dayMs };
  assertEquals(expiryWarning({ ...year, nowMs: 335 * dayMs - 1 }), undefined);
  assertEquals(expiryWarning({ ...year, nowMs: 335 * dayMs }), { kind: "expiring", daysLeft: 30 });
  assertEquals(expiryWarning({ ...year, nowMs: 365 * dayMs }), { kind: "expired" });
  const month = { notBeforeMs: 0, notAfterMs: 30 * dayMs };
  assertEquals(expiryWarning({ ...month, nowMs: 19 * dayMs }), undefined);
  assertEquals(expiryWarning({ ...month, nowMs: 20 * dayMs }), { kind: "expiring", daysLeft: 10 });
  assertEquals(daysLeft(0, 1), -1);
});

Deno.test("renewPair() keeps subject, names, usages, key and length of life, and gives a new term and serial", async () => {
  const ports = await filledPorts();
  const before = await readPair(ports.files, paths, role);
  const keyText = ports.files.text(paths.key);
  ports.clock.nowMs += 60 * dayMs;
  const writes = ports.files.writes;
  await renewPair(ports, { authority: await readAuthority(ports.files, ca), paths, role });
  assertEquals(ports.files.writes, writes + 1);
  const after = await readPair(ports.files, paths, role);
  assertEquals(ports.files.text(paths.key), keyText);
  for (const part of ["subjectDer", "issuerDer", "names", "usages", "publicKey"] as const) {
    assertEquals(after.certificate[part], before.certificate[part]);
  }
  assert(after.certificate.serial !== before.certificate.serial);
  assertEquals(after.certificate.notAfterMs - before.certificate.notAfterMs, 60 * dayMs);
  assertEquals(after.certificate.notBeforeMs - before.certificate.notBeforeMs, 60 * dayMs);
});

Deno.test("renewPair() renews the original's certificates with the original's CA", async () => {
  const ports = testPorts();
  for (const name of ["ca.crt", "ca.key", "server.crt", "server.key"]) {
    await ports.files.writeAtomic(`/p/${name}`, await goPki(name));
  }
  ports.clock.nowMs += 365 * dayMs;
  const before = await readPair(ports.files, paths, role);
  const authority = await readAuthority(ports.files, ca);
  const { certificate } = await renewPair(ports, { authority, paths, role });
  assertEquals(certificate.names, before.certificate.names);
  assertEquals(certificate.subjectDer, before.certificate.subjectDer);
  // The authority ends when the certificate did, so the end stays where it was.
  assertEquals(certificate.notAfterMs, authority.certificate.notAfterMs);
});

Deno.test("renewPair() returns to five years when only the old authority's end had cut a life short", async () => {
  const ports = testPorts();
  await initAuthority(ports, { ...ca, kind, lifetimeMs: 20 * dayMs });
  await generateCertificates(ports, { ...ca, outputDir: "/p", hosts: ["n1"], kind });
  const old = ports.files.text("/p/ca.crt");
  await initAuthority(ports, { caCert: "/p/new.crt", caKey: "/p/new.key", kind });
  await ports.files.writeAtomic("/p/new.crt", ports.files.text("/p/new.crt") + old);
  const authority = await readAuthority(ports.files, { caCert: "/p/new.crt", caKey: "/p/new.key" });
  const { certificate } = await renewPair(ports, { authority, paths, role });
  assertEquals(certificate.notAfterMs, authority.certificate.notAfterMs);
});

Deno.test("renewPair() with rekey makes a new key and keeps the old one aside", async () => {
  const ports = await filledPorts();
  const old = ports.files.text(paths.key);
  const authority = await readAuthority(ports.files, ca);
  const { keyBackup } = await renewPair(ports, { authority, paths, role, rekey: true });
  assertEquals(ports.files.text(keyBackup!), old);
  assert(ports.files.text(paths.key) !== old);
  assertEquals(ports.files.files.get(paths.key)!.mode, 0o600);
  await readPair(ports.files, paths, role);
});

Deno.test("renewPair() leaves a working pair wherever the power is cut, or one that the same call mends", async () => {
  for (const rekey of [false, true]) {
    for (let writesLeft = 0; writesLeft < (rekey ? 3 : 1); writesLeft++) {
      const ports = await filledPorts();
      const authority = await readAuthority(ports.files, ca);
      ports.files.writesLeft = writesLeft;
      await assertE2dError("power_lost", () => renewPair(ports, { authority, paths, role, rekey }));
      ports.files.writesLeft = Infinity;
      if (writesLeft < 2) await readPair(ports.files, paths, role);
      await renewPair(ports, { authority, paths, role, rekey });
      await readPair(ports.files, paths, role);
    }
  }
});

Deno.test("renewPair() refuses another authority's certificate and a key that does not match", async () => {
  const ports = await filledPorts();
  const authority = await readAuthority(ports.files, ca);
  await ports.files.writeAtomic("/g/server.crt", await goPki("server.crt"));
  await ports.files.writeAtomic("/g/server.key", await goPki("server.key"));
  const foreign = { cert: "/g/server.crt", key: "/g/server.key" };
  await assertE2dError("pki_foreign", () => renewPair(ports, { authority, paths: foreign, role }));
  await assertE2dError("pki_foreign", () => renewPair(ports, { authority, paths: foreign, role, rekey: true }));
  assertEquals(ports.files.text("/g/server.crt"), await goPki("server.crt"));
  await ports.files.writeAtomic("/p/server.key", await goPki("server.key"));
  await assertE2dError("pki_key_mismatch", () => renewPair(ports, { authority, paths, role }));
  const [present] = await readCertificates(ports.files.text(paths.cert), { role, path: paths.cert });
  assertEquals(present.notAfterMs, ports.clock.nowMs - 5 * 60_000 + 90 * dayMs);
});
