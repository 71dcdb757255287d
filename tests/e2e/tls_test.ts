/** e2d with certificates, as the original's unit file has it: pki init and gencerts, then a node that uses them. */
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { generateCertificates } from "../../lib/pki/generate.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { systemFiles } from "../../lib/sys/files.ts";
import { systemRandom } from "../../lib/sys/random.ts";
import { part } from "../support/parts.ts";
import { e2d, freshHost, NodeProcess } from "./node_process.ts";

interface Certificates {
  args: string[];
  tls: { ca: string; certificate: string; key: string };
}

async function makeCertificates(folder: string, hosts: readonly string[]): Promise<Certificates> {
  const ca = [`--ca-cert=${folder}/ca.crt`, `--ca-key=${folder}/ca.key`];
  for (
    const args of [
      ["pki", "init", ...ca],
      ["pki", "gencerts", ...ca, `--hosts=${hosts.join(",")}`, `--output-dir=${folder}`],
    ]
  ) {
    const { code, stderr } = await e2d(args);
    assertEquals(code, 0, stderr);
  }
  const pair = (role: string) => [`--${role}-cert=${folder}/${role}.crt`, `--${role}-key=${folder}/${role}.key`];
  const read = (name: string) => Deno.readTextFile(`${folder}/${name}`);
  return {
    args: [...ca, ...pair("peer"), ...pair("server"), ...pair("client")],
    tls: { ca: await read("ca.crt"), certificate: await read("client.crt"), key: await read("client.key") },
  };
}

async function etcdctl(...args: string[]): Promise<{ success: boolean; text: string }> {
  const { success, stdout, stderr } = await new Deno.Command(part("etcd-3.6.14", "etcdctl"), {
    args: ["--dial-timeout=10s", "--command-timeout=30s", ...args],
  }).output();
  return { success, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

Deno.test("a node with the certificates of pki gencerts serves only clients with a certificate of its CA", async () => {
  await using dir = await temporaryDirectory();
  const host = freshHost();
  const { args, tls } = await makeCertificates(dir.path, [host]);
  await using node = new NodeProcess({ dataDir: `${dir.path}/data`, host, args, tls });
  await node.healthy();
  const at = `--endpoints=https://${host}:2379`;
  const trust = `--cacert=${dir.path}/ca.crt`;
  const client = [`--cert=${dir.path}/client.crt`, `--key=${dir.path}/client.key`];
  assertEquals((await etcdctl(at, trust, ...client, "put", "key", "value")).text, "OK\n");
  assertEquals((await etcdctl(at, trust, "get", "key", "--command-timeout=3s")).success, false);
  assertEquals((await etcdctl(`--endpoints=http://${host}:2379`, "get", "key", "--command-timeout=3s")).success, false);
  // A client with a certificate of another CA.
  await Deno.mkdir(`${dir.path}/other`);
  await makeCertificates(`${dir.path}/other`, [host]);
  const stranger = [`--cert=${dir.path}/other/client.crt`, `--key=${dir.path}/other/client.key`];
  assertEquals((await etcdctl(at, trust, ...stranger, "get", "key", "--command-timeout=3s")).success, false);
});

Deno.test("three nodes with certificates and encrypted gossip bootstrap a cluster, and a node without the key does not join", async () => {
  await using dir = await temporaryDirectory();
  const hosts = [freshHost(), freshHost(), freshHost(), freshHost()];
  const { args, tls } = await makeCertificates(dir.path, hosts);
  const peers = [`--bootstrap-addrs=${hosts.slice(0, 3).join(",")}`, "-n=3"];
  await using a = new NodeProcess({ dataDir: `${dir.path}/a`, host: hosts[0]!, args: [...args, ...peers], tls });
  await using b = new NodeProcess({ dataDir: `${dir.path}/b`, host: hosts[1]!, args: [...args, ...peers], tls });
  await using c = new NodeProcess({ dataDir: `${dir.path}/c`, host: hosts[2]!, args: [...args, ...peers], tls });
  await Promise.all([a.healthy(), b.healthy(), c.healthy()]);
  await using stranger = new NodeProcess({ dataDir: `${dir.path}/d`, host: hosts[3]!, args: peers });
  await stranger.logged(({ reason }) => reason === "gossip_key_missing");
  assertEquals((await (await a.client()).memberList(a.clientUrl)).length, 3);
});

Deno.test("an incomplete set of certificates and a certificate passed as a key are reported", async () => {
  await using dir = await temporaryDirectory();
  const { args } = await makeCertificates(dir.path, ["127.0.0.1"]);
  const half = await e2d(["run", `--data-dir=${dir.path}/data`, ...args.filter((arg) => !/peer|ca-cert/.test(arg))]);
  assertEquals(half.code, 2);
  for (const flag of ["--peer-cert", "--peer-key", "--ca-cert"]) assert(half.stderr.includes(flag), half.stderr);
  // The mistake in the unit file of the Go original.
  const slip = args.map((arg) => arg.startsWith("--ca-key") ? `--ca-key=${dir.path}/ca.crt` : arg);
  const wrong = await e2d(["run", "--host=127.0.0.1", `--data-dir=${dir.path}/data`, "--log-format=json", ...slip]);
  assertEquals(wrong.code, 1);
  assert(wrong.stderr.includes("holds a certificate") && wrong.stderr.includes("ca.key"), wrong.stderr);
  assertEquals(await Deno.stat(`${dir.path}/data`).catch(() => "nothing"), "nothing");
});

Deno.test("--auto-renew reissues a node's certificates before they expire, and no client is refused", async () => {
  await using dir = await temporaryDirectory();
  const host = freshHost();
  const folder = dir.path;
  const { args, tls } = await makeCertificates(folder, [host]);
  // A lifetime of half a minute: the commands permit none shorter than a day.
  await generateCertificates({ files: systemFiles, clock: systemClock, random: systemRandom }, {
    caCert: `${folder}/ca.crt`,
    caKey: `${folder}/ca.key`,
    outputDir: folder,
    hosts: [host],
    lifetimeMs: 30_000,
    force: true,
  });
  const pems = async () => ({
    ca: tls.ca,
    certificate: await Deno.readTextFile(`${folder}/client.crt`),
    key: await Deno.readTextFile(`${folder}/client.key`),
  });
  const before = await Deno.readTextFile(`${folder}/server.crt`);
  await using node = new NodeProcess({
    dataDir: `${folder}/data`,
    host,
    args: [...args, "--auto-renew"],
    tls: await pems(),
  });
  await node.healthy();
  // They were created one after the other and need not be due in one round.
  for (const renewed of ["client", "peer", "server"]) {
    await node.logged(({ message, role }) => message === "renewed a certificate" && role === renewed);
  }
  assert(await Deno.readTextFile(`${folder}/server.crt`) !== before);
  // After the first pairs expired, the renewed server serves a client with the renewed pair.
  await new Promise((resolve) => setTimeout(resolve, 15_000));
  const client = await node.client();
  client.useTls(await pems());
  await client.put("key", "value");
  assert(!node.log.some(({ level, message }) => level === "error" && message.includes("certificate")));
});
