import { quarantineDataDir } from "../../lib/manager/data_dir/quarantine.ts";
import { readRecord, writeRecord } from "../../lib/manager/data_dir/node_record.ts";
import type { Files } from "../../lib/ports.ts";
import { systemFiles } from "../../lib/sys/files.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import type { NodeRecord } from "../../lib/core/facts/node_record.ts";

const lineage = { id: "e2d-1", epoch: 2, token: "e2d-2" };
const initialMembers = [{ name: "a", peerUrl: "http://a:2380", nonce: "n" }];
const record: NodeRecord = {
  nonce: "n",
  pledges: [{
    initialMembers,
    source: { kind: "survivor", name: "a", revision: 7 },
    lineage,
    digest: "d",
    token: "e2d-2",
  }],
};
const wallMs = Date.UTC(2026, 0, 2, 3, 4, 5);
const suffix = ".superseded-20260102T030405Z";

/** The process is killed before its `at`-th change of the disk. */
function crashing(at: number): Files {
  let changes = 0;
  const change =
    <Arguments extends unknown[]>(perform: (...given: Arguments) => Promise<void>) => (...given: Arguments) =>
      ++changes >= at ? Promise.reject(new Error("killed")) : perform(...given);
  return {
    ...systemFiles,
    rename: change(systemFiles.rename),
    writeNew: change(systemFiles.writeNew),
    writeAtomic: change(systemFiles.writeAtomic),
  };
}

async function withData(run: (dataDir: string) => Promise<void>): Promise<void> {
  await using dir = await temporaryDirectory();
  const dataDir = `${dir.path}/data`;
  await systemFiles.makeDirectory(`${dataDir}/member`);
  await writeRecord(systemFiles, dataDir, record);
  await run(dataDir);
}

Deno.test("quarantineDataDir() with keepRecord leaves nonce and pledge on disk, wherever it is killed", async () => {
  for (let at = 1; at <= 3; at++) {
    await withData(async (dataDir) => {
      const move = { label: "superseded", wallMs, keepRecord: true };
      const killed = await quarantineDataDir(crashing(at), dataDir, move).then(() => false, () => true);
      assertEquals(killed, at <= 2, `change ${at}`);
      assertEquals(await readRecord(systemFiles, dataDir), record);
      // The next process finishes it, and every quarantined data-dir has its record beside it.
      const to = await quarantineDataDir(systemFiles, dataDir, move) ?? `${dataDir}${suffix}`;
      assertEquals(await systemFiles.list(to), ["member"]);
      assertEquals(await readRecord(systemFiles, to), record);
      assertEquals(await systemFiles.info(dataDir), undefined);
      assertEquals(await readRecord(systemFiles, dataDir), record);
    });
  }
});

Deno.test("quarantineDataDir() renames data-dir and record, and deletes neither, wherever it is killed", async () => {
  for (let at = 1; at <= 3; at++) {
    await withData(async (dataDir) => {
      await quarantineDataDir(crashing(at), dataDir, { label: "superseded", wallMs, keepRecord: false }).catch(
        () => {},
      );
      const [data, target] = [await systemFiles.info(dataDir), await systemFiles.info(`${dataDir}${suffix}`)];
      assert((data === undefined) !== (target === undefined), `data of change ${at}`);
      const [old, moved] = [
        await readRecord(systemFiles, dataDir),
        await readRecord(systemFiles, `${dataDir}${suffix}`),
      ];
      assertEquals([old ?? moved, old !== undefined && moved !== undefined], [record, false]);
    });
  }
});

Deno.test("quarantineDataDir() of a mount point renames the member folder inside it, and keeps the record with keepRecord", async () => {
  await withData(async (dataDir) => {
    const mounted: Files = {
      ...systemFiles,
      rename: (from, to) => from === dataDir ? Promise.reject(new Error("EBUSY")) : systemFiles.rename(from, to),
    };
    const to = await quarantineDataDir(mounted, dataDir, { label: "superseded", wallMs, keepRecord: true });
    assertEquals(to, `${dataDir}/member${suffix}`);
    assertEquals(await readRecord(systemFiles, dataDir), record);
    assertEquals(await readRecord(systemFiles, `${dataDir}${suffix}`), record);
  });
});
