/** The source of a new cluster after a total loss or a quorum loss, in each snapshot format and store. */
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { s3Keys, S3Server } from "../support/s3_server.ts";
import { asideOf, Cluster, loseDisk, sealingKey } from "./cluster.ts";
import { e2d } from "./node_process.ts";

// grpc-js closes its HTTP/2 sessions some time after the client.
const sanitize = { sanitizeResources: false, sanitizeOps: false };
const abc = ["a", "b", "c"];

/** `e2d restore approve` at a node, of the plan that its hint names. */
async function approve(cluster: Cluster, name: string, plan: RegExp, hint: unknown): Promise<void> {
  const found = plan.exec(String(hint))?.[1];
  assert(found !== undefined, `no plan in: ${hint}`);
  const { code, stderr } = await e2d(["restore", "approve", found, "--data-dir", cluster.dataDir(name)]);
  assertEquals(code, 0, stderr);
}

/** Resolves when the store has every write so far. */
async function saved(cluster: Cluster, names: readonly string[]): Promise<void> {
  const node = cluster.node(names[0]!);
  const { revision } = await (await node.client()).status(node.clientUrl);
  await Promise.any(
    names.map((name) =>
      cluster.node(name).logged((entry) => entry.message === "saved a snapshot" && Number(entry.revision) >= revision)
    ),
  );
}

/** Asserts that all nodes are members of one cluster and returns its id. */
async function oneCluster(cluster: Cluster, names: readonly string[]): Promise<string> {
  await cluster.members(names);
  await cluster.healthy([...names]);
  const ids = new Set(await Promise.all(names.map((name) => cluster.clusterId(name))));
  assertEquals(ids.size, 1);
  return [...ids][0]!;
}

const grid: { what: string; args: string[]; sealed: boolean; url: (folder: string) => string }[] = [
  {
    what: "sealed and compressed v2 in a bucket",
    args: ["--snapshot-encryption", "--snapshot-compression=zstd", "--snapshot-compress-before-encryption"],
    sealed: true,
    url: () => "s3://bucket/team/",
  },
  {
    what: "the original's sealed format in a Spaces bucket",
    args: ["--snapshot-encryption", "--snapshot-format=go-v1"],
    sealed: true,
    url: () => "https://ams3.digitaloceanspaces.com/bucket/db",
  },
  {
    what: "the original's gzip in a file",
    args: ["--snapshot-compression", "--snapshot-format=go-v1"],
    sealed: false,
    url: (folder) => `file://${folder}/db`,
  },
];

for (const { what, args, sealed, url } of grid) {
  Deno.test(`three nodes without data restore ${what}`, sanitize, async () => {
    await using dir = await temporaryDirectory();
    await using server = await S3Server.start({ region: what.includes("Spaces") ? "ams3" : "us-east-1" });
    await using cluster = await Cluster.start({
      size: 3,
      environment: {
        AWS_ACCESS_KEY_ID: s3Keys.accessKeyId,
        AWS_SECRET_ACCESS_KEY: s3Keys.secretAccessKey,
        AWS_REGION: "us-east-1",
        E2D_DO_SPACES_KEY: s3Keys.accessKeyId,
        E2D_DO_SPACES_SECRET: s3Keys.secretAccessKey,
      },
      args: [
        `--snapshot-backup-url=${url(dir.path)}`,
        "--snapshot-interval=1s",
        `--s3-endpoint=${server.endpoint}`,
        ...args,
        ...(sealed ? [`--ca-key=${await sealingKey(dir.path)}`] : []),
      ],
    });
    await cluster.healthy();
    await cluster.put("a", "kept", "1");
    await saved(cluster, abc);
    const id = await cluster.clusterId("a");
    await Promise.all(abc.map((name) => cluster.kill(name)));
    for (const name of abc) await loseDisk(cluster, name);
    for (const name of abc) cluster.startNode(name);
    assert(await oneCluster(cluster, abc) !== id);
    assertEquals(await cluster.get("b", "kept"), "1");
  });
}

Deno.test(
  "a survivor with data newer than the snapshot is the source of the recovered cluster",
  sanitize,
  async () => {
    await using dir = await temporaryDirectory();
    await using cluster = await Cluster.start({
      size: 3,
      args: ["--quorum-loss-timeout=5s", `--snapshot-backup-url=file://${dir.path}/db`, "--snapshot-interval=1s"],
    });
    await cluster.healthy();
    await cluster.put("a", "in both", "1");
    await saved(cluster, abc);
    // From now on the store accepts no write.
    await Deno.rename(dir.path, `${dir.path}.unmounted`);
    await cluster.put("a", "later", "2");
    await cluster.kill("b");
    await cluster.kill("c");
    await Deno.rename(`${dir.path}.unmounted`, dir.path);
    for (const name of ["d", "e"]) cluster.startNode(name);
    await oneCluster(cluster, ["a", "d", "e"]);
    assertEquals([await cluster.get("d", "in both"), await cluster.get("e", "later")], ["1", "2"]);
    const report = await cluster.node("a").logged(({ message }) => message === "restored");
    assertEquals(report.source, "survivor");
  },
);

Deno.test(
  "a survivor with data older than the snapshot waits for an operator, who chooses the snapshot",
  sanitize,
  async () => {
    await using dir = await temporaryDirectory();
    await using cluster = await Cluster.start({
      size: 3,
      // Long enough for the others to continue without "a" and to save a snapshot.
      healthCheckTimeout: "60s",
      args: ["--quorum-loss-timeout=5s", `--snapshot-backup-url=file://${dir.path}/db`, "--snapshot-interval=1s"],
    });
    await cluster.healthy();
    await cluster.put("a", "in both", "1");
    await saved(cluster, abc);
    await cluster.kill("a");
    // "a" may have been the leader.
    await cluster.node("b").eventually("written", () => cluster.put("b", "later", "2"));
    await saved(cluster, ["b", "c"]);
    await cluster.kill("b");
    await cluster.kill("c");
    for (const name of ["a", "d", "e"]) cluster.startNode(name);
    const { hint, level } = await cluster.node("a").logged(({ reason }) => reason === "survivor_behind");
    assertEquals(level, "error");
    await approve(cluster, "a", /approve ([0-9a-f]{16})": the snapshot of/, hint);
    await oneCluster(cluster, ["a", "d", "e"]);
    assertEquals([await cluster.get("a", "in both"), await cluster.get("a", "later")], ["1", "2"]);
    assertEquals((await asideOf(cluster, "a")).map((name) => name.replace(/-.*/, "")), ["a.superseded"]);
  },
);

Deno.test(
  "a lost majority that returns with its disks during a recovery leaves one cluster",
  sanitize,
  async () => {
    await using cluster = await Cluster.start({ size: 3, args: ["--quorum-loss-timeout=5s"] });
    await cluster.healthy();
    await cluster.put("a", "kept", "1");
    await cluster.kill("b");
    await cluster.kill("c");
    for (const name of ["d", "e"]) cluster.startNode(name);
    await cluster.node("a").logged(({ outcome }) => outcome === "pledge");
    for (const name of ["b", "c"]) cluster.startNode(name);
    // One of the two lives continues, and it has every acknowledged write.
    const serving = await cluster.node("a").eventually("whole again", async () => {
      const client = await cluster.node("a").client();
      await client.ready(cluster.node("a").clientUrl, { timeoutMs: 1_000 });
      const members = await client.memberList(cluster.node("a").clientUrl, { timeoutMs: 1_000 });
      assertEquals([members.length, members.some(({ isLearner }) => isLearner)], [3, false]);
      return members.map(({ name }) => name);
    });
    await oneCluster(cluster, ["a", ...serving.filter((name) => name !== "a")]);
    assertEquals(await cluster.get(serving[1]!, "kept"), "1");
    const others = ["a", "b", "c", "d", "e"].filter((each) => !serving.includes(each));
    if (serving.includes("d")) {
      // A quorum of the former life's disks waits unchanged for an operator, who discards it.
      for (const name of ["b", "c"]) await cluster.node(name).logged(({ reason }) => reason === "two_epochs");
      for (const name of ["b", "c"]) assertEquals(await asideOf(cluster, name), []);
      const { hint } = await cluster.node("b").logged(({ reason }) => reason === "two_epochs");
      await approve(cluster, "b", /approve ([0-9a-f]{16})": quarantine/, hint);
    }
    for (const name of others) await cluster.node(name).logged(({ reason }) => reason === "standby");
  },
);
