/** openssl verifies the certificates of e2d, and e2d reads the keys of openssl. */
import { readPair } from "../../lib/pki/pair.ts";
import { type NewKeyKind, publicKeyOf, readPrivateKey } from "../../lib/pki/private_key.ts";
import { generateCertificates, initAuthority } from "../../lib/pki/generate.ts";
import { renewRound } from "../../lib/pki/renewal_loop.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { diskFiles, realPorts, run } from "./pki_cluster.ts";

async function openssl(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run("openssl", args);
  if (code !== 0) throw new Error(`openssl ${args.join(" ")}: ${stderr}`);
  return stdout;
}

async function filled(directory: string, kind: NewKeyKind) {
  const ca = { caCert: `${directory}/ca.crt`, caKey: `${directory}/ca.key` };
  await initAuthority(realPorts, { ...ca, kind });
  const hosts = ["node1.example.com", "*.etcd.svc", "10.0.0.1", "2001:db8::1"];
  await generateCertificates(realPorts, { ...ca, outputDir: directory, hosts, kind });
  return ca;
}

for (const kind of ["rsa-2048", "ecdsa-p256"] as const) {
  Deno.test(`openssl verify accepts every ${kind} chain for its purpose, and no other`, async () => {
    await using directory = await temporaryDirectory();
    const ca = await filled(directory.path, kind);
    const verdict = async (name: string, purpose: string) =>
      (await run("openssl", [
        "verify",
        "-x509_strict",
        "-CAfile",
        ca.caCert,
        "-purpose",
        purpose,
        `${directory.path}/${name}.crt`,
      ])).code === 0;
    const table: Record<string, boolean[]> = {};
    for (const name of ["server", "peer", "client"]) {
      table[name] = [await verdict(name, "sslserver"), await verdict(name, "sslclient")];
    }
    assertEquals(table, { server: [true, false], peer: [true, true], client: [false, true] });
    // The same for renewed ones.
    const pairs = ["server", "peer", "client"].map((role) => ({
      role,
      paths: { cert: `${directory.path}/${role}.crt`, key: `${directory.path}/${role}.key` },
    }));
    const { renewed, failures } = await renewRound(realPorts, { ...ca, pairs, force: true });
    assertEquals([renewed.length, failures], [3, []]);
    assertEquals([await verdict("server", "sslserver"), await verdict("client", "sslclient")], [true, true]);
  });

  Deno.test(`openssl verifies the ${kind} keys and that they belong to their certificates`, async () => {
    await using directory = await temporaryDirectory();
    await filled(directory.path, kind);
    for (const name of ["ca", "server", "peer", "client"]) {
      await openssl("pkey", "-in", `${directory.path}/${name}.key`, "-check", "-noout");
      const ofKey = await openssl("pkey", "-in", `${directory.path}/${name}.key`, "-pubout");
      assertEquals(await openssl("x509", "-in", `${directory.path}/${name}.crt`, "-noout", "-pubkey"), ofKey);
    }
  });
}

Deno.test("openssl verifies the names of a certificate", async () => {
  await using directory = await temporaryDirectory();
  await filled(directory.path, "ecdsa-p256");
  const check = (kind: string, value: string) =>
    openssl("x509", "-in", `${directory.path}/server.crt`, "-noout", `-check${kind}`, value);
  for (const name of ["node1.example.com", "a.etcd.svc"]) {
    assert((await check("host", name)).includes("does match"), name);
  }
  for (const name of ["other.example.com", "a.b.etcd.svc"]) {
    assert((await check("host", name)).includes("NOT match"), name);
  }
  for (const ip of ["10.0.0.1", "2001:db8:0::1"]) assert((await check("ip", ip)).includes("does match"), ip);
});

Deno.test("readPrivateKey() reads the keys of openssl in every container, with the same result", async () => {
  await using directory = await temporaryDirectory();
  const at = (name: string) => `${directory.path}/${name}`;
  const read = async (name: string) => {
    const source = { role: "key", path: at(name) };
    const key = readPrivateKey(await Deno.readTextFile(at(name)), source);
    return { ...key, publicKey: await publicKeyOf(key, source) };
  };
  for (const bits of ["2048", "3072", "4096"]) {
    await openssl("genrsa", "-out", at("rsa8.key"), bits);
    await openssl("rsa", "-in", at("rsa8.key"), "-traditional", "-out", at("rsa1.key"));
    const [pkcs8, pkcs1] = [await read("rsa8.key"), await read("rsa1.key")];
    assertEquals(pkcs8, pkcs1);
    assertEquals(pkcs1.algorithm, { kind: "rsa", bits: Number(bits) });
  }
  for (const [name, curve] of [["prime256v1", "P-256"], ["secp384r1", "P-384"]] as const) {
    // The first file has the curve in a separate block, as openssl writes it.
    await openssl("ecparam", "-name", name, "-genkey", "-out", at("sec1.key"));
    await openssl("pkcs8", "-topk8", "-nocrypt", "-in", at("sec1.key"), "-out", at("ec8.key"));
    await openssl("ec", "-in", at("sec1.key"), "-no_public", "-out", at("bare.key"));
    const sec1 = await read("sec1.key");
    assertEquals(sec1.algorithm, { kind: "ecdsa", curve });
    for (const other of ["ec8.key", "bare.key"]) assertEquals((await read(other)).publicKey, sec1.publicKey);
  }
  await openssl("genpkey", "-algorithm", "ed25519", "-out", at("ed.key"));
  assertEquals((await read("ed.key")).algorithm, { kind: "ed25519" });
});

Deno.test("readPrivateKey() refuses encrypted keys of openssl, old and new format, with a hint", async () => {
  await using directory = await temporaryDirectory();
  const at = (name: string) => `${directory.path}/${name}`;
  await openssl("genrsa", "-out", at("plain.key"), "2048");
  await openssl(
    "rsa",
    "-in",
    at("plain.key"),
    "-aes256",
    "-passout",
    "pass:secret",
    "-traditional",
    "-out",
    at("old.key"),
  );
  await openssl("pkcs8", "-topk8", "-in", at("plain.key"), "-passout", "pass:secret", "-out", at("new.key"));
  await openssl("ecparam", "-name", "secp521r1", "-genkey", "-noout", "-out", at("p521.key"));
  for (const name of ["old.key", "new.key"]) {
    const text = await Deno.readTextFile(at(name));
    const error = await assertE2dError(
      "pki_key_encrypted",
      () => readPrivateKey(text, { role: "CA key", path: at(name) }),
    );
    assert(error.hint?.includes(`openssl pkey -in ${at(name)} -out`), String(error.hint));
  }
  const p521 = await Deno.readTextFile(at("p521.key"));
  await assertE2dError("pki_key_unsupported", () => readPrivateKey(p521, { role: "CA key", path: "p521.key" }));
});

Deno.test("readPair() reads a pair of openssl with an intermediate certificate", async () => {
  await using directory = await temporaryDirectory();
  const at = (name: string) => `${directory.path}/${name}`;
  await Deno.writeTextFile(
    at("leaf.ext"),
    "subjectAltName=DNS:n1,IP:10.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n",
  );
  await Deno.writeTextFile(at("ca.ext"), "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n");
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const request = (name: string, issuer: string, ext: string) => async () => {
    await openssl(
      "req",
      "-new",
      ...newKey,
      "-keyout",
      at(`${name}.key`),
      "-out",
      at(`${name}.csr`),
      "-subj",
      `/CN=${name}`,
    );
    const signer = ["-CA", at(`${issuer}.crt`), "-CAkey", at(`${issuer}.key`), "-CAcreateserial"];
    await openssl(
      "x509",
      "-req",
      "-in",
      at(`${name}.csr`),
      ...signer,
      "-extfile",
      at(ext),
      "-out",
      at(`${name}.crt`),
      "-days",
      "9",
    );
  };
  await openssl(
    "req",
    "-x509",
    ...newKey,
    "-keyout",
    at("root.key"),
    "-out",
    at("root.crt"),
    "-subj",
    "/CN=root",
    "-days",
    "9",
  );
  await request("middle", "root", "ca.ext")();
  await request("leaf", "middle", "leaf.ext")();
  await Deno.writeTextFile(
    at("chain.crt"),
    await Deno.readTextFile(at("leaf.crt")) + await Deno.readTextFile(at("middle.crt")),
  );
  const { checkTlsFiles } = await import("../../lib/pki/tls_files.ts");
  const paths = { cert: at("chain.crt"), key: at("leaf.key") };
  const pair = await readPair(diskFiles, paths, "peer");
  assertEquals([pair.certificate.commonName, pair.intermediates.length], ["leaf", 1]);
  const set = {
    kind: "mutual",
    caCert: at("root.crt"),
    caKey: undefined,
    server: paths,
    peer: paths,
    client: paths,
    clientFrom: "peer",
  } as const;
  const expect = { nowMs: realPorts.clock.wallMs(), clientHosts: ["n1"], peerHosts: ["10.0.0.1"] };
  assertEquals((await checkTlsFiles(diskFiles, set, expect)).problems, []);
});
