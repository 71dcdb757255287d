/** The data of a survivor is exported from a copy and becomes a new cluster, with real etcds of every release. */
import { E2dError } from "../../lib/errors.ts";
import { type EtcdClient, openEtcd } from "../../lib/etcd/client/client.ts";
import { inspectDataDir } from "../../lib/etcd/data/data_dir.ts";
import { defaultRevisionBump, type RestoreRequest, restoreSnapshot } from "../../lib/etcd/restore/restore.ts";
import { checkSnapshotFile } from "../support/snapshot_file.ts";
import { copyForExport } from "../../lib/etcd/restore/copy_data_dir.ts";
import { exportFromCopy } from "../../lib/etcd/restore/survivor.ts";
import { writeRecord } from "../../lib/manager/data_dir/node_record.ts";
import type { StoreSnapshotOptions } from "../../lib/manager/adapters/snapshot_options.ts";
import { StoreSnapshots } from "../../lib/manager/adapters/store_snapshots.ts";
import type { Clock, Logger } from "../../lib/ports.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { systemFileReader } from "../../lib/sys/file_reader.ts";
import { systemFiles } from "../../lib/sys/files.ts";
import { enableGrpcTls } from "../../lib/sys/grpc/tls.ts";
import { serveHttp } from "../../lib/sys/http/server.ts";
import { systemProcesses } from "../../lib/sys/process.ts";
import { systemRandom } from "../../lib/sys/random.ts";
import { systemStaging } from "../../lib/sys/staging.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { eventually, temporaryDirectory } from "../support/fixtures.ts";
import { etcdDir, type EtcdVersion, etcdVersions } from "../support/parts.ts";
import { TestLog } from "../support/test_log.ts";
import { PlainCluster, type PlainMember } from "./plain_cluster.ts";
import type { BootstrapPlan } from "../../lib/core/facts/node_record.ts";

// grpc-js closes its HTTP/2 sessions some time after the client.
const sanitize = { sanitizeResources: false, sanitizeOps: false };
const log: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {}, with: () => log };
const ports = {
  processes: systemProcesses,
  clock: systemClock,
  log,
  files: systemFiles,
  staging: systemStaging,
  reader: systemFileReader,
};

const programs = (version: EtcdVersion): RestoreRequest["programs"] =>
  version.startsWith("3.4")
    ? { etcdctl: `${etcdDir(version)}/etcdctl` }
    : { etcdutl: `${etcdDir(version)}/etcdutl`, etcdctl: `${etcdDir(version)}/etcdctl` };

async function save(stream: ReadableStream<Uint8Array<ArrayBuffer>>, path: string): Promise<void> {
  await Deno.writeFile(path, stream);
}

for (const version of etcdVersions) {
  Deno.test(
    `exportFromCopy() and restoreSnapshot() recover a new cluster from a survivor of etcd ${version}`,
    sanitize,
    async () => {
      await enableGrpcTls();
      await using directory = await temporaryDirectory();
      const at = (path: string) => `${directory.path}/${path}`;
      await using cluster = await PlainCluster.start({ directory: directory.path, size: 3, version });
      const survivor = cluster.members[2] as PlainMember;
      const etcd = await openEtcd({ endpoints: [survivor.clientUrl], clock: systemClock, callTimeoutMs: 30_000 });
      for (let n = 0; n < 100; n++) await etcd.put(`key${n}`, `value${n}`);
      const acknowledged = (await etcd.put("last", "acknowledged")).revision;
      const hash = await etcd.hashKv(survivor.clientUrl, 0);
      // The last write is in the log, but possibly not yet in the database.
      await Promise.all(cluster.members.map((member) => cluster.stop(member, "SIGKILL")));
      etcd.close();

      const before = await inspectDataDir(survivor.dataDir, ports);
      assert(before.kind === "valid", JSON.stringify(before));
      await copyForExport(survivor.dataDir, at("copy"), ports);
      assertEquals(await inspectDataDir(at("copy"), ports), before);
      await Deno.mkdir(at("s"), { mode: 0o700 });
      const snapshotPath = at("export.db");
      const request = {
        etcd: `${etcdDir(version)}/etcd`,
        version,
        copyDir: at("copy"),
        name: "n2",
        socketDir: at("s"),
      };
      const revision = await exportFromCopy(request, ports, async (exported) => {
        await save(exported.stream, snapshotPath);
        assertEquals((await Deno.stat(snapshotPath)).size, exported.totalBytes);
        return exported.revision;
      });
      assertEquals(revision, acknowledged);
      assertEquals(await inspectDataDir(survivor.dataDir, ports), before);
      const { databaseBytes } = await checkSnapshotFile(snapshotPath, systemFileReader);
      assertEquals(databaseBytes + 32, (await Deno.stat(snapshotPath)).size);

      // Three new members, two of which start from empty folders.
      await using rebuilt = new PlainCluster(at("new"), version, []);
      for (const name of ["m0", "m1", "m2"]) rebuilt.member(name);
      await Deno.mkdir(`${at("new")}/m1/lost+found`, { recursive: true });
      const bumps: boolean[] = [];
      for (const { name, peerUrl, dataDir } of rebuilt.members) {
        const { data, revisionBumped } = await restoreSnapshot({
          programs: programs(version),
          snapshotPath,
          dataDir,
          name,
          peerUrl,
          initialCluster: rebuilt.members,
          token: "token-2",
        }, ports);
        bumps.push(revisionBumped);
        assertEquals([data.name, data.members.length], [name, 3]);
        assert(data.clusterId !== before.clusterId);
        assertEquals((await systemFiles.list(dataDir))!.filter((entry) => entry !== "lost+found"), ["member"]);
      }
      assertEquals(bumps, Array(3).fill(!version.startsWith("3.4")));
      for (const member of rebuilt.members) rebuilt.run(member, { state: "existing" });
      const first = rebuilt.members[0]!;
      const again = await openEtcd({ endpoints: [first.clientUrl], clock: systemClock, callTimeoutMs: 30_000 });
      await eventually("the new cluster", () => again.ready(first.clientUrl, { timeoutMs: 1_000 }).then(() => true));
      const last = await again.get("last");
      assertEquals(new TextDecoder().decode(last?.value), "acknowledged");
      assertEquals((await again.range("key", { end: "kez", countOnly: true })).count, 100);
      const status = await again.status(first.clientUrl);
      if (bumps[0]) assert(status.revision >= acknowledged + defaultRevisionBump, String(status.revision));
      else assertEquals((await again.hashKv(first.clientUrl, acknowledged)).hash, hash.hash);
      const hashes = new Set<number>();
      for (const { clientUrl } of rebuilt.members) {
        const of = await eventually("a hash", () => again.hashKv(clientUrl, status.revision));
        hashes.add(of.hash);
      }
      assertEquals(hashes.size, 1);
      again.close();
    },
  );
}

/** The data-dir of a stopped single member, and the request that exports its copy at `copy`. */
async function stoppedSurvivor(directory: string) {
  await using cluster = await PlainCluster.start({ directory, size: 1 });
  const { name, dataDir } = cluster.members[0]!;
  await cluster.stop(cluster.members[0]!);
  const socketDir = `${directory}/s`;
  await Deno.mkdir(socketDir, { mode: 0o700 });
  const request = { etcd: `${etcdDir()}/etcd`, version: "3.6.14", copyDir: `${directory}/copy`, name, socketDir };
  return { dataDir, request };
}

Deno.test(
  "exportFromCopy() reports the last output of an etcd that does not start, and ends it on an abort",
  sanitize,
  async () => {
    await enableGrpcTls();
    await using directory = await temporaryDirectory();
    const at = (path: string) => `${directory.path}/${path}`;
    const { dataDir, request } = await stoppedSurvivor(directory.path);
    await copyForExport(dataDir, at("copy"), ports);
    // Both meta pages of the database.
    await Deno.writeFile(`${at("copy")}/member/snap/db`, new Uint8Array(16_384).fill(0xff));
    const error = await assertE2dError(
      "survivor_not_started",
      () => exportFromCopy(request, ports, () => Promise.resolve()),
    );
    assert(error.message.includes("etcd exited with"), error.message);

    await copyForExport(dataDir, at("copy"), ports);
    const enough = new AbortController();
    const failed = await exportFromCopy(request, ports, () => {
      enough.abort(new Error("enough"));
      return Promise.reject(new Error("the disk of the export is full"));
    }, enough.signal).catch((reason) => reason.message);
    assertEquals(failed, "the disk of the export is full");
    const early = await exportFromCopy(request, ports, () => Promise.resolve(), AbortSignal.timeout(1)).catch((
      reason,
    ) => reason.name);
    assertEquals(early, "TimeoutError");
  },
);

Deno.test(
  "exportFromCopy() does not wait for an abandoned half-open connection, as etcd does",
  sanitize,
  async () => {
    await enableGrpcTls();
    await using directory = await temporaryDirectory();
    const at = (path: string) => `${directory.path}/${path}`;
    const { dataDir, request } = await stoppedSurvivor(directory.path);
    await copyForExport(dataDir, at("copy"), ports);
    const told = new TestLog();
    const connection = await exportFromCopy(request, { ...ports, log: told }, async ({ stream }) => {
      await stream.pipeTo(new WritableStream());
      const half = await Deno.connect({ transport: "unix", path: `${at("s")}/c` });
      await half.write(new TextEncoder().encode("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
      return half;
    });
    connection.close();
    const asked = told.lines.filter(({ message }) => /^received signal|^etcd does not stop/.test(message));
    assertEquals(asked, []);
  },
);

Deno.test(
  "StoreSnapshots.exportSurvivor() removes its unencrypted copy when the cluster serves, and not before",
  sanitize,
  async () => {
    await enableGrpcTls();
    await using directory = await temporaryDirectory();
    const { dataDir } = await stoppedSurvivor(directory.path);
    let [serving, looks, skippedMs] = [false, 0, 0];
    // The time between two checks is skipped.
    const clock: Clock = {
      wallMs: systemClock.wallMs,
      monotonicMs: () => systemClock.monotonicMs() + skippedMs,
      sleep(ms, signal) {
        if (ms !== 5_000) return systemClock.sleep(ms, signal);
        skippedMs += ms;
        return systemClock.sleep(10, signal);
      },
    };
    const open = () =>
      new StoreSnapshots({
        place: undefined,
        config: {} as StoreSnapshotOptions["config"],
        keys: () => ({ recipients: [] }),
        self: { name: "n0", peerUrl: "http://127.0.0.1:1", clientUrl: "http://127.0.0.1:1" },
        host: "127.0.0.1",
        dataDir,
        client: {
          ready: () => (looks++, serving ? Promise.resolve() : Promise.reject(new Error("no leader"))),
        } as Partial<EtcdClient> as EtcdClient,
        programs: () => Promise.resolve({ etcd: `${etcdDir()}/etcd`, version: "3.6.14", source: "etcd-dir" }),
        whileEtcdStopped: (work) => work(),
        origin: () => undefined,
        cluster: () => ({ size: 1 }),
      }, { ...ports, clock, random: systemRandom, http: fetch, serveHttp });
    const plan: BootstrapPlan = {
      digest: "f1",
      initialMembers: [],
      lineage: { id: "l", epoch: 2, token: "t" },
      source: { kind: "survivor", name: "n0", revision: 1 },
    };
    const work = `${dataDir}.e2d.work`;
    const left = async () => await systemFiles.list(work);

    const first = open();
    const { url } = await first.exportSurvivor(plan);
    assertEquals(await left(), ["offer.db"]);
    await eventually("many looks", () => Promise.resolve(looks > 30 || undefined));
    const offered = await fetch(url);
    assertEquals(offered.status, 200);
    await offered.body!.pipeTo(new WritableStream());
    assertEquals(await left(), ["offer.db"]);
    serving = true;
    await eventually("nothing is left", async () => (await left())!.length === 0 || undefined);
    await eventually("nothing is offered", () => fetch(url).then(() => undefined, () => true));

    serving = false;
    await first.exportSurvivor({ ...plan, digest: "f2" });
    assertEquals(await left(), ["offer.db"]);
    await first.close();
    assertEquals(await left(), []);

    // After a kill: only the files that the pledge on disk names stay.
    await writeRecord(systemFiles, dataDir, {
      nonce: "n",
      pledges: [{ ...plan, digest: "f3", token: plan.lineage.token }],
    });
    await Deno.mkdir(`${work}/copy`);
    for (const name of ["offer.db", "offer.db.part", "copy/db", "f3.db", "f4.db"]) {
      await Deno.writeTextFile(`${work}/${name}`, "");
    }
    await open().close();
    assertEquals(await left(), ["f3.db"]);
  },
);

Deno.test(
  "restoreSnapshot() refuses used folders and damaged files, and leaves no partial data-dir",
  sanitize,
  async () => {
    await enableGrpcTls();
    await using directory = await temporaryDirectory();
    const at = (path: string) => `${directory.path}/${path}`;
    await using cluster = await PlainCluster.start({ directory: directory.path, size: 1 });
    const member = cluster.members[0]!;
    const etcd = await openEtcd({ endpoints: [member.clientUrl], clock: systemClock, callTimeoutMs: 30_000 });
    await etcd.put("key", "value");
    const snapshot = await etcd.snapshot(member.clientUrl);
    await save(snapshot.stream, at("good.db"));
    etcd.close();
    const good = await Deno.readFile(at("good.db"));
    const flipped = good.slice();
    flipped[good.length - 5_000]! ^= 1;
    await Deno.writeFile(at("flipped.db"), flipped);
    await Deno.writeFile(at("cut.db"), good.slice(0, 9_000));
    await Deno.writeFile(at("bare.db"), good.slice(0, -32));
    const request = {
      programs: programs("3.6.14"),
      snapshotPath: at("good.db"),
      dataDir: at("target"),
      name: "m0",
      peerUrl: "http://127.0.0.1:1",
      initialCluster: [{ name: "m0", peerUrl: "http://127.0.0.1:1" }],
      token: "token",
    };
    const codeOf = async (change: Partial<RestoreRequest>) => {
      try {
        await restoreSnapshot({ ...request, ...change }, ports);
        return "success";
      } catch (error) {
        if (error instanceof E2dError) return error.code;
        throw error;
      }
    };
    const check = (name: string) => checkSnapshotFile(at(name), systemFileReader).then(() => "", (error) => error.code);

    assertEquals(await codeOf({ dataDir: member.dataDir }), "restore_target_used");
    assertEquals(await codeOf({ programs: {} }), "restore_no_tool");
    assertEquals(await codeOf({ snapshotPath: at("absent.db") }), "restore_failed");
    assertEquals(await codeOf({ snapshotPath: at("flipped.db") }), "restore_failed");
    assertEquals(await codeOf({ snapshotPath: at("cut.db") }), "restore_failed");
    assertEquals(await codeOf({ snapshotPath: at("bare.db") }), "restore_failed");
    assertEquals(await systemFiles.list(at("target")), []);
    const wordy = await assertE2dError(
      "restore_failed",
      () => restoreSnapshot({ ...request, snapshotPath: at("flipped.db") }, ports),
    );
    assert(/sha256/i.test(wordy.message), wordy.message);
    assertEquals(await Promise.all(["good.db", "flipped.db", "cut.db", "bare.db", "absent.db"].map(check)), [
      "",
      "snapshot_damaged",
      "snapshot_damaged",
      "snapshot_without_sum",
      "snapshot_absent",
    ]);

    // Folders that etcd created and never filled, and an interrupted restore, do not block it.
    await Deno.mkdir(at("target/member/snap"), { recursive: true });
    await Deno.mkdir(at("target/.restoring/member"), { recursive: true });
    assertEquals(await codeOf({ snapshotPath: at("bare.db"), skipHashCheck: true }), "success");
    assertEquals(await systemFiles.list(at("target")), [".empty-1", "member"]);
    assertEquals(await codeOf({}), "restore_target_used");
  },
);
