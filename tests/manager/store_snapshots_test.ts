/** The manager's snapshots on a real disk, against an etcd and a store of the tests. */
import type { EtcdClient } from "../../lib/etcd/client/client.ts";
import type { Effect } from "../../lib/core/facts/effect.ts";
import { copyLineage } from "../../lib/core/evidence/lineage.ts";
import { E2dError, isE2dError } from "../../lib/errors.ts";
import type { SnapshotConfig } from "../../lib/manager/node_config.ts";
import { writeRecord } from "../../lib/manager/data_dir/node_record.ts";
import {
  type SnapshotPorts,
  type StoreSnapshotOptions,
  trustedPlace,
} from "../../lib/manager/adapters/snapshot_options.ts";
import { StoreSnapshots } from "../../lib/manager/adapters/store_snapshots.ts";
import { sameThreadCodec } from "../../lib/snapshot/format/codec.ts";
import { listSnapshots } from "../../lib/snapshot/lookup.ts";
import type { Manifest } from "../../lib/snapshot/manifest.ts";
import type { Store } from "../../lib/storage/store.ts";
import { systemFileReader } from "../../lib/sys/file_reader.ts";
import { systemFiles } from "../../lib/sys/files.ts";
import { systemRandom } from "../../lib/sys/random.ts";
import { systemStaging } from "../../lib/sys/staging.ts";
import { caSecret, database, rewriteManifest, save, sha256, streamOf } from "../snapshot/support.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { eventually, temporaryDirectory } from "../support/fixtures.ts";
import { MemoryStore } from "../support/memory_store.ts";
import { TestClock } from "../support/test_clock.ts";
import { TestLog } from "../support/test_log.ts";
import type { BootstrapPlan, NodeRecord } from "../../lib/core/facts/node_record.ts";

const key = "db";
const plain = database("kept", 8);
const lineage = { id: "l", epoch: 1, token: "t" };
const takeSnapshot: Extract<Effect, { kind: "takeSnapshot" }> = {
  kind: "takeSnapshot",
  id: 1,
  format: "v2",
  lineage,
  lastRevision: 0,
};

interface Options {
  readonly dataDir: string;
  readonly store: Store;
  readonly config?: Partial<SnapshotConfig>;
  readonly origin?: "restored";
  readonly revision?: number;
  readonly cluster?: ReturnType<StoreSnapshotOptions["cluster"]>;
}

function manager({ dataDir, store, config = {}, origin, revision = 7, cluster = { size: 1 } }: Options) {
  const [clock, log] = [new TestClock(), new TestLog()];
  const client = {
    currentRevision: () => Promise.resolve(revision),
    status: () => Promise.resolve({ revision, clusterId: "c", version: "3.6.14", dbSizeBytes: plain.length }),
    snapshot: () => Promise.resolve({ stream: streamOf(plain), totalBytes: plain.length }),
  } as unknown as EtcdClient;
  const snapshots = new StoreSnapshots({
    place: { store, key },
    config: {
      intervalMs: 60_000,
      compression: "none",
      encryption: true,
      allowUnsealed: false,
      compressBeforeEncryption: false,
      format: "auto",
      recipients: [],
      keepHourly: 24,
      keepDaily: 7,
      restore: "auto",
      ...config,
    },
    keys: () => ({ recipients: [caSecret], secret: caSecret }),
    self: { name: "a", peerUrl: "http://a:2380", clientUrl: "http://a:2379" },
    host: "127.0.0.1",
    dataDir,
    client,
    programs: () => Promise.reject(new Error("no etcd here")),
    whileEtcdStopped: (work) => work(),
    origin: () => origin,
    cluster: () => cluster,
  }, {
    clock,
    log,
    random: systemRandom,
    files: systemFiles,
    staging: systemStaging,
    reader: systemFileReader,
    codec: sameThreadCodec,
  } as unknown as SnapshotPorts);
  return { snapshots, clock, log };
}

const plan = (hash: string): BootstrapPlan => ({
  digest: "d1d1",
  token: "t",
  lineage,
  initialMembers: [],
  source: { kind: "snapshot", hash, revision: 7 },
} as unknown as BootstrapPlan);

const work = (dataDir: string) => systemFiles.list(`${dataDir}.e2d.work`);

Deno.test("take() saves a sealed snapshot with an authentic manifest, and leaves no plaintext database", async () => {
  await using dir = await temporaryDirectory();
  const [dataDir, store] = [`${dir.path}/data`, new MemoryStore()];
  const { snapshots, clock } = manager({ dataDir, store });
  const result = await clock.settle(snapshots.take(takeSnapshot));
  assertEquals(result.status === "fulfilled" && result.value, { revision: 7, saved: true });
  assertEquals(await work(dataDir), []);
  const [manifest] = await listSnapshots({ store, key });
  assertEquals([manifest!.plainSha256, manifest!.authentication!.tags.length], [undefined, 1]);
  const found = await snapshots.latestSnapshot();
  assert(found.kind === "newest" && found.revision === 7, JSON.stringify(found));
  // What was saved is fetched, and proven to be the same.
  assertEquals(await snapshots.prepareSource(plan(manifest!.sha256), undefined), sha256(plain));
  assertEquals(await work(dataDir), ["d1d1.db"]);
  await snapshots.close();
  assertEquals(await work(dataDir), []);
});

async function lookOnce(options: Options) {
  const { snapshots } = manager(options);
  try {
    return await snapshots.latestSnapshot();
  } finally {
    await snapshots.close();
  }
}

Deno.test("latestSnapshot() and prepareSource() ignore unauthenticated objects of a bucket writer", async () => {
  await using dir = await temporaryDirectory();
  const [dataDir, store] = [`${dir.path}/data`, new MemoryStore()];
  const { snapshots, clock } = manager({ dataDir, store });
  await clock.settle(snapshots.take(takeSnapshot));
  const [manifest] = await listSnapshots({ store, key });
  rewriteManifest(store, manifest!, { takenAt: "2031-01-01T00:00:00.000Z" });
  const found = await snapshots.latestSnapshot();
  assert(found.kind === "unreadable" && found.code === "manifest_unauthentic", JSON.stringify(found));
  await snapshots.prepareSource(plan(manifest!.sha256), undefined).then(
    () => assert(false, "it was fetched"),
    (error) => assert(isE2dError(error, "manifest_unauthentic"), String(error)),
  );
  // Only an unencrypted database at the key.
  const bare = new MemoryStore();
  bare.objects.set(key, { bytes: plain, modifiedMs: 0 });
  const unsealed = await lookOnce({ dataDir, store: bare });
  assert(unsealed.kind === "unreadable" && unsealed.code === "snapshot_unsealed", JSON.stringify(unsealed));
  // Another cluster's file, sealed with the same key and put over the newest one of this cluster.
  for (const [format, code] of [["v2", "history_incomplete"], ["go-v1", "manifest_unauthentic"]] as const) {
    const [spliced, foreign] = [new MemoryStore(), new MemoryStore()];
    await manager({ dataDir, store: spliced }).snapshots.take(takeSnapshot);
    const theirs = await save(foreign, { text: "theirs", format });
    spliced.objects.set(key, { ...foreign.objects.get(theirs.key)!, modifiedMs: clock.wallMs() + 3_600_000 });
    const refused = await lookOnce({ dataDir, store: spliced });
    assert(refused.kind === "unreadable" && refused.code === code, JSON.stringify(refused));
  }
  assertEquals((await lookOnce({ dataDir, store: bare, config: { allowUnsealed: true } })).kind, "newest");
  assertEquals(await work(dataDir), []);
});

Deno.test("the reason of a wait for a damaged snapshot names it, and the command that restores an older one here", async () => {
  await using dir = await temporaryDirectory();
  const [dataDir, store] = [`${dir.path}/data`, new MemoryStore()];
  const older = await save(store, { minute: 1 });
  const newest = await save(store, { minute: 2 });
  const command = `e2d snapshot restore --data-dir ${dataDir} --name a --peer-url http://a:2380 --snapshot ` +
    older.key.split("/").at(-1);
  const { bytes } = store.objects.get(newest.key)!;
  bytes[bytes.length - 50]! ^= 1;
  store.objects.delete(key);
  const { snapshots } = manager({ dataDir, store });
  // Its size fits, so the damage is found when it is fetched.
  await snapshots.prepareSource(plan(newest.sha256), undefined).then(
    () => assert(false, "it was fetched"),
    (error) =>
      assert(
        isE2dError(error, "snapshot_corrupt") && error.message.includes(newest.key) && error.hint?.endsWith(command),
        String(error),
      ),
  );
  store.objects.delete(newest.key);
  const found = await snapshots.latestSnapshot();
  assert(
    found.kind === "unreadable" && found.why.includes(newest.key) && found.hint?.endsWith(command),
    JSON.stringify(found),
  );
  await snapshots.close();
  // Garbage at the key.
  const bare = new MemoryStore();
  bare.objects.set(key, { bytes: new Uint8Array(7), modifiedMs: 0 });
  const garbage = await lookOnce({ dataDir, store: bare });
  assert(garbage.kind === "unreadable" && garbage.why.includes(`snapshot "${key}" in memory`), JSON.stringify(garbage));
});

Deno.test("latestSnapshot() is unreadable within 60 s for a store that does not answer", async () => {
  await using dir = await temporaryDirectory();
  const store = new MemoryStore();
  store.list = () => new Promise(() => {});
  const { snapshots, clock } = manager({ dataDir: `${dir.path}/data`, store });
  for (const why of ["no progress for 60 s", "was aborted and has not ended"]) {
    const result = await clock.settle(snapshots.latestSnapshot());
    assert(result.status === "fulfilled" && result.value.kind === "unreadable" && result.value.why.includes(why));
    assert(result.tookMs <= 60_000);
  }
  await snapshots.close();
});

Deno.test("files of a killed process are swept at the start, except those that a pledge refers to", async () => {
  await using dir = await temporaryDirectory();
  const dataDir = `${dir.path}/data`;
  const names = ["0abc.db", "0abc.db.part", "1def.db", "copy", "offer.db", "offer.db.part", "spool.db", "t1.done"];
  const leave = async () => {
    await Deno.mkdir(`${dataDir}.e2d.work`, { recursive: true, mode: 0o700 });
    for (const name of names) await Deno.writeTextFile(`${dataDir}.e2d.work/${name}`, "keys");
  };
  const start = async () => {
    const { snapshots } = manager({ dataDir, store: new MemoryStore() });
    const left = await eventually("the sweep at the start", async () => {
      const names = await work(dataDir);
      return names!.includes("spool.db") ? undefined : names;
    });
    await snapshots.close();
    assertEquals(await work(dataDir), left);
    return left;
  };
  await leave();
  assertEquals(await start(), ["t1.done"]);
  await leave();
  const pledge = { digest: "1def", token: "t", initialMembers: [], source: { kind: "empty" }, lineage };
  await writeRecord(systemFiles, dataDir, { nonce: "n", pledges: [pledge] } as unknown as NodeRecord);
  assertEquals(await start(), ["1def.db", "t1.done"]);
  // A record that cannot be read: what it promised is unknown.
  await leave();
  await Deno.writeTextFile(`${dataDir}.e2d.json`, "{");
  assertEquals(await start(), ["0abc.db", "1def.db", "t1.done"]);
});

Deno.test("take() removes remains of aborted uploads that are a day old", async () => {
  await using dir = await temporaryDirectory();
  const [dataDir, memory] = [`${dir.path}/data`, new MemoryStore()];
  const asked: [string, number][] = [];
  const store: Store = Object.assign(memory, {
    removeCutWrites: (prefix: string, beforeMs: number) => Promise.resolve(asked.push([prefix, beforeMs])),
  });
  const { snapshots, clock } = manager({ dataDir, store });
  await clock.settle(snapshots.take(takeSnapshot));
  const yesterday = clock.wallMs() - 24 * 3_600_000;
  assertEquals(asked.map(([prefix]) => prefix), ["db", "db.history/"]);
  assert(asked.every(([, beforeMs]) => Math.abs(beforeMs - yesterday) < 60_000));
});

Deno.test("take() retries only the failed copy at the key, reports the failure, and still prunes", async () => {
  await using dir = await temporaryDirectory();
  const store = new MemoryStore();
  const written: string[] = [];
  const [write, removed] = [store.write.bind(store), [] as string[]];
  let refuses = true;
  store.write = (name, content, options) => {
    written.push(name);
    if (name === key && refuses) return Promise.reject(new E2dError("store_forbidden", "Cannot write it"));
    return write(name, content, options);
  };
  const swept: Store = Object.assign(store, {
    removeCutWrites: (prefix: string) => Promise.resolve(removed.push(prefix)),
  });
  const { snapshots, clock } = manager({ dataDir: `${dir.path}/data`, store: swept });
  const take = async (lastRevision = 0) => {
    written.length = removed.length = 0;
    const result = await clock.settle(snapshots.take({ ...takeSnapshot, lastRevision }));
    return result.status === "fulfilled" ? result.value : (result.reason as E2dError).code;
  };
  assertEquals(await take(), "snapshot_copy_failed");
  assertEquals([written.length, removed.length], [3, 2]);
  const [{ revision }] = await listSnapshots({ store, key }) as [Manifest];
  assertEquals(revision, 7);
  // The core asks again after its interval, because it was told of a failure.
  assertEquals([await take(), written], ["snapshot_copy_failed", [key]]);
  refuses = false;
  assertEquals([await take(), written], [{ revision: 7, saved: true }, [key]]);
  assertEquals(store.objects.get(key)!.bytes, store.objects.get((await listSnapshots({ store, key }))[0]!.key)!.bytes);
  assertEquals([await take(7), written], [{ revision: 7, saved: false }, []]);
});

Deno.test("take(): a retried copy keeps a file of another tool that was put at the key meanwhile", async () => {
  await using dir = await temporaryDirectory();
  const store = new MemoryStore();
  const write = store.write.bind(store);
  store.write = (name, content, options) =>
    name === key ? Promise.reject(new E2dError("store_forbidden", "no")) : write(name, content, options);
  const { snapshots, clock } = manager({ dataDir: `${dir.path}/data`, store });
  await clock.settle(snapshots.take(takeSnapshot));
  store.write = write;
  const theirs = new TextEncoder().encode("the snapshot of another tool");
  await write(key, new Blob([theirs]).stream() as ReadableStream<Uint8Array<ArrayBuffer>>, {});
  const result = await clock.settle(snapshots.take(takeSnapshot));
  assertEquals(result.status, "fulfilled");
  const kept = [...store.objects].filter(([name]) => name.includes("foreign-")).map(([, { bytes }]) => bytes);
  assertEquals(kept, [theirs]);
  assertEquals(store.objects.get(key)!.bytes, store.objects.get((await listSnapshots({ store, key }))[0]!.key)!.bytes);
});

Deno.test("take(): a retried copy never replaces the newer copy of another life", async () => {
  await using dir = await temporaryDirectory();
  const store = new MemoryStore();
  // The life before this one, which was restored from it.
  await save(store, { minute: 1, lineage: { ...lineage, epoch: 0, token: "older" } });
  const write = store.write.bind(store);
  store.write = (name, content, options) =>
    name === key ? Promise.reject(new E2dError("store_forbidden", "no")) : write(name, content, options);
  const { snapshots, clock } = manager({ dataDir: `${dir.path}/data`, store });
  await clock.settle(snapshots.take(takeSnapshot));
  store.write = write;
  const minute = Math.ceil(clock.wallMs() / 60_000) + 10;
  await save(store, { minute, lineage: { ...lineage, epoch: 0, token: "older" } });
  const before = store.objects.get(key)!.bytes;
  await clock.settle(snapshots.take(takeSnapshot));
  assertEquals(store.objects.get(key)!.bytes, before);
});

Deno.test("a drill never replaces an unmanaged snapshot, a restored cluster may", async () => {
  await using dir = await temporaryDirectory();
  for (
    const [lineage, expected] of [[copyLineage("copy-1"), "snapshot_foreign"], [takeSnapshot.lineage, "saved"]] as const
  ) {
    const store = new MemoryStore();
    store.objects.set(key, { bytes: new Uint8Array([1, 2, 3]), modifiedMs: 0 });
    const { snapshots, clock } = manager({ dataDir: `${dir.path}/data`, store, origin: "restored" });
    const result = await clock.settle(snapshots.take({ ...takeSnapshot, lineage }));
    const outcome = result.status === "fulfilled" ? "saved" : (result.reason as { code: string }).code;
    assertEquals(outcome, expected);
  }
});

Deno.test("trustedPlace() names the arguments of a restore on this node: of several members the list and one token", () => {
  const place = { store: new MemoryStore(), key };
  const of = (name: string, cluster: ReturnType<StoreSnapshotOptions["cluster"]>) =>
    trustedPlace(place, {
      dataDir: "/d",
      self: { name, peerUrl: `http://${name}:2380`, clientUrl: "" },
      config: {},
      keys: () => ({ recipients: [] }),
      cluster: () => cluster,
    } as unknown as StoreSnapshotOptions).restoreArguments;
  const own = "--data-dir /d --name a --peer-url http://a:2380";
  assertEquals(of("a", { size: 1 }), own);
  const unknown = `${own} --initial-cluster NAME=PEER_URL,NAME=PEER_URL --token TOKEN`;
  assertEquals(of("a", { size: 3 }), unknown);
  const voters = ["a", "b", "c"].map((name) => ({ name, peerUrl: `http://${name}:2380` }));
  const seen = { clusterId: "c1", token: "t", voters };
  const known = of("a", { size: 3, seen })!;
  const list = "--initial-cluster a=http://a:2380,b=http://b:2380,c=http://c:2380";
  assertEquals(known.startsWith(`${own} ${list} --token restored-`), true, known);
  const tokenOf = (text: string | undefined) => text?.split(" ").at(-1);
  assertEquals(tokenOf(of("b", { size: 3, seen })), tokenOf(known), "the same on each node");
  assert(
    tokenOf(of("a", { size: 3, seen: { ...seen, token: "later" } })) !== tokenOf(known),
    "another one for each life",
  );
  const moved = voters.map((each) => ({ ...each, peerUrl: each.name === "a" ? "http://old:2380" : each.peerUrl }));
  assertEquals(of("a", { size: 3, seen: { ...seen, voters: moved } }), unknown, "this node is at another address");
  assertEquals(of("z", { size: 3, seen })?.endsWith("--token TOKEN"), true);
});

Deno.test("abortTake() ends a save to a store that does not answer", async () => {
  await using dir = await temporaryDirectory();
  const [dataDir, store] = [`${dir.path}/data`, new MemoryStore()];
  store.list = () => new Promise(() => {});
  const { snapshots, clock } = manager({ dataDir, store });
  const taking = snapshots.take(takeSnapshot);
  taking.catch(() => {});
  await clock.advance(1_000);
  while ((await work(dataDir))?.[0] !== "spool.db") await new Promise((resolve) => setTimeout(resolve, 1));
  snapshots.abortTake();
  const result = await clock.settle(taking);
  assert(result.status === "rejected" && isE2dError(result.reason, "snapshot_aborted"), JSON.stringify(result));
  assertEquals(await work(dataDir), []);
});

Deno.test("close() ends a save with an error of its own, which no log calls unexpected", async () => {
  await using dir = await temporaryDirectory();
  const [dataDir, store] = [`${dir.path}/data`, new MemoryStore()];
  store.list = () => new Promise(() => {});
  const { snapshots, clock } = manager({ dataDir, store });
  const taking = snapshots.take(takeSnapshot);
  taking.catch(() => {});
  await clock.advance(1_000);
  while ((await work(dataDir))?.[0] !== "spool.db") await new Promise((resolve) => setTimeout(resolve, 1));
  await snapshots.close();
  const result = await clock.settle(taking);
  assert(result.status === "rejected" && isE2dError(result.reason, "e2d_stops"), JSON.stringify(result));
});

Deno.test("an unsafe work folder is not used: a snapshot is streamed, a restore fails", async () => {
  await using dir = await temporaryDirectory();
  const [dataDir, store] = [`${dir.path}/data`, new MemoryStore()];
  await Deno.mkdir(`${dataDir}.e2d.work`);
  await Deno.chmod(`${dataDir}.e2d.work`, 0o777);
  const { snapshots, clock, log } = manager({ dataDir, store });
  const result = await clock.settle(snapshots.take(takeSnapshot));
  assertEquals(result.status === "fulfilled" && result.value.saved, true);
  assert(log.lines.some(({ level, message }) => level === "warn" && message.includes("without a local copy")));
  const [manifest] = await listSnapshots({ store, key });
  await snapshots.prepareSource(plan(manifest!.sha256), undefined).then(
    () => assert(false, "it was fetched"),
    (error) => assert(isE2dError(error, "work_folder_unsafe"), String(error)),
  );
  assertEquals(await work(dataDir), []);
});

Deno.test("take() reports a rolled-back disk once, and continues with a branch of the life", async () => {
  await using dir = await temporaryDirectory();
  const [dataDir, store] = [`${dir.path}/data`, new MemoryStore()];
  await save(store, { minute: 34, lineage });
  for (const revision of [7, 8]) {
    const { snapshots, clock, log } = manager({ dataDir, store, revision });
    const result = await clock.settle(snapshots.take(takeSnapshot));
    assertEquals(result.status === "fulfilled" && result.value, { revision, saved: true });
    const errors = log.lines.filter(({ level }) => level === "error").map(({ message }) => message);
    assertEquals(errors.length, revision === 7 ? 1 : 0);
    assert(errors.every((each) => each.includes("revision 34") && each.includes("at revision 7")), errors.join());
    const found = await snapshots.latestSnapshot();
    assert(found.kind === "newest" && found.fork && found.lives?.length === 2, JSON.stringify(found));
    assertEquals(found.revision, revision);
    clock.advance(60_000);
  }
});
