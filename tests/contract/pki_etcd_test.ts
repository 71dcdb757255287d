/** Which certificates of e2d real etcd of every supported version accepts and refuses. */
import { generateCertificates, initAuthority } from "../../lib/pki/generate.ts";
import { termProblem } from "../../lib/pki/tls_files.ts";
import { readPair } from "../../lib/pki/pair.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { etcdVersions } from "../support/parts.ts";
import { diskFiles, realPorts, TlsCluster } from "./pki_cluster.ts";

for (const version of etcdVersions) {
  Deno.test(`etcd ${version} accepts the client and the peer pair, and no other`, async () => {
    await using directory = await temporaryDirectory();
    const kind = version === "3.4.23" ? "rsa-2048" : "ecdsa-p256";
    await using cluster = await TlsCluster.start({ directory: directory.path, size: 1, version, kind });
    const member = cluster.members[0]!;
    const put = (pair: string, ca?: string, ...more: string[]) =>
      cluster.etcdctl(member, ["put", "key", "value", ...more], pair, ca);
    // etcdctl retries a refused handshake until its time-out.
    const brief = "--command-timeout=3s";
    assertEquals((await put(`${member.pki}/client`)).code, 0);
    assertEquals((await put(`${member.pki}/peer`)).code, 0);
    const other = { caCert: `${directory.path}/other/ca.crt`, caKey: `${directory.path}/other/ca.key` };
    await initAuthority(realPorts, { ...other, kind });
    await generateCertificates(realPorts, { ...other, outputDir: `${directory.path}/other`, hosts: [], kind });
    const refused = await Promise.all([
      put("", undefined, brief),
      put(`${member.pki}/server`, undefined, brief),
      put(`${directory.path}/other/client`, undefined, brief),
      put(`${member.pki}/client`, other.caCert, brief),
    ]);
    const who = ["no pair", "the server pair", "another authority's pair", "another authority trusted"];
    for (const [index, { code, stdout }] of refused.entries()) {
      assert(code !== 0 && !stdout.includes("OK"), `${who[index]} was let in: ${stdout}`);
    }
    const plain = await fetch(`${member.clientUrl.replace("https", "http")}/version`).then(async (response) => {
      await response.body?.cancel();
      return response.status;
    }, () => "refused");
    assert(plain !== 200, `plain HTTP was answered: ${plain}`);
  });
}

Deno.test("etcd runs three members with the certificates of the original, unchanged and renewed", async () => {
  await using directory = await temporaryDirectory();
  const pki = `${directory.path}/go`;
  await Deno.mkdir(pki);
  for (const name of ["ca", "server", "peer", "client"].flatMap((stem) => [`${stem}.crt`, `${stem}.key`])) {
    await Deno.copyFile(new URL(`../vectors/go-pki/${name}`, import.meta.url), `${pki}/${name}`);
  }
  const { certificate } = await readPair(diskFiles, { cert: `${pki}/server.crt`, key: `${pki}/server.key` }, "server");
  const term = termProblem(certificate, realPorts.clock.wallMs());
  assertEquals(term, undefined, `tests/vectors/go-pki ${term}: have the original write new ones`);
  // They were made for localhost and 127.0.0.1.
  await using cluster = await TlsCluster.start({ directory: directory.path, size: 3, pki, host: "127.0.0.1" });
  for (const member of cluster.members) {
    assertEquals((await cluster.etcdctl(member, ["put", member.name, "value"])).code, 0);
  }
  const { renewRound } = await import("../../lib/pki/renewal_loop.ts");
  const pairs = ["server", "peer", "client"].map((role) => ({
    role,
    paths: { cert: `${pki}/${role}.crt`, key: `${pki}/${role}.key` },
  }));
  const round = await renewRound(realPorts, { caCert: `${pki}/ca.crt`, caKey: `${pki}/ca.key`, pairs, force: true });
  assertEquals([round.renewed.length, round.failures], [3, []]);
  for (const member of cluster.members) {
    await cluster.restartMember(member);
    assertEquals((await cluster.etcdctl(member, ["get", "n0", "--print-value-only"])).stdout, "value\n");
  }
});
