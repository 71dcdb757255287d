import fc from "fast-check";
import { isE2dError } from "../../lib/errors.ts";
import { checkClientTlsPaths, checkTlsPaths, type TlsPaths } from "../../lib/pki/tls_set.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";

const all = {
  caCert: "/p/ca.crt",
  caKey: "/p/ca.key",
  serverCert: "/p/server.crt",
  serverKey: "/p/server.key",
  peerCert: "/p/peer.crt",
  peerKey: "/p/peer.key",
  clientCert: "/p/client.crt",
  clientKey: "/p/client.key",
} as const;

Deno.test("checkTlsPaths() takes the complete set of the original's unit file", () => {
  assertEquals(checkTlsPaths(all), {
    kind: "mutual",
    caCert: "/p/ca.crt",
    caKey: "/p/ca.key",
    server: { cert: "/p/server.crt", key: "/p/server.key" },
    peer: { cert: "/p/peer.crt", key: "/p/peer.key" },
    client: { cert: "/p/client.crt", key: "/p/client.key" },
    clientFrom: "client",
  });
});

Deno.test("checkTlsPaths() lets e2d's own client use the peer pair when no client pair is given", () => {
  const set = checkTlsPaths({ ...all, clientCert: "", clientKey: undefined });
  assert(set.kind === "mutual");
  assertEquals([set.clientFrom, set.client], ["peer", set.peer]);
});

Deno.test("checkTlsPaths() takes nothing, and the CA key alone, as complete", () => {
  assertEquals(checkTlsPaths({}), { kind: "plain", caKey: undefined });
  assertEquals(checkTlsPaths({ caKey: "/p/ca.key", caCert: "" }), { kind: "plain", caKey: "/p/ca.key" });
});

Deno.test("checkTlsPaths() names everything that is missing at once", async () => {
  const error = await assertE2dError("tls_incomplete", () => checkTlsPaths({ serverCert: "/p/server.crt" }));
  assertEquals(
    error.message,
    'Cannot secure the cluster: --server-cert "/p/server.crt" is given without --server-key; ' +
      "--ca-cert is missing: nothing is trusted without it; " +
      "--peer-cert and --peer-key are missing: members would not speak TLS to each other",
  );
  const { peerCert: _, peerKey: __, ...withoutPeer } = all;
  const peerless = await assertE2dError("tls_incomplete", () => checkTlsPaths(withoutPeer));
  assert(peerless.message.includes("--peer-cert and --peer-key are missing"));
});

Deno.test("checkTlsPaths() never lets half a set pass: of all 256 only the complete ones are taken", () => {
  const names = Object.keys(all) as (keyof typeof all)[];
  const taken: string[] = [];
  for (let bits = 0; bits < 256; bits++) {
    const given = names.filter((_, index) => bits & (1 << index));
    const paths: TlsPaths = Object.fromEntries(given.map((name) => [name, all[name]]));
    try {
      checkTlsPaths(paths);
      taken.push(given.join(" "));
    } catch (error) {
      assert(isE2dError(error, "tls_incomplete"), String(error));
    }
  }
  const pairs = "serverCert serverKey peerCert peerKey";
  assertEquals(
    taken.sort(),
    [
      "",
      "caCert caKey " + pairs,
      "caCert caKey " + pairs + " clientCert clientKey",
      "caCert " + pairs,
      "caCert " + pairs + " clientCert clientKey",
      "caKey",
    ].sort(),
  );
});

Deno.test("checkTlsPaths() names each flag that is given without its other half", () => {
  fc.assert(
    fc.property(fc.subarray(["server", "peer", "client"] as const, { minLength: 1 }), fc.boolean(), (roles, certs) => {
      const half = certs ? "Cert" : "Key";
      const paths = Object.fromEntries(roles.map((role) => [`${role}${half}`, "/x"]));
      try {
        checkTlsPaths({ caCert: "/ca.crt", ...paths });
      } catch (error) {
        for (const role of roles) {
          const other = certs ? "key" : "cert";
          assert(String(error).includes(`is given without --${role}-${other}`), String(error));
        }
        return;
      }
      throw new Error("half a pair was taken");
    }),
    { seed: 7 },
  );
});

Deno.test("checkClientTlsPaths() needs a CA and a pair, the client's before the peer's", async () => {
  const { caCert, peerCert, peerKey, clientCert, clientKey } = all;
  assertEquals(checkClientTlsPaths({}), { kind: "plain" });
  const both = checkClientTlsPaths({ caCert, peerCert, peerKey, clientCert, clientKey });
  assertEquals(both, { kind: "mutual", caCert, client: { cert: clientCert, key: clientKey } });
  const peer = checkClientTlsPaths({ caCert, peerCert, peerKey });
  assertEquals(peer, { kind: "mutual", caCert, client: { cert: peerCert, key: peerKey } });
  for (const paths of [{ caCert }, { clientCert, clientKey }, { caCert, clientCert }]) {
    await assertE2dError("tls_incomplete", () => checkClientTlsPaths(paths));
  }
});
