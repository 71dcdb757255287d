import { readCertificates } from "../../lib/pki/certificate.ts";
import { generateCertificates, initAuthority } from "../../lib/pki/generate.ts";
import { readPair } from "../../lib/pki/pair.ts";
import {
  dropOld,
  prepareRollover,
  readRollover,
  reissueUnderNext,
  type RolloverState,
  trustNext,
} from "../../lib/pki/rollover/files.ts";
import { keyFilesInUse } from "../../lib/pki/rollover/rollover.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { goPki, type TestPorts, testPorts } from "./support.ts";

const kind = "ecdsa-p256";
const ca = { caCert: "/p/ca.crt", caKey: "/p/ca.key" };
const pairs = ["server", "peer", "client"].map((role) => ({
  role,
  paths: { cert: `/p/${role}.crt`, key: `/p/${role}.key` },
}));
const options = { ...ca, pairs };

type Ports = TestPorts & { remove(path: string): Promise<void> };

let filled: Promise<TestPorts> | undefined;

/** A machine of its own each time; the keys are made once. */
async function filledPorts(): Promise<Ports> {
  filled ??= (async () => {
    const ports = testPorts();
    await initAuthority(ports, { ...ca, kind });
    await generateCertificates(ports, { ...ca, outputDir: "/p", hosts: ["n1"], kind });
    return ports;
  })();
  const ports = testPorts();
  for (const [path, file] of (await filled).files.files) ports.files.files.set(path, { ...file });
  return { ...ports, remove: (path) => ports.files.remove(path) };
}

const phases: [string, (ports: Ports) => Promise<RolloverState>][] = [
  ["prepared", (ports) => prepareRollover(ports, { ...options, kind })],
  ["trusted", (ports) => trustNext(ports, options)],
  ["reissued", (ports) => reissueUnderNext(ports, options)],
  ["none", (ports) => dropOld(ports, options)],
];

Deno.test("a rollover goes through its phases, each one run twice changing nothing the second time", async () => {
  const ports = await filledPorts();
  const oldKey = ports.files.text(ca.caKey);
  for (const [kind, run] of phases) {
    assertEquals((await run(ports)).phase.kind, kind);
    const snapshot = JSON.stringify([...ports.files.files]);
    assertEquals((await run(ports)).phase.kind, kind);
    assertEquals(JSON.stringify([...ports.files.files]), snapshot);
  }
  const { files, current, next, paths } = await readRollover(ports, options);
  assertEquals([files.trusted.length, next, files.oldKeys.length], [1, undefined, 1]);
  assertEquals(current.certificate.subject, "C=US, ST=Boston, L=MA, O=Critical Stack, CN=e2d-ca 2027-01-01");
  // The key of before still opens the snapshots of before.
  const { openers } = keyFilesInUse(files, paths).snapshot;
  assertEquals(ports.files.text(openers[1]!), oldKey);
  assertEquals(ports.files.files.get(openers[1]!)!.mode, 0o600);
});

Deno.test("reissueUnderNext() keeps each pair's key and names", async () => {
  const ports = await filledPorts();
  const before = await Promise.all(pairs.map(({ paths, role }) => readPair(ports.files, paths, role)));
  for (const [, run] of phases) await run(ports);
  for (const [index, { paths, role }] of pairs.entries()) {
    const after = await readPair(ports.files, paths, role);
    assertEquals(after.key, before[index]!.key);
    assertEquals(after.certificate.names, before[index]!.certificate.names);
    assert(after.certificate.issuer.endsWith("CN=e2d-ca 2027-01-01"));
  }
});

Deno.test("every phase, cut off after any number of writes, is finished by running it again", async () => {
  for (const [index, [kind, run]] of phases.entries()) {
    for (let writesLeft = 0;; writesLeft++) {
      const ports = await filledPorts();
      for (const [, earlier] of phases.slice(0, index)) await earlier(ports);
      const caKey = ports.files.text(ca.caKey);
      ports.files.writesLeft = writesLeft;
      let wasCut = false;
      try {
        await run(ports);
      } catch {
        wasCut = true;
      }
      ports.files.writesLeft = Infinity;
      // Whatever happened, this machine can start: a CA key that fits, and pairs that fit a trusted authority.
      const between = await readRollover(ports, options);
      assert(
        between.files.pairs.every(({ signedBy }) => between.files.trusted.includes(signedBy!)),
        `${kind} ${writesLeft}`,
      );
      const keyFiles = [...ports.files.files.values()].map(({ data }) => new TextDecoder().decode(data));
      assert(keyFiles.includes(caKey), "the CA key of before is gone");
      for (const path of Object.values(keyFilesInUse(between.files, between.paths).snapshot).flat()) {
        ports.files.text(path);
      }
      assertEquals((await run(ports)).phase.kind, kind, `${kind} after ${writesLeft} writes`);
      if (!wasCut) break;
    }
  }
});

Deno.test("no phase begins before the one ahead of it has ended here", async () => {
  const ports = await filledPorts();
  await assertE2dError("pki_rollover_order", () => trustNext(ports, options));
  await assertE2dError("pki_rollover_order", () => reissueUnderNext(ports, options));
  await phases[0]![1](ports);
  await assertE2dError("pki_rollover_order", () => reissueUnderNext(ports, options));
  await assertE2dError("pki_rollover_order", () => dropOld(ports, options));
  await phases[1]![1](ports);
  await assertE2dError("pki_rollover_order", () => dropOld(ports, options));
});

Deno.test("a rollover leaves authorities alone that always stood in ca.crt", async () => {
  const ports = await filledPorts();
  await ports.files.writeAtomic(ca.caCert, await goPki("ca.crt") + ports.files.text(ca.caCert));
  assertEquals((await readRollover(ports, options)).phase.kind, "none");
  for (const [kind, run] of phases) assertEquals((await run(ports)).phase.kind, kind);
  const [first, ...rest] = await readCertificates(ports.files.text(ca.caCert), { role: "CA", path: ca.caCert });
  const [extra] = await readCertificates(await goPki("ca.crt"), { role: "CA", path: "go" });
  assertEquals([first.fingerprint, rest.length], [extra.fingerprint, 1]);
});

Deno.test("a second rollover keeps the keys of the first", async () => {
  const ports = await filledPorts();
  for (let turn = 0; turn < 2; turn++) for (const [, run] of phases) await run(ports);
  assertEquals((await readRollover(ports, options)).files.oldKeys.length, 2);
});
