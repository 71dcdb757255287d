import { discover } from "../../lib/discovery/discover.ts";
import type { DiscoveryPorts } from "../../lib/discovery/method.ts";
import { discoveryMethod } from "../../lib/discovery/methods.ts";
import { discoveryForms, parseDiscovery } from "../../lib/discovery/spec.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { FakeDigitalOcean } from "../support/clouds/fake_digitalocean.ts";
import { TestClock } from "../support/test_clock.ts";
import { TestLog } from "../support/test_log.ts";

const environment: Record<string, string> = {
  HCLOUD_TOKEN: "token",
  KUBERNETES_SERVICE_HOST: "10.0.0.1",
  KUBERNETES_SERVICE_PORT: "443",
};
const config = { digitalOceanToken: "token", environment: (name: string) => environment[name] };

/** Ports that fail when anything is asked of them. */
function silentPorts(asked: string[]): DiscoveryPorts {
  const failing = (name: string) =>
    new Proxy(() => {}, {
      get: (_, key) => (asked.push(`${name}.${String(key)}`), () => Promise.reject(new Error(name))),
      apply: () => (asked.push(name), Promise.reject(new Error(name))),
    });
  return {
    clock: new TestClock(),
    log: new TestLog(),
    random: { float: () => 0.5, bytes: (length) => new Uint8Array(length) },
    http: failing("http") as unknown as DiscoveryPorts["http"],
    files: failing("files") as unknown as DiscoveryPorts["files"],
    processes: failing("processes") as unknown as DiscoveryPorts["processes"],
    resolver: failing("resolver") as unknown as DiscoveryPorts["resolver"],
  };
}

const options: Record<string, string> = { dns: ":etcd.test", file: ":/p", exec: ":list" };

for (const name of Object.keys(discoveryForms)) {
  Deno.test(`discoveryMethod() makes ${name} and asks nobody by that`, async () => {
    const asked: string[] = [];
    const spec = parseDiscovery(`${name}${options[name] ?? ""}`);
    const method = await discoveryMethod(spec, config, silentPorts(asked));
    assertEquals(method.name, name);
    assertEquals(asked, []);
  });
}

Deno.test("discover() refuses an invalid text and a missing token before any request", async () => {
  const asked: string[] = [];
  const { signal } = new AbortController();
  const nothing = { environment: () => undefined };
  await assertE2dError("discovery_spec", () => discover("consul", config, silentPorts(asked), signal));
  await assertE2dError("cloud_token", () => discover("do-tags:etcd", nothing, silentPorts(asked), signal));
  await assertE2dError("cloud_token", () => discover("hetzner-labels:a=b", nothing, silentPorts(asked), signal));
  assertEquals(asked, []);
});

Deno.test("discover() returns the peers of the method, and continues after an outage of the cloud", async () => {
  const cloud = new FakeDigitalOcean();
  const droplet = (at: number) => ({ name: `node-${at}`, address: `10.0.0.${at}`, tags: { etcd: "" } });
  cloud.instances = [droplet(1), droplet(2)];
  const clock = new TestClock();
  const log = new TestLog();
  const ports = { ...silentPorts([]), clock, log, http: cloud.http };
  const stop = new AbortController();
  const asking = await discover("do-tags:etcd", { ...config, digitalOceanToken: cloud.token }, ports, stop.signal);
  await clock.advance(1_000);
  assertEquals(asking.latest(), [{ host: "10.0.0.1" }, { host: "10.0.0.2" }]);
  cloud.fault = "api-silent";
  await clock.advance(120_000);
  assertEquals(asking.latest(), [{ host: "10.0.0.1" }, { host: "10.0.0.2" }]);
  cloud.fault = undefined;
  cloud.instances = [droplet(2), droplet(3)];
  await clock.advance(90_000);
  assertEquals(asking.latest(), [{ host: "10.0.0.2" }, { host: "10.0.0.3" }]);
  assert(!log.text.includes(cloud.token));
  stop.abort();
  await asking.ended;
});

Deno.test("the methods of clouds are loaded when they are chosen, and not before", async () => {
  const entry = new URL("../../lib/discovery/discover.ts", import.meta.url).pathname;
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json", entry] }).output();
  const { modules } = JSON.parse(new TextDecoder().decode(stdout)) as {
    modules: { specifier: string; dependencies?: { code?: { specifier?: string }; isDynamic?: boolean }[] }[];
  };
  const bySpecifier = new Map(modules.map((module) => [module.specifier, module]));
  const early = new Set<string>();
  const visit = (specifier: string) => {
    if (early.has(specifier)) return;
    early.add(specifier);
    for (const { code, isDynamic } of bySpecifier.get(specifier)?.dependencies ?? []) {
      if (code?.specifier !== undefined && !isDynamic) visit(code.specifier);
    }
  };
  visit(`file://${entry}`);
  const names = [...early].map((specifier) => specifier.split("/lib/").at(-1)!).sort();
  assertEquals(names, [
    "cloud/throttled_error.ts",
    "cloud/with_deadline.ts",
    "discovery/discover.ts",
    "discovery/methods.ts",
    "discovery/poll.ts",
    "discovery/spec.ts",
    "errors.ts",
  ]);
});
