import { clientEndpoints, endpointProblems } from "../../lib/cli/client_endpoints.ts";
import { assert, assertEquals } from "../support/assert.ts";

const tls = { caCert: "ca.crt", clientCert: "client.crt", clientKey: "client.key" };

Deno.test("clientEndpoints() defaults to this machine, with https if certificates are given", () => {
  assertEquals(clientEndpoints(undefined, {}), ["http://127.0.0.1:2379"]);
  assertEquals(clientEndpoints([], tls), ["https://127.0.0.1:2379"]);
  assertEquals(clientEndpoints(["https://a:1"], tls), ["https://a:1"]);
});

Deno.test("endpointProblems() reports incomplete certificates and each URL whose scheme does not match", () => {
  assertEquals(endpointProblems(["http://a:1", "unix:///s"], {}), []);
  assertEquals(endpointProblems(["https://a:1", "unix:///s"], tls), []);
  const plain = endpointProblems(["https://a:1", "http://b:1"], {});
  assert(plain.length === 1 && plain[0]!.startsWith('--endpoints "https://a:1": https needs --ca-cert'), plain[0]);
  const secure = endpointProblems(["https://a:1", "http://b:1"], tls);
  assert(secure.length === 1 && secure[0]!.startsWith('--endpoints "http://b:1": certificates are given'), secure[0]);
  assert(endpointProblems([], { caCert: "ca.crt" })[0]!.includes("--client-cert"));
});
