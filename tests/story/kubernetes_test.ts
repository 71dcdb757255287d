/**
 * Kubernetes on e2d, in one story: a kube-apiserver, its writers and an informer keep running while a member of their etcd
 * cluster is replaced, the cluster is scaled and upgraded, and then restored from a snapshot after the loss of all disks.
 */
import { assert, assertEquals } from "../support/assert.ts";
import { eventually, temporaryDirectory } from "../support/fixtures.ts";
import { KubeApiserver } from "../support/kube_apiserver.ts";
import { etcdDir } from "../support/parts.ts";
import { Cluster, loseDisk } from "../e2e/cluster.ts";
import { e2d, freshHost } from "../e2e/node_process.ts";
import { create, Informer, KubeWriters, list } from "./kube_client.ts";

// grpc-js closes its HTTP/2 sessions some time after the client.
const sanitize = { sanitizeResources: false, sanitizeOps: false };

Deno.test(
  "a kube-apiserver keeps working on a cluster through replacement, scaling, upgrade, total loss and restore",
  sanitize,
  async (t) => {
    await using dir = await temporaryDirectory();
    const cache = await etcdCache(dir.path);
    const hosts = Array.from({ length: 6 }, freshHost);
    const pki = await certificates(dir.path, hosts);
    const backups = `${dir.path}/backups`;
    await Deno.mkdir(backups);
    await using cluster = await Cluster.start({
      size: 3,
      hosts: hosts.slice(0, 3),
      etcd: null,
      tls: pki.tls,
      healthCheckTimeout: "10s",
      environment: { XDG_CACHE_HOME: cache },
      args: [
        ...pki.node,
        "--etcd-version=3.6.14",
        "--snapshot-encryption",
        `--snapshot-backup-url=file://${backups}/db`,
        "--snapshot-interval=5s",
      ],
    });
    await cluster.healthy();
    await using api = await KubeApiserver.start(`${dir.path}/kube`, {
      etcdArgs: [`--etcd-servers=${hosts.map((host) => `https://${host}:2379`).join(",")}`, ...pki.apiserver],
      authorization: "AlwaysAllow",
    });
    await using informer = new Informer(api);
    let rounds = 0;
    /** Runs a step while writers write: no acknowledged write may be missing afterwards. */
    const underWriters = (what: string, act: () => Promise<void>) =>
      t.step(what, async () => {
        await using writers = new KubeWriters(api, `round-${++rounds}`);
        await writers.goOn();
        await act();
        await writers.goOn();
        await writers.stop();
        await writers.check();
        await informer.agrees();
      });
    /** Repeats a command until the cluster accepts it, as an operator does. */
    const operate = async (through: string, ...args: string[]) => {
      await cluster.node(through).eventually(`asked to ${args.join(" ")}`, async () => {
        const { code, stderr } = await e2d([...args, "--data-dir", cluster.dataDir(through)]);
        assertEquals(code, 0, stderr);
      });
    };

    await underWriters("a dead machine is replaced by a new one", async () => {
      await cluster.kill("c");
      cluster.startNode("d", { host: hosts[3]! });
      await cluster.members(["a", "b", "d"]);
    });

    await underWriters("the cluster scales from three members to five", async () => {
      for (const [name, host] of [["e", hosts[4]!], ["f", hosts[5]!]] as const) cluster.startNode(name, { host });
      for (const name of ["e", "f"]) await cluster.node(name).logged(({ reason }) => reason === "standby");
      await operate("a", "scale", "5");
      await cluster.members(["a", "b", "d", "e", "f"]);
    });

    let serving: string[] = [];
    await underWriters("the cluster scales from five members to three", async () => {
      await operate("a", "scale", "3");
      serving = await cluster.node("a").eventually("three members", async () => {
        const client = await cluster.node("a").client();
        const members = await client.memberList(cluster.node("a").clientUrl, { timeoutMs: 5_000 });
        assertEquals(members.length, 3);
        return members.map(({ name }) => name);
      });
    });

    await underWriters("etcd 3.6 is upgraded to 3.7", async () => {
      await operate(serving[0]!, "upgrade", "--to=3.7");
      for (const name of serving) {
        const node = cluster.node(name);
        await node.eventually("on 3.7", async () => {
          const { version } = await (await node.client()).status(node.clientUrl, { timeoutMs: 5_000 });
          assertEquals(version, "3.7.3");
        });
      }
      await cluster.members(serving);
    });

    await t.step(
      "all disks are lost: the content of the snapshot is restored, and the informer drops later objects",
      async () => {
        const kept = await create(api, "kept");
        await Promise.any(
          serving.map((name) =>
            cluster.node(name).logged(({ message, revision }) =>
              message === "saved a snapshot" && Number(revision) >= kept.revision
            )
          ),
        );
        // From now on the store accepts no write.
        await Deno.rename(backups, `${backups}.unmounted`);
        const late = await create(api, "late");
        await eventually("the informer to see it", () => informer.items.has("late"));
        const all = [...cluster.nodes.keys()];
        for (const name of all) await cluster.kill(name);
        for (const name of serving) await loseDisk(cluster, name);
        await Deno.rename(`${backups}.unmounted`, backups);
        assertEquals(informer.expired, [], "no watch was too old before");
        for (const name of serving) cluster.startNode(name, { args: ["--etcd-version=3.7.3"] });
        // The bootstrap list names a machine that was replaced before: an operator confirms that it has no data.
        const [first] = serving as [string];
        const waits = await cluster.node(first).logged(({ reason }) => reason === "disks_awaited");
        const [, plan] = /e2d restore approve ([0-9a-f]{16})/.exec(String(waits.hint)) ?? [];
        assert(plan !== undefined, String(waits.hint));
        await operate(first, "restore", "approve", plan);
        await cluster.members(serving);
        await eventually("a restored Kubernetes", async () => (await list(api)).items.has("kept"));
        await eventually("an informer that lists again", () => informer.expired.length > 0);
        await informer.agrees();
        assert(!informer.items.has("late"), "the informer has an object that etcd does not have");
        assert(informer.revision > late.revision, `revision ${informer.revision} is not above ${late.revision}`);
      },
    );

    await underWriters("the restored cluster accepts writes", async () => {});
    assertEquals(informer.disorder, []);
  },
);

/** A cache with installed etcd releases; returns XDG_CACHE_HOME. */
async function etcdCache(folder: string): Promise<string> {
  await Deno.mkdir(`${folder}/cache/e2d/etcd`, { recursive: true });
  for (const version of ["3.6.14", "3.7.3"] as const) {
    await Deno.symlink(etcdDir(version), `${folder}/cache/e2d/etcd/${version}`);
  }
  return `${folder}/cache`;
}

async function certificates(folder: string, hosts: readonly string[]) {
  const ca = [`--ca-cert=${folder}/ca.crt`, `--ca-key=${folder}/ca.key`];
  const gencerts = ["pki", "gencerts", ...ca, `--hosts=${hosts.join(",")}`, `--output-dir=${folder}`];
  for (const args of [["pki", "init", ...ca], gencerts]) {
    const { code, stderr } = await e2d(args);
    assertEquals(code, 0, stderr);
  }
  const pair = (role: string) => [`--${role}-cert=${folder}/${role}.crt`, `--${role}-key=${folder}/${role}.key`];
  const read = (name: string) => Deno.readTextFile(`${folder}/${name}`);
  return {
    node: [...ca, ...pair("peer"), ...pair("server"), ...pair("client")],
    apiserver: [
      `--etcd-cafile=${folder}/ca.crt`,
      `--etcd-certfile=${folder}/client.crt`,
      `--etcd-keyfile=${folder}/client.key`,
    ],
    tls: { ca: await read("ca.crt"), certificate: await read("client.crt"), key: await read("client.key") },
  };
}
