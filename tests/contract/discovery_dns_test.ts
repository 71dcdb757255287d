/** dns discovery against a real dnsmasq. */
import { dnsName } from "../../lib/discovery/dns.ts";
import type { PeerAddress } from "../../lib/discovery/method.ts";
import { systemResolver } from "../../lib/sys/dns.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { eventually, freePorts } from "../support/fixtures.ts";
import { part } from "../support/parts.ts";
import { TestLog } from "../support/test_log.ts";

const within = () => AbortSignal.timeout(20_000);

async function withDnsmasq(records: string[], run: (port: number) => Promise<void>): Promise<void> {
  const [port] = freePorts(1);
  const child = new Deno.Command(part("dnsmasq-2.90", "dnsmasq"), {
    args: [
      "--keep-in-foreground",
      "--conf-file=/dev/null",
      "--user=",
      "--pid-file=",
      `--port=${port}`,
      "--listen-address=127.0.0.1",
      "--bind-interfaces",
      "--no-resolv",
      "--no-hosts",
      "--local=/etcd.test/",
      ...records,
    ],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    // It listens some milliseconds after its start.
    await eventually("dnsmasq", () => ask(port!, "ready.etcd.test"));
    await run(port!);
  } finally {
    child.kill("SIGKILL");
    await child.status;
  }
}

async function ask(port: number, name: string, log = new TestLog()): Promise<readonly PeerAddress[]> {
  const resolver = systemResolver({ servers: [{ host: "127.0.0.1", port }], search: [], dotsMin: 1 });
  return await dnsName(name, { resolver, log }).peers(within());
}

const byHost = (peers: readonly PeerAddress[]) => [...peers].sort((a, b) => a.host < b.host ? -1 : 1);

Deno.test("dns discovery reads targets and ports of SRV records from dnsmasq", async () => {
  const records = [1, 2, 3].flatMap((at) => [
    `--srv-host=_e2d._tcp.etcd.test,n${at}.etcd.test,${7980 + at}`,
    `--host-record=n${at}.etcd.test,127.0.0.1${at}`,
  ]);
  await withDnsmasq(records, async (port) => {
    assertEquals(byHost(await ask(port, "etcd.test")), [
      { host: "127.0.0.11", port: 7981 },
      { host: "127.0.0.12", port: 7982 },
      { host: "127.0.0.13", port: 7983 },
    ]);
  });
});

Deno.test("dns discovery reads A from dnsmasq where there is no SRV record, AAAA where there is no A", async () => {
  const both = ["--host-record=etcd.test,127.0.0.11,fd00::11", "--host-record=etcd.test,127.0.0.12"];
  await withDnsmasq(both, async (port) => {
    assertEquals(byHost(await ask(port, "etcd.test")), [{ host: "127.0.0.11" }, { host: "127.0.0.12" }]);
  });
  await withDnsmasq(["--host-record=etcd.test,fd00::11"], async (port) => {
    assertEquals(await ask(port, "etcd.test"), [{ host: "fd00::11" }]);
  });
});

Deno.test("dns discovery returns no peers for NXDOMAIN of dnsmasq and an error for REFUSED", async () => {
  await withDnsmasq([], async (port) => {
    const log = new TestLog();
    assertEquals(await ask(port, "nobody.etcd.test", log), []);
    assertEquals(log.lines.length, 1);
    const error = await assertE2dError("dns_failed", () => ask(port, "elsewhere.example"));
    assert(error.message.includes("REFUSED"), error.message);
  });
});

Deno.test("dns discovery reads two hundred SRV records, which exceed a datagram, over TCP", async () => {
  const records = Array.from({ length: 200 }, (_, at) => [
    `--srv-host=_e2d._tcp.etcd.test,node-number-${at}.etcd.test,7980`,
    `--host-record=node-number-${at}.etcd.test,127.0.1.${at + 1}`,
  ]).flat();
  await withDnsmasq(records, async (port) => assertEquals((await ask(port, "etcd.test")).length, 200));
});

Deno.test("dns discovery names the name server that does not answer", async () => {
  const [port] = freePorts(1);
  const error = await assertE2dError("dns_failed", () => ask(port!, "etcd.test"));
  assert(error.message.includes(`127.0.0.1:${port}`), error.message);
});
