/** inspectDataDir() on data-dirs of real etcds that run, were killed, stopped or damaged. */
import { E2dError } from "../../lib/errors.ts";
import { openEtcd } from "../../lib/etcd/client/client.ts";
import { type DataDirFacts, inspectDataDir, type ValidDataDir } from "../../lib/etcd/data/data_dir.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { systemFileReader } from "../../lib/sys/file_reader.ts";
import { systemFiles } from "../../lib/sys/files.ts";
import { enableGrpcTls } from "../../lib/sys/grpc/tls.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { eventually, temporaryDirectory } from "../support/fixtures.ts";
import { etcdVersions } from "../support/parts.ts";
import { PlainCluster, type PlainMember } from "./plain_cluster.ts";

// grpc-js closes its HTTP/2 sessions some time after the client.
const sanitize = { sanitizeResources: false, sanitizeOps: false };
const ports = { files: systemFiles, reader: systemFileReader };
/** States of the database that are read while etcd writes; it commits ten times a second. */
const commitsToRead = 20;

async function valid(member: PlainMember): Promise<ValidDataDir> {
  const found = await inspectDataDir(member.dataDir, ports);
  assert(found.kind === "valid", JSON.stringify(found));
  return found;
}

/** Copies a folder, so that each kind of damage has its own data. */
async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    if (isDirectory) await copyFolder(`${from}/${name}`, `${to}/${name}`);
    else await Deno.copyFile(`${from}/${name}`, `${to}/${name}`);
  }
}

async function overwrite(path: string, offset: number, change: (byte: number) => number): Promise<void> {
  using file = await Deno.open(path, { read: true, write: true });
  const byte = new Uint8Array(1);
  await file.seek(offset, Deno.SeekMode.Start);
  await file.read(byte);
  await file.seek(offset, Deno.SeekMode.Start);
  await file.write(new Uint8Array([change(byte[0]!)]));
}

for (const version of etcdVersions) {
  Deno.test(
    `inspectDataDir() agrees with etcd ${version} while it runs, after a kill and after a stop`,
    sanitize,
    async () => {
      await enableGrpcTls();
      await using directory = await temporaryDirectory();
      await using cluster = await PlainCluster.start({ directory: directory.path, size: 3, version });
      const [first, second] = cluster.members as [PlainMember, PlainMember];
      const etcd = await openEtcd({ endpoints: [first.clientUrl], clock: systemClock, callTimeoutMs: 30_000 });
      try {
        const byId = (list: ValidDataDir["members"]) => [...list].sort((a, b) => a.id < b.id ? -1 : 1);
        // Its database is written ten times a second: the names that members publish are written last.
        const running = await eventually("the members to be on the disk", async () => {
          const found = await valid(first);
          return found.members.every(({ clientUrls }) => clientUrls.length > 0) && found.members.length === 3 && found;
        });
        const members = (await etcd.memberList(first.clientUrl)).sort((a, b) => a.id < b.id ? -1 : 1);
        const status = await etcd.status(first.clientUrl);
        assertEquals([running.name, running.memberId, running.clusterId], ["n0", status.memberId, status.clusterId]);
        assertEquals([running.peerUrls, byId(running.members)], [[first.peerUrl], members]);
        assertEquals(running.raftTerm, status.raftTerm);

        // While etcd writes without a pause, a read finds a committed state or reports that the file changed meanwhile;
        // none finds damage, and no revision is older than the one before.
        const stop = new AbortController();
        let acknowledged = 0;
        const writing = (async () => {
          for (let n = 0; !stop.signal.aborted; n++) {
            acknowledged = (await etcd.put(`key${n % 50}`, crypto.getRandomValues(new Uint8Array(5_000)))).revision;
          }
        })();
        // A failed put ends the reads, and is thrown where `writing` is awaited.
        writing.catch(() => stop.abort());
        const revisions = [0];
        while (revisions.length <= commitsToRead && !stop.signal.aborted) {
          const found = await inspectDataDir(first.dataDir, ports);
          if (found.kind === "unreadable" && found.why.includes("it changed during each of")) continue;
          assert(found.kind === "valid", JSON.stringify(found));
          const last = revisions.at(-1)!;
          assert(found.revision >= last, `${found.revision} after ${last}`);
          if (found.revision > last) revisions.push(found.revision);
        }
        stop.abort();
        await writing;
        assert(revisions.at(-1)! <= acknowledged, `${revisions.at(-1)} of ${acknowledged}`);

        // Writes that were acknowledged more than a moment ago are in the database of a killed member, too.
        const settled = acknowledged;
        await eventually("the database to catch up", async () => (await valid(first)).revision >= settled);
        await cluster.stop(first, "SIGKILL");
        const killed = await valid(first);
        assertEquals([killed.name, killed.revision], ["n0", settled]);

        const other = await openEtcd({ endpoints: [second.clientUrl], clock: systemClock, callTimeoutMs: 30_000 });
        await eventually("a leader", () => other.ready(second.clientUrl, { timeoutMs: 1_000 }).then(() => true));
        await other.compact((await other.delete("key", { end: "kez" })).revision, { physical: true });
        const after = await other.status(second.clientUrl);
        await other.remove(killed.memberId);
        other.close();
        await eventually("the removal to be on the disk", async () => (await valid(second)).removedIds.length > 0);
        await cluster.stop(second, "SIGTERM");
        const stopped = await valid(second);
        // The compaction removed the last key, and the revision stays.
        assertEquals([stopped.revision, stopped.members.length], [after.revision, 2]);
        assertEquals(stopped.removedIds, [killed.memberId]);
        assert(stopped.raftTerm >= after.raftTerm, `${stopped.raftTerm} < ${after.raftTerm}`);
        // The removal and what follows change no key, with which alone 3.4 writes its index.
        const least = version.startsWith("3.4") ? killed.raftIndex : after.raftAppliedIndex;
        assert(stopped.raftIndex >= least, `${stopped.raftIndex} < ${least}`);
      } finally {
        etcd.close();
      }
    },
  );

  Deno.test(`inspectDataDir() identifies a learner that joined etcd ${version} by its id`, sanitize, async () => {
    await enableGrpcTls();
    await using directory = await temporaryDirectory();
    await using cluster = await PlainCluster.start({ directory: directory.path, size: 1, version });
    const joiner = cluster.member("joiner");
    const etcd = await openEtcd({
      endpoints: [cluster.members[0]!.clientUrl],
      clock: systemClock,
      callTimeoutMs: 30_000,
    });
    const id = await etcd.addLearner(joiner.peerUrl);
    cluster.run(joiner, { state: "existing" });
    const found = await eventually("the learner's data", async () => {
      const data = await valid(joiner);
      return data.name !== "" && data;
    });
    etcd.close();
    assertEquals([found.memberId, found.name, found.peerUrls], [id, "joiner", [joiner.peerUrl]]);
    assertEquals(found.members.find((member) => member.id === id)?.isLearner, true);
  });

  Deno.test(`inspectDataDir() detects damage to the data of etcd ${version}`, sanitize, async () => {
    await enableGrpcTls();
    await using directory = await temporaryDirectory();
    await using cluster = await PlainCluster.start({ directory: directory.path, size: 1, version });
    const member = cluster.members[0]!;
    const etcd = await openEtcd({ endpoints: [member.clientUrl], clock: systemClock, callTimeoutMs: 30_000 });
    for (let n = 0; n < 200; n++) await etcd.put(`key${n}`, crypto.getRandomValues(new Uint8Array(2_000)));
    etcd.close();
    await cluster.stop(member, "SIGTERM");
    const log = (await systemFiles.list(`${member.dataDir}/member/wal`))!.filter((name) => name.endsWith(".wal"))[0]!;
    const after = async (damage: (copy: string) => Promise<unknown>): Promise<DataDirFacts> => {
      const copy = `${directory.path}/copy`;
      await copyFolder(member.dataDir, copy);
      await damage(copy);
      const found = await inspectDataDir(copy, ports);
      await Deno.remove(copy, { recursive: true });
      return found;
    };
    const kinds: Record<string, string> = {};
    const [database, wal] = ["member/snap/db", `member/wal/${log}`];
    const cases: Record<string, (copy: string) => Promise<unknown>> = {
      "nothing": () => Promise.resolve(),
      "database cut": (at) => Deno.truncate(`${at}/${database}`, 100_000),
      "database emptied": (at) => Deno.truncate(`${at}/${database}`, 0),
      "database gone": (at) => Deno.remove(`${at}/${database}`),
      "folder snap gone": (at) => Deno.remove(`${at}/member/snap`, { recursive: true }),
      "one meta page": (at) => overwrite(`${at}/${database}`, 40, (byte) => byte ^ 1),
      "both meta pages": async (at) => {
        await overwrite(`${at}/${database}`, 40, (byte) => byte ^ 1);
        await overwrite(`${at}/${database}`, 4096 + 40, (byte) => byte ^ 1);
      },
      "log gone": (at) => Deno.remove(`${at}/member/wal`, { recursive: true }),
      "log emptied": (at) => Deno.truncate(`${at}/${wal}`, 0),
      "a byte of the log": (at) => overwrite(`${at}/${wal}`, 50_000, (byte) => byte ^ 1),
      "the log's own name": (at) => overwrite(`${at}/${wal}`, 30, (byte) => byte ^ 1),
      "the log's end": (at) => Deno.truncate(`${at}/${wal}`, 50_000),
    };
    for (const [what, damage] of Object.entries(cases)) kinds[what] = (await after(damage)).kind;
    assertEquals(kinds, {
      "nothing": "valid",
      "database cut": "damaged",
      "database emptied": "damaged",
      "database gone": "damaged",
      "folder snap gone": "damaged",
      "one meta page": "valid",
      "both meta pages": "damaged",
      "log gone": "damaged",
      "log emptied": "damaged",
      "a byte of the log": "damaged",
      "the log's own name": "damaged",
      // Like an incomplete last record, which etcd truncates.
      "the log's end": "valid",
    });
    // The failing disk is simulated, because root may read everything.
    const failing = new E2dError("file_read", "Cannot read: input/output error");
    const reader = { open: () => Promise.reject(failing) };
    assertEquals((await inspectDataDir(member.dataDir, { files: systemFiles, reader })).kind, "unreadable");
    const link = `${directory.path}/link`;
    await Deno.symlink(member.dataDir, link);
    assertEquals((await inspectDataDir(link, ports)).kind, "valid");
    await Deno.remove(link);
    await Deno.symlink(`${directory.path}/nowhere`, link);
    assertEquals((await inspectDataDir(link, ports)).kind, "unreadable");
  });
}

Deno.test(
  "inspectDataDir() detects the contradicting member lists that etcd 3.5 leaves after a killed etcd 3.4",
  sanitize,
  async () => {
    await using directory = await temporaryDirectory();
    await using cluster = await PlainCluster.start({ directory: directory.path, size: 3, version: "3.4.23" });
    for (const member of cluster.members) {
      await eventually("the members to be on the disk", async () => (await valid(member)).members.length === 3);
    }
    await Promise.all(cluster.members.map((member) => cluster.stop(member, "SIGKILL")));
    for (const member of cluster.members) {
      assertEquals([(await valid(member)).raftIndex, (await valid(member)).contradictory], [0, []]);
      cluster.run(member, { state: "existing", version: "3.5.33" });
    }
    await Promise.all(cluster.members.map((member) => cluster.healthy(member)));
    const ids = (await valid(cluster.members[0]!)).members.map(({ id }) => id);
    for (const member of cluster.members) {
      const found = await eventually("its list to be on the disk", async () => {
        const data = await valid(member);
        return data.contradictory.length > 0 && data;
      });
      // etcd 3.5 serves with all three members nevertheless.
      assert(found.members.length === 3 && found.contradictory.every((id) => ids.includes(id)), JSON.stringify(found));
    }
  },
);
