import { initAuthority } from "../../lib/pki/generate.ts";
import { assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { realPorts, run, TlsCluster } from "./pki_cluster.ts";

Deno.test({
  name: "e2db connects with mutual TLS and a private CA, and a refusal is an error that does not end the program",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    await using directory = await temporaryDirectory();
    await using cluster = await TlsCluster.start({ directory: directory.path, size: 1 });
    const { pki, clientUrl } = cluster.members[0]!;
    const stranger = { caCert: `${pki}/stranger.crt`, caKey: `${pki}/stranger.key` };
    await initAuthority(realPorts, { ...stranger, kind: "ecdsa-p256" });
    const at = (path: string) => new URL(path, import.meta.url).pathname;
    const { stdout, stderr } = await run(Deno.execPath(), [
      ...["run", "--quiet", "--no-check", "--allow-all", "--config", at("../../deno.json")],
      ...[at("../e2db/suites/tls_client.ts"), clientUrl, pki],
    ]);
    assertEquals(stdout.trim(), JSON.stringify(["3,2,1", "unavailable", "unavailable"]), stderr);
  },
});
