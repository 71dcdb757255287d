/** grpc-js with certificates against real etcd: accepted pairs, and refusals that do not end the process. */
import { Buffer } from "node:buffer";
import { Etcd3 } from "etcd3";
import { listEtcdMembers } from "../../lib/cli/pki_rollover.ts";
import { generateCertificates, initAuthority } from "../../lib/pki/generate.ts";
import { enableGrpcTls } from "../../lib/sys/grpc/tls.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { realPorts, TlsCluster } from "./pki_cluster.ts";

// grpc-js closes its HTTP/2 sessions some time after the client.
const sanitize = { sanitizeResources: false, sanitizeOps: false };

Deno.test(
  "enableGrpcTls() connects grpc-js with its pair, and turns a refusal into an error of the call",
  sanitize,
  async () => {
    await enableGrpcTls();
    await using directory = await temporaryDirectory();
    const at = (path: string) => `${directory.path}/${path}`;
    await using cluster = await TlsCluster.start({ directory: directory.path, size: 1 });
    const member = cluster.members[0]!;
    const other = { caCert: at("other/ca.crt"), caKey: at("other/ca.key") };
    await initAuthority(realPorts, { ...other, kind: "ecdsa-p256" });
    await generateCertificates(realPorts, { ...other, outputDir: at("other"), hosts: [], kind: "ecdsa-p256" });

    const unhandled: unknown[] = [];
    const onUnhandled = (event: PromiseRejectionEvent) => {
      unhandled.push(event.reason);
      event.preventDefault();
    };
    globalThis.addEventListener("unhandledrejection", onUnhandled);
    const put = async (ca: string, pair: string, url = member.clientUrl) => {
      const read = (path: string) => Buffer.from(Deno.readFileSync(path));
      const client = new Etcd3({
        hosts: url,
        credentials: { rootCertificate: read(ca), certChain: read(`${pair}.crt`), privateKey: read(`${pair}.key`) },
        defaultCallOptions: () => ({ deadline: realPorts.clock.wallMs() + 30_000 }),
      });
      try {
        await client.put("key").value("value");
        return "ok";
      } catch (error) {
        return String(error);
      } finally {
        client.close();
      }
    };
    const text = (path: string) => Deno.readTextFileSync(path);
    const listed = await listEtcdMembers({
      endpoints: [member.clientUrl],
      ca: text(`${member.pki}/ca.crt`),
      certificate: text(`${member.pki}/client.crt`),
      key: text(`${member.pki}/client.key`),
    });
    assertEquals(listed, [{ name: "n0", urls: [member.clientUrl, member.peerUrl] }]);
    const [ca, pair] = [`${member.pki}/ca.crt`, `${member.pki}/client`];
    const outcomes = {
      "its own pair": await put(ca, pair),
      "the peer pair": await put(ca, `${member.pki}/peer`),
      "another authority trusted": await put(other.caCert, pair),
      "another authority's pair": await put(ca, at("other/client")),
      "the server pair": await put(ca, `${member.pki}/server`),
      "nobody there": await put(ca, pair, "https://127.0.0.1:1"),
    };
    globalThis.removeEventListener("unhandledrejection", onUnhandled);
    assertEquals(outcomes["its own pair"], "ok");
    assertEquals(outcomes["the peer pair"], "ok");
    for (const [who, outcome] of Object.entries(outcomes).slice(2)) {
      assert(outcome !== "ok", `${who} was let in`);
    }
    // TLS 1.3 reports a bad client certificate after the handshake: as an alert or as a closed connection, whichever
    // arrives first.
    assert(/UnknownCA|dropped/.test(outcomes["another authority's pair"]), outcomes["another authority's pair"]);
    assert(outcomes["another authority trusted"].includes("TLS handshake"), outcomes["another authority trusted"]);
    assertEquals(unhandled, []);
  },
);
