/** The methods that are lists of addresses: dns, file and exec. */
import fc from "fast-check";
import { dnsName } from "../../lib/discovery/dns.ts";
import { execCommand } from "../../lib/discovery/exec.ts";
import { peersFile } from "../../lib/discovery/file.ts";
import { parsePeer, parsePeerList } from "../../lib/discovery/peer_list.ts";
import { E2dError, isE2dError } from "../../lib/errors.ts";
import type { Files, Process, Processes, ServiceRecord } from "../../lib/ports.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import type { FakeInstance } from "../support/clouds/fake_cloud.ts";
import { TestClock } from "../support/test_clock.ts";
import { TestLog } from "../support/test_log.ts";
import { testDiscoveryMethod } from "./contract.ts";

const never = new AbortController().signal;

class MemoryFile implements Partial<Files> {
  text: string | undefined = "";
  fault: string | undefined;
  info: Files["info"] = () => {
    if (this.fault === "unreadable") {
      return Promise.reject(new E2dError("file_read", 'Cannot look at "/p": permission denied'));
    }
    if (this.text === undefined || this.fault === "missing") return Promise.resolve(undefined);
    return Promise.resolve({ kind: "file", size: this.text.length, modifiedMs: 0, mode: 0o644 });
  };
  readText: Files["readText"] = () => {
    if (this.fault === "cut") return Promise.resolve(`["10.0.0.1", "10.0`);
    if (this.fault === "garbled") return Promise.resolve("10.0.0.1\n<html>\n");
    return Promise.resolve(this.text);
  };
}

testDiscoveryMethod({
  name: "file",
  knowsInstances: false,
  open() {
    const clock = new TestClock();
    const file = new MemoryFile();
    return {
      clock,
      log: new TestLog(),
      method: peersFile("/p", { clock, files: file as unknown as Files }),
      fill: (tagged) => file.text = linesOf(tagged),
      break: (fault) => file.fault = fault,
    };
  },
  faults: { missing: "discovery_file", unreadable: "file_read", cut: "discovery_list", garbled: "discovery_list" },
});

const linesOf = (tagged: readonly FakeInstance[]) => tagged.map(({ address }) => `${address}\n`).join("");

Deno.test("file: an empty file means no peers, a missing one is an error, a too long one is refused unread", async () => {
  const file = new MemoryFile();
  const method = peersFile("/p", { clock: new TestClock(), files: file as unknown as Files });
  assertEquals(await method.peers(never), []);
  file.text = undefined;
  const error = await assertE2dError("discovery_file", () => method.peers(never));
  assert(error.message.includes('"/p"') && error.hint!.includes("empty"));
  file.text = " ".repeat(1024 * 1024 + 1);
  file.readText = () => Promise.reject(new Error("read"));
  await assertE2dError("discovery_file", () => method.peers(never));
});

Deno.test("file: reports each change within two seconds, and only changes", async () => {
  const clock = new TestClock();
  const file = new MemoryFile();
  file.text = "10.0.0.1";
  const stop = new AbortController();
  const seen: string[] = [];
  const method = peersFile("/p", { clock, files: file as unknown as Files });
  const listening = (async () => {
    for await (const peers of method.changes!(stop.signal)) seen.push(peers.map(({ host }) => host).join());
  })().catch(() => {});
  await clock.advance(10_000);
  assertEquals(seen, ["10.0.0.1"]);
  file.text = "10.0.0.1\n10.0.0.2";
  await clock.advance(2_000);
  assertEquals(seen, ["10.0.0.1", "10.0.0.1,10.0.0.2"]);
  stop.abort();
  await listening;
});

class FakeShell implements Partial<Processes> {
  output = "";
  fault: string | undefined;
  started: string[][] = [];
  killed: string[] = [];
  setsid = true;
  start = (program: string, args: readonly string[]): Promise<Process> => {
    const missing = program === "setsid" && !this.setsid || this.fault === "no-shell";
    if (missing) return Promise.reject(new E2dError("process_start", `Cannot start "${program}": not found`));
    if (args[0] === "true") return Promise.resolve(this.#process("", "", 0, false));
    this.started.push([program, ...args]);
    const outputs: Record<string, string> = { endless: "10.0.0.1\n".repeat(200_000), garbled: "<html>" };
    const failing = this.fault === "failing";
    const complaint = failing ? `${"x".repeat(9_000)}\npermission denied\u001b[31m` : "a warning";
    const output = outputs[this.fault ?? ""] ?? this.output;
    return Promise.resolve(this.#process(output, complaint, failing ? 7 : 0, this.fault === "hanging"));
  };
  kill = (pid: number) => void this.killed.push(`${pid}`);

  #process(output: string, complaint: string, code: number, hanging: boolean): Process {
    const stream = (text: string) =>
      new ReadableStream<Uint8Array<ArrayBuffer>>({
        start(controller) {
          controller.enqueue(new TextEncoder().encode(text));
          if (!hanging) controller.close();
        },
      });
    return {
      pid: 77,
      stdout: stream(output),
      stderr: stream(complaint),
      exited: hanging ? new Promise(() => {}) : Promise.resolve({ code, signal: undefined }),
      kill: () => void this.killed.push("shell"),
    };
  }
}

function shellPlace() {
  const clock = new TestClock();
  const shell = new FakeShell();
  return {
    clock,
    shell,
    log: new TestLog(),
    method: execCommand("list | sort", { clock, processes: shell as unknown as Processes }),
    fill: (tagged: readonly FakeInstance[]) => void (shell.output = linesOf(tagged)),
    break: (fault: string | undefined) => void (shell.fault = fault),
  };
}

testDiscoveryMethod({
  name: "exec",
  knowsInstances: false,
  open: shellPlace,
  faults: {
    "no-shell": "process_start",
    hanging: "discovery_exec",
    endless: "discovery_exec",
    failing: "discovery_exec",
    garbled: "discovery_list",
  },
});

Deno.test("exec: passes the command to sh unchanged, and reports its exit code and the end of its standard error", async () => {
  const { method, shell } = shellPlace();
  assertEquals(await method.peers(never), []);
  assertEquals(shell.started, [["setsid", "sh", "-c", "list | sort"]]);
  shell.fault = "failing";
  const error = await assertE2dError("discovery_exec", () => method.peers(never));
  assert(error.message.includes("exit code 7"), error.message);
  assert(/permission denied \[31m$/.test(error.message) && error.message.length < 500, error.message);
});

Deno.test("exec: ends a command that does not end, with all it started where the system can", async () => {
  for (const [setsid, killed] of [[true, "-77"], [false, "shell"]] as const) {
    const { method, shell, clock } = shellPlace();
    shell.fault = "hanging";
    shell.setsid = setsid;
    const { status, tookMs } = await clock.settle(method.peers(never));
    assert(status === "rejected" && tookMs <= 15_050);
    assertEquals(shell.killed, [killed]);
  }
});

class FakeZone {
  services: ServiceRecord[] | undefined;
  hosts = new Map<string, string[]>();
  fault: string | undefined;
  asked: string[] = [];
  resolver = {
    services: (name: string) => this.#answer(name, this.services),
    addresses: (name: string) => this.#answer(name, this.hosts.get(name.replace(/\.$/, ""))),
  };
  #answer<T>(name: string, value: T | undefined): Promise<T | undefined> {
    this.asked.push(name);
    if (this.fault !== undefined) {
      return Promise.reject(new E2dError("dns_failed", `Cannot look up "${name}": ${this.fault}`));
    }
    return Promise.resolve(value);
  }
}

function dnsPlace() {
  const zone = new FakeZone();
  const log = new TestLog();
  return { zone, log, clock: new TestClock(), method: dnsName("etcd.test", { resolver: zone.resolver, log }) };
}

for (const kind of ["SRV", "A"] as const) {
  testDiscoveryMethod({
    name: `dns (${kind})`,
    knowsInstances: false,
    many: 1000,
    open() {
      const place = dnsPlace();
      const { zone } = place;
      return {
        ...place,
        fill(tagged) {
          zone.hosts = new Map(
            kind === "SRV"
              ? tagged.map(({ name, address }) => [`${name}.test`, [address!]])
              : [["etcd.test", tagged.map(({ address }) => address!)]],
          );
          if (kind === "A") return;
          zone.services = tagged.map(({ name }) => ({ host: `${name}.test`, port: 7980, priority: 0, weight: 0 }));
        },
        break: (fault) => void (zone.fault = fault),
      };
    },
    faults: { SERVFAIL: "dns_failed", silence: "dns_failed" },
  });
}

Deno.test("dns: uses the ports of SRV records, and none for addresses", async () => {
  const { zone, method } = dnsPlace();
  zone.hosts.set("etcd.test", ["10.0.0.9"]).set("n1.test", ["10.0.0.1", "fd00::1"]);
  assertEquals(await method.peers(never), [{ host: "10.0.0.9" }]);
  zone.services = [{ host: "n1.test", port: 7981, priority: 0, weight: 0 }];
  assertEquals(await method.peers(never), [{ host: "10.0.0.1", port: 7981 }]);
  assert(zone.asked.includes("_e2d._tcp.etcd.test") && zone.asked.includes("n1.test."));
});

Deno.test("dns: returns one address for a node with two families, and no unusable address", async () => {
  const { zone, method } = dnsPlace();
  zone.hosts.set("etcd.test", ["fd00::1", "0.0.0.0", "10.0.0.1", "10.0.0.2"]);
  assertEquals(await method.peers(never), [{ host: "10.0.0.1" }, { host: "10.0.0.2" }]);
  zone.hosts.set("etcd.test", ["fd00::1", "0.0.0.0"]);
  assertEquals(await method.peers(never), [{ host: "fd00::1" }]);
});

Deno.test("dns: a name that does not exist means no peers, with one warning; a target without address is left out", async () => {
  const { zone, method, log } = dnsPlace();
  assertEquals(await method.peers(never), []);
  assertEquals(await method.peers(never), []);
  assertEquals(log.lines.length, 1);
  zone.services = ["n1.test", "n2.test"].map((host) => ({ host, port: 7980, priority: 0, weight: 0 }));
  zone.hosts.set("n1.test", ["10.0.0.1"]);
  assertEquals(await method.peers(never), [{ host: "10.0.0.1", port: 7980 }]);
  await method.peers(never);
  assertEquals(log.lines.slice(1).map(({ fields }) => fields["targets"]), [["n2.test"]]);
});

Deno.test("dns: a target of the root means that the service is not there (RFC 2782)", async () => {
  const { zone, method } = dnsPlace();
  zone.services = [{ host: "", port: 0, priority: 0, weight: 0 }];
  zone.hosts.set("etcd.test", ["10.0.0.9"]);
  assertEquals(await method.peers(never), []);
  assertEquals(zone.asked, ["_e2d._tcp.etcd.test"]);
});

Deno.test("parsePeerList() reads lines, comments, commas and JSON, with ports and IPv6", () => {
  const expected = [{ host: "10.0.0.1" }, { host: "10.0.0.2", port: 7980 }, { host: "fd00::3" }, {
    host: "fd00::4",
    port: 1,
  }, {
    host: "node-5.example.com",
    port: 7980,
  }];
  const lines = "# peers\r\n10.0.0.1 # the first\n\n10.0.0.2:7980, fd00::3\n[fd00::4]:1\nnode-5.example.com:7980";
  assertEquals(parsePeerList(lines, "x"), expected);
  const json = `\ufeff ["10.0.0.1", "10.0.0.2:7980", "fd00::3", "[fd00::4]:1", "node-5.example.com:7980"]\n`;
  assertEquals(parsePeerList(json, "x"), expected);
  assertEquals(parsePeerList("[fd00::4]:1\n10.0.0.1\n", "x"), [{ host: "fd00::4", port: 1 }, { host: "10.0.0.1" }]);
  assertEquals(parsePeerList("[]", "x"), []);
  assertEquals(parsePeerList(" \n# nobody\n", "x"), []);
});

Deno.test("parsePeerList() names the first wrong entry and its place", async () => {
  const cases: Record<string, string> = {
    "10.0.0.1\n10.0.0.300\n": '"10.0.0.300" in line 2',
    "10.0.0.1:99999": '"10.0.0.1:99999" in line 1',
    "0.0.0.0": '"0.0.0.0" in line 1',
    "node:": '"node:" in line 1',
    '["10.0.0.1", 7]': "7 (entry 2)",
    '[{"host":"a"}]': '{"host":"a"} (entry 1)',
    '["10.0.0.1"': "truncated or malformed",
    "https://10.0.0.1": '"https://10.0.0.1" in line 1',
  };
  for (const [text, state] of Object.entries(cases)) {
    const error = await assertE2dError("discovery_list", () => parsePeerList(text, '"/p"'));
    assert(error.message.includes(state), error.message);
  }
});

Deno.test("parsePeerList() accepts any text and throws only discovery_list", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string(), fc.json(), fc.array(fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain())).map(String)),
      (text) => {
        try {
          for (const { host, port } of parsePeerList(text, "x")) {
            const written = port === undefined ? host : host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
            assertEquals(parsePeer(written), port === undefined ? { host } : { host, port });
          }
        } catch (error) {
          if (!isE2dError(error, "discovery_list")) throw error;
        }
      },
    ),
    { seed: 8, numRuns: 3000 },
  );
});
