import { generateCertificates, initAuthority } from "../../lib/pki/generate.ts";
import { type RenewalRound, renewRound, watchCertificates } from "../../lib/pki/renewal_loop.ts";
import { assertEquals } from "../support/assert.ts";
import { dayMs, type TestPorts, testPorts } from "./support.ts";

const kind = "ecdsa-p256";
const ca = { caCert: "/p/ca.crt", caKey: "/p/ca.key" };
const pairs = ["server", "peer"].map((role) => ({ role, paths: { cert: `/p/${role}.crt`, key: `/p/${role}.key` } }));

async function filledPorts(): Promise<TestPorts> {
  const ports = testPorts();
  await initAuthority(ports, { ...ca, kind });
  await generateCertificates(ports, { ...ca, outputDir: "/p", hosts: ["n1"], kind, lifetimeMs: 90 * dayMs });
  return ports;
}

const summary = (round: RenewalRound) => ({
  renewed: round.renewed.map(({ role }) => role),
  failed: round.failures.map(({ role, error }) => `${role} ${error.code}`),
  warned: round.certificates.flatMap(({ role, warning }) => warning ? [`${role} ${warning.kind}`] : []),
  known: round.certificates.map(({ role }) => role),
});

Deno.test("renewRound() leaves young certificates alone and renews due ones, once", async () => {
  const ports = await filledPorts();
  const quiet = { renewed: [], failed: [], warned: [], known: ["server", "peer", "ca"] };
  assertEquals(summary(await renewRound(ports, { ...ca, pairs })), quiet);
  ports.clock.nowMs += 60 * dayMs;
  assertEquals(summary(await renewRound(ports, { ...ca, pairs })), { ...quiet, renewed: ["server", "peer"] });
  assertEquals(summary(await renewRound(ports, { ...ca, pairs })), quiet);
});

Deno.test("renewRound() only warns without the CA key", async () => {
  const ports = await filledPorts();
  ports.clock.nowMs += 61 * dayMs;
  const { renewed, warned } = summary(await renewRound(ports, { ...ca, caKey: undefined, pairs }));
  assertEquals([renewed, warned], [[], ["server expiring", "peer expiring"]]);
  ports.clock.nowMs += 30 * dayMs;
  const later = summary(await renewRound(ports, { ...ca, caKey: undefined, pairs }));
  assertEquals(later.warned, ["server expired", "peer expired"]);
});

Deno.test("renewRound() renews the others when one pair is broken, and tells both", async () => {
  const ports = await filledPorts();
  ports.clock.nowMs += 61 * dayMs;
  await ports.files.writeAtomic("/p/server.key", "broken");
  const round = summary(await renewRound(ports, { ...ca, pairs }));
  assertEquals(round, {
    renewed: ["peer"],
    failed: ["server pki_key_missing"],
    warned: ["server expiring"],
    known: ["server", "peer", "ca"],
  });
});

Deno.test("renewRound() still watches when the CA key is broken", async () => {
  const ports = await filledPorts();
  await ports.files.writeAtomic("/p/ca.key", "broken");
  const { failed, known } = summary(await renewRound(ports, { ...ca, pairs }));
  assertEquals([failed, known], [["ca pki_key_missing"], ["server", "peer", "ca"]]);
});

Deno.test("renewRound() renews whatever its age when it is forced to", async () => {
  const ports = await filledPorts();
  assertEquals(summary(await renewRound(ports, { ...ca, pairs, force: true })).renewed, ["server", "peer"]);
});

Deno.test("watchCertificates() makes a round at once, then one after each pause, until it is stopped", async () => {
  const ports = await filledPorts();
  const stop = new AbortController();
  const pausesMs: number[] = [];
  const clock = {
    ...ports.clock,
    monotonicMs: () => 0,
    sleep(ms: number) {
      pausesMs.push(ms);
      ports.clock.nowMs += 30 * dayMs;
      clock.nowMs = ports.clock.nowMs;
      if (pausesMs.length === 3) stop.abort();
      return stop.signal.aborted ? Promise.reject(stop.signal.reason) : Promise.resolve();
    },
  };
  const renewedAt: number[] = [];
  let rounds = 0;
  await watchCertificates({ ...ports, clock }, { ...ca, pairs }, {
    signal: stop.signal,
    onRound: (round) => {
      rounds++;
      if (round.renewed.length > 0) renewedAt.push(rounds);
    },
  });
  assertEquals([rounds, pausesMs, renewedAt], [3, [60_000, 60_000, 60_000], [3]]);
});
