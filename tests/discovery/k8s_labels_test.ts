/** The contract over k8s-labels, and its watch. */
import { k8sLabels } from "../../lib/discovery/k8s_labels.ts";
import type { DiscoveryConfig, DiscoveryPorts, PeerAddress } from "../../lib/discovery/method.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { FakeKubernetes } from "../support/clouds/fake_kubernetes.ts";
import { flush, TestClock } from "../support/test_clock.ts";
import { TestLog } from "../support/test_log.ts";
import { instances, type Place, testDiscoveryMethod } from "./contract.ts";

const never = new AbortController().signal;
const labels = { app: "etcd", "example.com/env": "prod" };
const named = Object.entries(labels).map(([key, value]) => ({ key, value }));
const account = "/var/run/secrets/kubernetes.io/serviceaccount";

interface KubernetesPlace extends Place {
  cloud: FakeKubernetes;
  files: Record<string, string>;
  environment: Record<string, string>;
  /** Authorities that connections were opened with and not closed yet. */
  open: string[];
}

function place(given = named): KubernetesPlace {
  const clock = new TestClock();
  const log = new TestLog();
  const cloud = new FakeKubernetes();
  const files: Record<string, string> = {
    [`${account}/token`]: `${cloud.token}\n`,
    [`${account}/namespace`]: cloud.namespace,
    [`${account}/ca.crt`]: "PEM one",
  };
  const environment: Record<string, string> = {
    KUBERNETES_SERVICE_HOST: "fd00::1",
    KUBERNETES_SERVICE_PORT: "6443",
    HOSTNAME: "node-0",
  };
  const open: string[] = [];
  const unused = () => {
    throw new Error("Kubernetes needs no such port");
  };
  const ports: DiscoveryPorts = {
    clock,
    log,
    http: unused,
    trustingHttp(authorities) {
      open.push(authorities.join());
      return {
        http: (url, init) => {
          assertEquals(new URL(url).origin, "https://[fd00::1]:6443");
          return cloud.http(url, init);
        },
        close: () => void open.splice(open.indexOf(authorities.join()), 1),
      };
    },
    random: { float: () => 0.5, bytes: unused },
    files: { readText: (path: string) => Promise.resolve(files[path]) } as unknown as DiscoveryPorts["files"],
    processes: {} as DiscoveryPorts["processes"],
    resolver: { services: unused, addresses: unused },
  };
  const config: DiscoveryConfig = { environment: (name) => environment[name] };
  return {
    cloud,
    clock,
    log,
    files,
    environment,
    open,
    method: k8sLabels(given, config, ports),
    secret: cloud.token,
    fill(tagged, others = []) {
      const podOf = (one: typeof tagged[number], labels: Record<string, string>) => {
        const { name, address } = one;
        const own = { ...labels, "statefulset.kubernetes.io/pod-name": name };
        return [name, {
          name,
          labels: own,
          ...address === undefined ? {} : { address },
          ...one.stopped ? { phase: "Failed" } : {},
        }] as const;
      };
      cloud.pods = new Map([
        ...tagged.map((one) => podOf(one, labels)),
        ...others.map((one) => podOf(one, { app: "web" })),
      ]);
    },
    break(fault) {
      cloud.fault = fault as typeof cloud.fault;
    },
  };
}

const faults = {
  "api-unreachable": "cloud_unreachable",
  "api-silent": "cloud_timeout",
  "token-refused": "cloud_unauthorized",
  "no-permission": "cloud_forbidden",
  "throttled": "cloud_throttled",
  "server-error": "cloud_failed",
  "cut-answer": "cloud_answer",
  "garbled-answer": "cloud_answer",
  "other-shape": "cloud_answer",
  "endless-answer": "cloud_answer",
  "redirect": "cloud_refused",
};
testDiscoveryMethod({ name: "k8s-labels", open: () => place(), faults, knowsInstances: false });
testDiscoveryMethod({ name: "k8s-labels (own labels)", open: () => place([]), faults, knowsInstances: false });

/** Answers of `changes` as they come; `stop` ends it. */
function follow({ method }: Place) {
  const stop = new AbortController();
  const seen: string[] = [];
  const ended = (async () => {
    for await (const peers of method.changes!(stop.signal)) seen.push(textOf(peers));
  })().then(() => undefined, (error) => error);
  return {
    seen,
    ended,
    async stop() {
      stop.abort(new Error("enough"));
      assertEquals((await ended)?.message, "enough");
    },
  };
}
const textOf = (peers: readonly PeerAddress[]) => peers.map(({ host }) => host.replace("10.0.0.", "")).sort().join(" ");
const pod = (name: string, address?: string) => ({ name, labels, ...address === undefined ? {} : { address } });

Deno.test("k8s-labels returns pods with an address that have not ended and are not being deleted", async () => {
  const { cloud, method, log } = place();
  cloud.set(pod("a", "10.0.0.1"));
  cloud.set(pod("pending"));
  cloud.set({ ...pod("failed", "10.0.0.3"), phase: "Failed" });
  cloud.set({ ...pod("done", "10.0.0.4"), phase: "Succeeded" });
  cloud.set({ ...pod("going", "10.0.0.5"), terminating: true });
  cloud.set({ ...pod("starting", "10.0.0.6"), phase: "Pending" });
  assertEquals(textOf(await method.peers(never)), "1 6");
  // A pod that waits for its address is nothing to warn of.
  assertEquals(log.lines, []);
});

Deno.test("k8s-labels reports each change at once, without listing again", async () => {
  const opened = place();
  const { cloud, clock } = opened;
  cloud.set(pod("a", "10.0.0.1"));
  const { seen, stop } = follow(opened);
  await flush();
  cloud.set(pod("b"));
  cloud.set(pod("b", "10.0.0.2"));
  cloud.set({ ...pod("other", "10.0.0.9"), labels: { app: "web" } });
  await flush();
  cloud.set({ ...pod("a", "10.0.0.1"), terminating: true });
  await flush();
  cloud.delete("a");
  await flush();
  assertEquals(seen, ["1", "1", "1 2", "2", "2"]);
  assertEquals(cloud.requests.length, 2);
  assertEquals(clock.monotonicMs(), 0);
  await stop();
});

for (const how of ["end", "break"] as const) {
  Deno.test(`k8s-labels goes on where it was after a watch's ${how}, and misses nothing`, async () => {
    const opened = place();
    const { cloud, clock, open } = opened;
    cloud.set(pod("a", "10.0.0.1"));
    const { seen, stop } = follow(opened);
    await flush();
    cloud.bookmark();
    await flush();
    cloud.endWatches(how);
    await flush();
    assertEquals(cloud.watching, 0);
    cloud.set(pod("b", "10.0.0.2"));
    await clock.advance(2_000);
    assertEquals(seen, ["1", "1 2"]);
    const lists = cloud.requests.filter((line) => !line.includes("watch=1"));
    assertEquals(lists.length, 1);
    await stop();
    assertEquals(open, []);
  });
}

Deno.test("k8s-labels lists again when its version has expired (410), and drops pods that have gone", async () => {
  const opened = place();
  const { cloud, clock } = opened;
  cloud.set(pod("a", "10.0.0.1"));
  cloud.set(pod("b", "10.0.0.2"));
  const { seen, stop } = follow(opened);
  await flush();
  cloud.endWatches();
  cloud.delete("a");
  cloud.compact();
  await clock.advance(5_000);
  assertEquals(seen, ["1 2", "2"]);
  assertEquals(cloud.watching, 1);
  await stop();
});

Deno.test("k8s-labels restarts a list whose pages have expired (410), and fails in the end", async () => {
  const { cloud, method, clock, fill } = place();
  fill(instances(250));
  cloud.pagesTooOld = 2;
  assertEquals((await method.peers(never)).length, 250);
  cloud.pagesTooOld = 99;
  const outcome = await clock.settle(method.peers(never));
  assert(outcome.status === "rejected" && outcome.reason.code === "k8s_too_old");
});

for (const verb of ["list", "watch", "get"]) {
  Deno.test(`k8s-labels names the verb "${verb}" and the resource when they are not permitted`, async () => {
    const opened = place([]);
    opened.fill(instances(2));
    opened.cloud.forbidden.add(verb);
    const { ended } = follow(opened);
    const error = await assertE2dError("cloud_forbidden", async () => Promise.reject(await ended));
    assert(error.message.includes(`the verb "${verb}" on the resource "pods"`), error.message);
    assert(error.hint!.includes(`"databases"`), error.hint);
    assertEquals(opened.open, []);
  });
}

Deno.test("k8s-labels reads token and CA again for each request", async () => {
  const { cloud, method, files, open, fill } = place();
  fill(instances(1));
  files[`${account}/token`] = "old";
  await assertE2dError("cloud_unauthorized", () => method.peers(never));
  files[`${account}/token`] = cloud.token;
  files[`${account}/ca.crt`] = "PEM two";
  const asked = method.peers(never);
  await flush();
  await asked;
  assertEquals(open, []);
});

Deno.test("k8s-labels ends a watch that a dead server never ends", async () => {
  const opened = place();
  const { cloud, clock } = opened;
  const { stop } = follow(opened);
  await clock.advance(272_000, 1_000);
  const watches = cloud.requests.filter((line) => line.includes("watch=1"));
  assertEquals([watches.length, cloud.watching], [2, 1]);
  await stop();
});

for (
  const [what, line, code] of [
    ["an error of the server", { type: "ERROR", object: { code: 500, message: "etcd is gone" } }, "cloud_failed"],
    ["what is no event", { type: "ADDED", object: { metadata: {} } }, "cloud_answer"],
    ["an event of four MiB", { type: "ADDED", object: "x".repeat(5 * 1024 * 1024) }, "cloud_answer"],
  ] as const
) {
  Deno.test(`k8s-labels stops telling at ${what}, with ${code}`, async () => {
    const opened = place();
    const { ended } = follow(opened);
    await flush();
    opened.cloud.send(line);
    await assertE2dError(code, async () => Promise.reject(await ended));
    assertEquals(opened.open, []);
  });
}

Deno.test("k8s-labels reports the cause outside of a pod, and in a pod without a service account", async () => {
  const config: DiscoveryConfig = { environment: () => undefined };
  await assertE2dError("k8s_outside", () => k8sLabels(named, config, {} as DiscoveryPorts));
  const { method, files } = place();
  delete files[`${account}/token`];
  const error = await assertE2dError("k8s_account", () => method.peers(never));
  assert(error.message.includes(`${account}/token`) && error.hint);
});

Deno.test("k8s-labels without labels refuses to look for pods of a pod that has none but its controller's", async () => {
  const { cloud, method } = place([]);
  cloud.set({ name: "node-0", labels: { "pod-template-hash": "x", "controller-revision-hash": "y" } });
  await assertE2dError("discovery_no_tags", () => method.peers(never));
});

Deno.test("ownAddress() of k8s-labels is POD_IP when it is set", async () => {
  const { method, environment } = place();
  assertEquals(await method.ownAddress!(never), undefined);
  environment.POD_IP = "10.1.2.3";
  assertEquals(await method.ownAddress!(never), "10.1.2.3");
});
