/** Snapshots on real nodes: restore after the loss of all disks or of a majority, and restores that must be refused. */
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { asideOf, Cluster, loseDisk, sealingKey } from "./cluster.ts";
import { etcdDir } from "../support/parts.ts";
import { s3Keys, S3Server } from "../support/s3_server.ts";
import { approveRestore, e2d, freshHost, NodeProcess } from "./node_process.ts";

const cancelled = { sanitizeResources: false };

const namesIn = async (path: string) => (await Array.fromAsync(Deno.readDir(path), ({ name }) => name)).sort();

const saved = (node: NodeProcess, revision = 0) =>
  node.logged((entry) => entry.message === "saved a snapshot" && Number(entry.revision) >= revision);

async function value(node: NodeProcess, key: string): Promise<string | undefined> {
  const kv = await (await node.client()).get(key);
  return kv === undefined ? undefined : new TextDecoder().decode(kv.value);
}

Deno.test(
  "one node whose disk is lost restores its snapshot and reports which writes may be missing",
  cancelled,
  async () => {
    await using dir = await temporaryDirectory();
    const host = freshHost();
    const args = [
      `--snapshot-backup-url=file://${dir.path}/backups/`,
      "--snapshot-interval=1s",
      "--snapshot-compression=zstd",
    ];
    await Deno.mkdir(`${dir.path}/backups`);
    {
      await using node = new NodeProcess({ dataDir: `${dir.path}/data`, host, args });
      await node.healthy();
      await (await node.client()).put("kept", "yes");
      await (await node.client()).put("/_e2d/volatile", "gone after a restore");
      const { revision } = await (await node.client()).status(node.clientUrl);
      await saved(node, revision);
    }
    await Deno.rename(`${dir.path}/data`, `${dir.path}/lost`);
    await using node = new NodeProcess({ dataDir: `${dir.path}/data`, host, args });
    // The record beside the data-dir names the data: its disk may be unmounted.
    await approveRestore(node, `${dir.path}/data`);
    const report = await node.logged(({ message }) => message === "restored");
    assert(String(report.lost).includes("after the snapshot") && Date.parse(String(report.takenAt)) > 0);
    await node.healthy();
    await node.logged(({ outcome }) => outcome === "restoring → serving");
    assertEquals(await value(node, "kept"), "yes");
    assertEquals(await value(node, "/_e2d/volatile"), undefined);
    assert((await value(node, "/_e2d/snapshot"))!.startsWith("20"));
    // The next life continues from here, and is saved, too.
    await (await node.client()).put("kept", "still");
    await saved(node, 1_000_000);
  },
);

Deno.test(
  "snapshots in a bucket are saved, listed, verified, and restored after the disk is lost",
  cancelled,
  async () => {
    await using dir = await temporaryDirectory();
    await using server = await S3Server.start();
    const host = freshHost();
    const environment = {
      AWS_ACCESS_KEY_ID: s3Keys.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3Keys.secretAccessKey,
      AWS_ENDPOINT_URL_S3: server.endpoint,
      AWS_REGION: "us-east-1",
    };
    const url = "s3://bucket/team/db";
    const args = [`--snapshot-backup-url=${url}`, "--snapshot-interval=1s", "--snapshot-compression"];
    {
      await using node = new NodeProcess({ dataDir: `${dir.path}/data`, host, args, environment });
      await node.healthy();
      await (await node.client()).put("kept", "yes");
      await saved(node, (await (await node.client()).status(node.clientUrl)).revision);
      assert(!node.lines.some((line) => line.includes(s3Keys.secretAccessKey)), "a secret is in the log");
    }
    const verified = await e2d(["snapshot", "verify", url, "--json"], { environment });
    assertEquals([verified.code, JSON.parse(verified.stdout).etcdSum], [0, "checked"]);
    const listed = await e2d(["snapshot", "list", url, "--json"], { environment });
    assert(JSON.parse(listed.stdout).snapshots.length > 0);
    await Deno.rename(`${dir.path}/data`, `${dir.path}/lost`);
    // Wrong credentials do not count as an empty bucket.
    {
      const wrong = { ...environment, AWS_SECRET_ACCESS_KEY: "wrong" };
      await using node = new NodeProcess({ dataDir: `${dir.path}/data`, host, args, environment: wrong });
      await node.logged((entry) => entry.reason === "snapshot_unreadable");
      assert(!node.log.some(({ message }) => message === "starting etcd"));
    }
    await Deno.remove(`${dir.path}/data.e2d.json`);
    await using node = new NodeProcess({ dataDir: `${dir.path}/data`, host, args, environment });
    await node.healthy();
    assertEquals(await value(node, "kept"), "yes");
  },
);

Deno.test(
  "e2d snapshot save and restore by hand: encrypted, and never over an existing object or data-dir",
  cancelled,
  async () => {
    await using dir = await temporaryDirectory();
    const key = `--ca-key=${await sealingKey(dir.path)}`;
    const url = `file://${dir.path}/manual.db`;
    await using node = new NodeProcess({ dataDir: `${dir.path}/data` });
    await node.healthy();
    await (await node.client()).put("kept", "yes");
    const save = ["snapshot", "save", url, `--endpoints=${node.clientUrl}`, "--snapshot-encryption", key];
    const before = await namesIn(dir.path);
    const planned = await e2d(["plan", ...save]);
    assert(planned.code === 0 && planned.stdout.startsWith("would save revision "), planned.stdout + planned.stderr);
    assertEquals(await namesIn(dir.path), before);
    assertEquals((await e2d(save)).code, 0);
    const again = await e2d(save);
    assertEquals(again.code, 1);
    assert(again.stderr.includes("the object already exists"), again.stderr);
    const deep = await e2d(["snapshot", "verify", url, key, "--deep", `--etcd-dir=${etcdDir()}`, "--json"]);
    assertEquals(deep.code, 0, deep.stderr);
    const { keys, hash } = JSON.parse(deep.stdout).restored;
    assert(keys >= 1 && hash.compared, deep.stdout);
    const restore = ["snapshot", "restore", url, key, `--data-dir=${dir.path}/restored`, `--etcd-dir=${etcdDir()}`];
    const proven = await e2d([...restore, "--dry-run"]);
    assert(proven.code === 0 && proven.stdout.startsWith("would restore "), proven.stdout + proven.stderr);
    assert(!(await namesIn(dir.path)).includes("restored"));
    const restored = await e2d(restore);
    assertEquals(restored.code, 0, restored.stderr);
    const over = await e2d(restore);
    assert(over.code === 1 && over.stderr.includes("rename it first"), over.stderr);
    await using second = new NodeProcess({ dataDir: `${dir.path}/restored` });
    await second.healthy();
    assertEquals(await value(second, "kept"), "yes");
  },
);

Deno.test(
  "a cluster that was restored by hand from an older snapshot continues to save to its store",
  cancelled,
  async () => {
    await using dir = await temporaryDirectory();
    await Deno.mkdir(`${dir.path}/backups`);
    const url = `file://${dir.path}/backups/db`;
    const args = [`--snapshot-backup-url=${url}`, "--snapshot-interval=1s"];
    const host = freshHost();
    {
      await using node = new NodeProcess({ dataDir: `${dir.path}/data`, host, args });
      await node.healthy();
      await saved(node);
      await (await node.client()).put("later", "yes");
      await saved(node, (await (await node.client()).status(node.clientUrl)).revision);
    }
    const history = await namesIn(`${dir.path}/backups/db.history`);
    const [oldest] = history.filter((name) => !name.endsWith(".manifest")).sort();
    const restore = ["snapshot", "restore", url, `--snapshot=db.history/${oldest}`, `--data-dir=${dir.path}/restored`];
    const { code, stdout, stderr } = await e2d([...restore, `--etcd-dir=${etcdDir()}`, "--json"]);
    assertEquals(code, 0, stderr);
    assertEquals(JSON.parse(stdout).lineage.epoch, 2);
    await using node = new NodeProcess({ dataDir: `${dir.path}/restored`, host, args });
    await node.healthy();
    await (await node.client()).put("kept", "yes");
    await saved(node, (await (await node.client()).status(node.clientUrl)).revision);
  },
);

Deno.test("a drill has a separate lineage and never saves to the history of the first cluster", cancelled, async () => {
  await using dir = await temporaryDirectory();
  await Deno.mkdir(`${dir.path}/backups`);
  const url = `file://${dir.path}/backups/db`;
  const args = [`--snapshot-backup-url=${url}`, "--snapshot-interval=1s"];
  {
    await using node = new NodeProcess({ dataDir: `${dir.path}/data`, args });
    await node.healthy();
    await (await node.client()).put("kept", "yes");
    await (await node.client()).put("/_e2d/volatile", "gone after a restore");
    await saved(node, (await (await node.client()).status(node.clientUrl)).revision);
  }
  const dataDir = `${dir.path}/drill`;
  const restore = ["snapshot", "restore", url, `--data-dir=${dataDir}`, `--etcd-dir=${etcdDir()}`, "--as-new-cluster"];
  const restored = await e2d([...restore, "--json"]);
  assertEquals(restored.code, 0, restored.stderr);
  const { lineage } = JSON.parse(restored.stdout);
  assert(lineage.id.startsWith("copy-") && lineage.epoch === 1, restored.stdout);
  const before = await namesIn(`${dir.path}/backups/db.history`);
  const head = await Deno.readFile(`${dir.path}/backups/db`);
  await using drill = new NodeProcess({ dataDir, args });
  await drill.healthy();
  assertEquals(await value(drill, "kept"), "yes");
  await drill.logged((entry) => JSON.stringify(entry).includes("snapshot_other_lineage"));
  assertEquals(await value(drill, "/_e2d/volatile"), undefined);
  assertEquals([await namesIn(`${dir.path}/backups/db.history`), await Deno.readFile(`${dir.path}/backups/db`)], [
    before,
    head,
  ]);
  // A restore beside the record of another life is refused.
  await Deno.rename(dataDir, `${dir.path}/aside`);
  const again = await e2d(restore);
  assert(again.code === 1 && again.stderr.includes("its node record"), again.stderr);
});

Deno.test("a node with data starts from it although the store has a newer snapshot", cancelled, async () => {
  await using dir = await temporaryDirectory();
  const host = freshHost();
  await Deno.mkdir(`${dir.path}/backups`);
  const args = [`--snapshot-backup-url=file://${dir.path}/backups/`];
  {
    await using node = new NodeProcess({
      dataDir: `${dir.path}/data`,
      host,
      args: [...args, "--snapshot-interval=1s"],
    });
    await node.healthy();
    await saved(node);
    await (await node.client()).put("later", "than the snapshot");
  }
  await using node = new NodeProcess({ dataDir: `${dir.path}/data`, host, args });
  await node.healthy();
  assertEquals(await value(node, "later"), "than the snapshot");
});

Deno.test(
  "three nodes without data restore the encrypted snapshot as one cluster",
  cancelled,
  async () => {
    await using dir = await temporaryDirectory();
    await Deno.mkdir(`${dir.path}/backups`);
    const caKey = await sealingKey(dir.path);
    const args = [
      `--snapshot-backup-url=file://${dir.path}/backups/db`,
      "--snapshot-interval=1s",
      "--snapshot-encryption",
      `--ca-key=${caKey}`,
    ];
    await using cluster = await Cluster.start({ size: 3, args });
    await cluster.healthy();
    await cluster.put("a", "kept", "1");
    const { revision } = await (await cluster.node("a").client()).status(cluster.node("a").clientUrl);
    await Promise.any(["a", "b", "c"].map((name) => saved(cluster.node(name), revision)));
    const id = await cluster.clusterId("a");
    await Promise.all(["a", "b", "c"].map((name) => cluster.kill(name)));
    for (const name of ["a", "b", "c"]) await loseDisk(cluster, name);
    for (const name of ["a", "b", "c"]) cluster.startNode(name);
    await cluster.healthy();
    await cluster.members(["a", "b", "c"]);
    assertEquals(await cluster.get("b", "kept"), "1");
    const ids = await Promise.all(["a", "b", "c"].map((name) => cluster.clusterId(name)));
    assertEquals(new Set(ids).size, 1);
    assert(ids[0] !== id, "the restored cluster has the id of the former one");
  },
);

Deno.test("a node bootstraps no empty cluster while the snapshot cannot be decrypted or read", cancelled, async () => {
  await using dir = await temporaryDirectory();
  await Deno.mkdir(`${dir.path}/backups`);
  const args = [`--snapshot-backup-url=file://${dir.path}/backups/db`, "--snapshot-interval=1s"];
  const sealed = [...args, "--snapshot-encryption", `--ca-key=${await sealingKey(dir.path)}`];
  const host = freshHost();
  {
    await using node = new NodeProcess({ dataDir: `${dir.path}/data`, host, args: sealed });
    await node.healthy();
    await saved(node);
  }
  const refused = async (args: readonly string[], code: string) => {
    await Deno.remove(`${dir.path}/empty`, { recursive: true }).catch(() => {});
    await using node = new NodeProcess({ dataDir: `${dir.path}/empty`, host, args });
    await node.logged((entry) => JSON.stringify(entry).includes(code));
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    assert(!node.log.some(({ message }) => message === "starting etcd"), "it must not start anything");
    assertEquals(await Deno.stat(`${dir.path}/empty/member`).catch(() => "nothing"), "nothing");
  };
  await Deno.mkdir(`${dir.path}/other`);
  // Another key, which the manifest reveals before any download; then no key.
  await refused(
    [...args, "--snapshot-encryption", `--ca-key=${await sealingKey(`${dir.path}/other`)}`],
    "made for other keys",
  );
  await refused(args, "snapshot_wrong_key");
  // A changed byte in the middle of every object, and of the copy at the key, which would replace the newest one.
  const history = await Array.fromAsync(Deno.readDir(`${dir.path}/backups/db.history`));
  const objects = history.filter(({ name }) => !name.endsWith(".manifest")).map(({ name }) => `db.history/${name}`);
  for (const object of [...objects, "db"]) {
    const path = `${dir.path}/backups/${object}`;
    const bytes = await Deno.readFile(path);
    bytes[bytes.length - 20_000]! ^= 1;
    await Deno.writeFile(path, bytes);
  }
  await refused(sealed, "snapshot_corrupt");
  // A disk that is not mounted.
  await Deno.rename(`${dir.path}/backups`, `${dir.path}/unmounted`);
  await refused(sealed, "there is no such folder");
});

Deno.test(
  "an empty cluster with the snapshot URL of another cluster neither starts empty nor replaces its snapshots",
  cancelled,
  async () => {
    await using dir = await temporaryDirectory();
    await Deno.mkdir(`${dir.path}/backups`);
    const args = [`--snapshot-backup-url=file://${dir.path}/backups/db`, "--snapshot-interval=1s"];
    {
      await using node = new NodeProcess({ dataDir: `${dir.path}/data`, args });
      await node.healthy();
      await saved(node);
    }
    await using other = new NodeProcess({ dataDir: `${dir.path}/other`, args: [...args, "--new-cluster=other"] });
    await other.healthy();
    await other.logged((entry) => JSON.stringify(entry).includes("snapshot_other_lineage"));
    assert(!other.log.some(({ message }) => message === "saved a snapshot"));
  },
);

Deno.test(
  "a survivor is the source of the recovered cluster, and a node of the lost majority joins it",
  cancelled,
  async () => {
    await using cluster = await Cluster.start({ size: 3, args: ["--quorum-loss-timeout=5s"] });
    await cluster.healthy();
    await cluster.put("a", "kept", "1");
    const id = await cluster.clusterId("a");
    await Promise.all(["b", "c"].map((name) => cluster.kill(name)));
    // Two new machines take the place of the lost ones, whose disks come back later.
    for (const name of ["d", "e"]) cluster.startNode(name);
    await cluster.members(["a", "d", "e"]);
    await cluster.healthy(["a", "d", "e"]);
    assertEquals(await cluster.get("e", "kept"), "1");
    assert(await cluster.clusterId("a") !== id);
    assertEquals((await asideOf(cluster, "a")).map((name) => name.replace(/-.*/, "")), ["a.superseded"]);
    // One node of the lost majority returns with its disk: it must not start its old life.
    const b = cluster.startNode("b");
    await b.logged(({ reason }) => reason === "standby");
    assertEquals((await asideOf(cluster, "b")).map((name) => name.replace(/-.*/, "")), ["b.superseded"]);
    await cluster.members(["a", "d", "e"]);
  },
);
