import type { TlsProbe } from "../../lib/ports.ts";
import { createAuthority, loadAuthority } from "../../lib/pki/authority.ts";
import { readCertificates } from "../../lib/pki/certificate.ts";
import { isSignedBy } from "../../lib/pki/chain.ts";
import { probeMembers } from "../../lib/pki/rollover/probe.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { testPorts } from "./support.ts";

async function authority(commonName: string) {
  const ports = testPorts();
  const made = await createAuthority({ ...ports, kind: "ecdsa-p256", commonName });
  return await loadAuthority({
    certificate: { path: `${commonName}.crt`, text: made.certificate },
    key: { path: `${commonName}.key`, text: made.key },
  });
}

const [old, next] = [await authority("old"), await authority("next")];
const members = [{ name: "n1", urls: ["https://[::1]:2379"] }];

/** A server that shows the certificate of one authority and accepts those of others. */
const server = (shown: typeof old, accepted: (typeof old)[]): TlsProbe => async (_to, { trusted, certificate }) => {
  const trusts = await readCertificates(trusted, { role: "trusted", path: "" });
  if (!trusts.some((one) => one.fingerprint === shown.certificate.fingerprint)) {
    return { kind: "untrusted", detail: "" };
  }
  const [client] = await readCertificates(certificate, { role: "client", path: "" });
  for (const one of accepted) if (await isSignedBy(client, one.certificate)) return { kind: "accepted" };
  return { kind: "refused", detail: "" };
};

async function verdicts(probe: TlsProbe, given: { old?: typeof old } = { old }) {
  const ports = { ...testPorts(), probe };
  const clock = { ...ports.clock, sleep: () => new Promise<void>(() => {}) };
  const signal = new AbortController().signal;
  const [member] = await probeMembers({ ...ports, clock }, { members, old: given.old, next, signal });
  const { acceptsOld, acceptsNext, showsNext } = member!.ports[0]!;
  return `${acceptsOld} ${acceptsNext} ${showsNext}`;
}

Deno.test("probeMembers() tells every stage of a member apart", async () => {
  assertEquals(await verdicts(server(old, [old])), "yes no no");
  assertEquals(await verdicts(server(old, [old, next])), "yes yes no");
  assertEquals(await verdicts(server(next, [old, next])), "yes yes yes");
  assertEquals(await verdicts(server(next, [next])), "no yes yes");
  // Restarted too early: it shows the next authority's certificate and trusts the old one alone.
  assertEquals(await verdicts(server(next, [old])), "yes no yes");
});

Deno.test("probeMembers() takes silence, a foreign server and a missing old key for no answer", async () => {
  const silent: TlsProbe = () => Promise.resolve({ kind: "unreachable", detail: "refused" });
  assertEquals(await verdicts(silent), "unreachable unreachable unreachable");
  const foreign = await authority("foreign");
  assertEquals(await verdicts(server(foreign, [foreign])), "unreachable unreachable no");
  assertEquals(await verdicts(server(next, [next]), {}), "unreachable yes yes");
});

Deno.test("probeMembers() dials the host of the URL and gives up on a port that never answers", async () => {
  const dialled: unknown[] = [];
  const hanging: TlsProbe = (to, _credentials, signal) => {
    dialled.push(to);
    return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  };
  const ports = { ...testPorts(), probe: hanging };
  const clock = { ...ports.clock, sleep: () => Promise.resolve() };
  const signal = new AbortController().signal;
  const [member] = await probeMembers({ ...ports, clock }, { members, old, next, signal });
  assertEquals(dialled[0], { host: "::1", port: 2379 });
  assertEquals(member!.ports[0]!.acceptsNext, "unreachable");
  assert(member!.ports[0]!.detail.includes("within"));
});
