/** k8s-labels against a real kube-apiserver with RBAC, under tokens of a real service account. */
import { k8sLabels } from "../../lib/discovery/k8s_labels.ts";
import type { DiscoveryConfig, DiscoveryPorts } from "../../lib/discovery/method.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { trustingHttp } from "../../lib/sys/http/http.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { eventually, temporaryDirectory } from "../support/fixtures.ts";
import { TestLog } from "../support/test_log.ts";
import { KubeApi } from "./kube_api.ts";

const never = new AbortController().signal;
const account = "/var/run/secrets/kubernetes.io/serviceaccount";
const labels = { "app.kubernetes.io/name": "etcd", cluster: "main" };
const named = Object.entries(labels).map(([key, value]) => ({ key, value }));

/** The environment of a pod of this namespace, as far as discovery reads it. */
function inPod(api: KubeApi, namespace: string, token: string, given = named) {
  const files: Record<string, string> = {
    [`${account}/token`]: token,
    [`${account}/namespace`]: namespace,
    [`${account}/ca.crt`]: api.authority,
  };
  const url = new URL(api.url);
  const environment: Record<string, string> = {
    KUBERNETES_SERVICE_HOST: url.hostname,
    KUBERNETES_SERVICE_PORT_HTTPS: url.port,
    HOSTNAME: "etcd-0",
  };
  const ports = {
    clock: systemClock,
    log: new TestLog(),
    random: { float: Math.random },
    http: (url: string | URL, init?: RequestInit) => fetch(url, init),
    trustingHttp,
    files: { readText: (path: string) => Promise.resolve(files[path]) },
  } as unknown as DiscoveryPorts;
  const config: DiscoveryConfig = { environment: (name) => environment[name] };
  return { method: k8sLabels(given, config, ports), files, ports, config };
}

const hosts = (peers: readonly { host: string }[]) => peers.map(({ host }) => host).sort();

Deno.test("k8s-labels on a kube-apiserver", async (t) => {
  await using directory = await temporaryDirectory();
  await using api = await KubeApi.start(directory.path);
  const token = await api.account("databases", ["get", "list", "watch"]);
  for (let at = 0; at < 3; at++) {
    const own = { ...labels, "statefulset.kubernetes.io/pod-name": `etcd-${at}` };
    await api.pod("databases", `etcd-${at}`, own, `127.0.7.${at + 1}`);
  }
  await api.pod("databases", "pending", labels);
  await api.pod("databases", "web", { app: "web" }, "127.0.7.70");

  await t.step(
    "finds the pods with all labels, uses its own labels when none are given, and finds no pod for others",
    async () => {
      const expected = ["127.0.7.1", "127.0.7.2", "127.0.7.3"];
      assertEquals(hosts(await inPod(api, "databases", token).method.peers(never)), expected);
      assertEquals(hosts(await inPod(api, "databases", token, []).method.peers(never)), expected);
      const other = inPod(api, "databases", token, [{ key: "app", value: "" }]);
      assertEquals(await other.method.peers(never), []);
    },
  );

  await t.step(
    "reports pods that are added, changed, deleted and ended",
    async () => {
      const { method } = inPod(api, "databases", token);
      const stop = new AbortController();
      const seen: string[] = [];
      const ended = (async () => {
        for await (const peers of method.changes!(stop.signal)) seen.push(hosts(peers).join(" "));
      })().catch((error) => error);
      const reach = (last: string) => eventually(`peers ${last}; seen: ${seen.at(-1)}`, () => seen.at(-1) === last);
      await reach("127.0.7.1 127.0.7.2 127.0.7.3");
      await api.pod("databases", "etcd-3", labels, "127.0.7.4");
      await reach("127.0.7.1 127.0.7.2 127.0.7.3 127.0.7.4");
      // Deleted with a grace period: still there, but no longer a peer.
      await api.delete("databases", "etcd-3", 600);
      await reach("127.0.7.1 127.0.7.2 127.0.7.3");
      await api.delete("databases", "etcd-2", 0);
      await reach("127.0.7.1 127.0.7.2");
      await api.status("databases", "etcd-1", { phase: "Failed" });
      await reach("127.0.7.1");
      await api.pod("databases", "etcd-9", labels, "127.0.7.9");
      await reach("127.0.7.1 127.0.7.9");
      stop.abort();
      await ended;
    },
  );

  await t.step("finds more pods than one page has", async () => {
    const crowd = await api.account("crowd", ["list"]);
    await Promise.all(
      Array.from({ length: 130 }, (_, at) => api.pod("crowd", `p-${at}`, labels, `10.9.0.${at + 1}`)),
    );
    assertEquals((await inPod(api, "crowd", crowd).method.peers(never)).length, 130);
  });

  await t.step("names the verb and the resource that RBAC does not allow", async () => {
    const lister = await api.account("lister", ["list"]);
    const nobody = await api.account("nobody", ["create"]);
    const list = await assertE2dError("cloud_forbidden", () => inPod(api, "nobody", nobody).method.peers(never));
    assert(list.message.includes(`the verb "list" on the resource "pods"`), list.message);
    const get = await assertE2dError("cloud_forbidden", () => inPod(api, "lister", lister, []).method.peers(never));
    assert(get.message.includes(`the verb "get" on the resource "pods"`), get.message);
    const watch = await assertE2dError("cloud_forbidden", async () => {
      for await (const _ of inPod(api, "lister", lister).method.changes!(never)) { /* The list is allowed. */ }
    });
    assert(watch.message.includes(`the verb "watch" on the resource "pods"`), watch.message);
  });

  await t.step("is refused with an invalid token, and accepted with the token that replaces it", async () => {
    const { method, files } = inPod(api, "databases", `${token.slice(0, -6)}AAAAAA`);
    const error = await assertE2dError("cloud_unauthorized", () => method.peers(never));
    assert(!error.message.includes(token.slice(0, 20)), error.message);
    files[`${account}/token`] = await api.token("databases");
    assertEquals(hosts(await method.peers(never)), ["127.0.7.1", "127.0.7.9"]);
  });

  await t.step("refuses a server whose certificate the cluster's CA has not signed", async () => {
    const { config, ports } = inPod(api, "databases", token);
    const method = k8sLabels(named, config, { ...ports, trustingHttp: undefined });
    const error = await assertE2dError("cloud_untrusted", () => method.peers(never));
    assert(error.message.includes("UnknownIssuer"), error.message);
  });

  await t.step("continues its watch after a restart of the API server", async () => {
    const { method } = inPod(api, "databases", token);
    const stop = new AbortController();
    let last = "";
    const follow = async () => {
      while (!stop.signal.aborted) {
        try {
          for await (const peers of method.changes!(stop.signal)) last = hosts(peers).join(" ");
        } catch {
          // As the endless polling loop does.
          await systemClock.sleep(200, stop.signal).catch(() => {});
        }
      }
    };
    const ended = follow();
    await eventually("the first answer", () => last === "127.0.7.1 127.0.7.9");
    await api.restart();
    await api.delete("databases", "etcd-9", 0);
    await eventually("the change after the restart", () => last === "127.0.7.1");
    stop.abort();
    await ended;
  });
});
