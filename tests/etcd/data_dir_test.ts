import fc from "fast-check";
import { E2dError } from "../../lib/errors.ts";
import { type DataDirFacts, inspectDataDir } from "../../lib/etcd/data/data_dir.ts";
import { assert, assertEquals } from "../support/assert.ts";
import {
  big8,
  clusterId,
  databaseImage,
  type Disk,
  diskPorts,
  memberJson,
  ownId,
  pageBytes,
  revisionKey,
  walEntry,
  walImage,
  walMetadata,
  walRecords,
  walState,
  wholeDatabase,
  wholeDisk,
} from "./data_dir_image.ts";

const database = "/d/member/snap/db";
const log = "/d/member/wal/0000000000000000-0000000000000000.wal";

function inspect(change: (disk: Disk) => void = () => {}): Promise<DataDirFacts> {
  const disk = wholeDisk();
  change(disk);
  return inspectDataDir("/d", diskPorts(disk));
}

/** The kind, and the reason. */
async function verdict(change: (disk: Disk) => void): Promise<[string, string]> {
  const found = await inspect(change);
  return [found.kind, found.kind === "damaged" ? found.what : found.kind === "unreadable" ? found.why : ""];
}

Deno.test("inspectDataDir() reads the member, its cluster, its revision and its log position", async () => {
  assertEquals(await inspect(), {
    kind: "valid",
    name: "n0",
    memberId: ownId,
    clusterId,
    peerUrls: ["http://127.0.0.1:2380"],
    members: [
      {
        id: ownId,
        name: "n0",
        peerUrls: ["http://127.0.0.1:2380"],
        clientUrls: ["http://127.0.0.1:2379"],
        isLearner: false,
      },
      { id: "ff", name: "", peerUrls: ["http://127.0.0.2:2380"], clientUrls: [], isLearner: true },
    ],
    revision: 4,
    raftTerm: 3,
    raftIndex: 8,
    removedIds: ["abc"],
    lastLog: { term: 2, index: 8 },
    termStarts: [{ term: 2, index: 8 }],
    contradictory: [],
    etcdAtLeast: "3.6",
  });
});

Deno.test("inspectDataDir() reports ids that the database lists both as members and as removed", async () => {
  const members_removed = [["ff", "removed"], ["abc", "removed"]] as const;
  const found = await inspect((disk) =>
    disk.set(database, databaseImage({ buckets: { ...wholeDatabase.buckets, members_removed } }))
  );
  assertEquals(found.kind === "valid" && found.contradictory, ["ff"]);
});

Deno.test("inspectDataDir() uses the revision of a compaction when it removed all keys before", async () => {
  const meta = [["consistent_index", big8(8)], ["finishedCompactRev", revisionKey(99)]] as const;
  const found = await inspect((disk) =>
    disk.set(database, databaseImage({ buckets: { ...wholeDatabase.buckets, meta } }))
  );
  assertEquals(found.kind === "valid" && found.revision, 99);
});

Deno.test("inspectDataDir() reports only data-dirs without data as empty", async () => {
  const kinds: Record<string, string> = {};
  const of = async (what: string, ...paths: [string, "folder" | Uint8Array<ArrayBuffer>][]) => {
    kinds[what] = (await inspectDataDir("/d", diskPorts(new Map(paths)))).kind;
  };
  const file = new Uint8Array(3);
  await of("nothing there");
  await of("a folder", ["/d", "folder"]);
  await of("a fresh disk", ["/d", "folder"], ["/d/lost+found", "folder"]);
  await of("folders alone", ["/d", "folder"], ["/d/member", "folder"], ["/d/member/snap", "folder"]);
  await of("a file in its place", ["/d", file]);
  await of("something else", ["/d", "folder"], ["/d/postgres", "folder"]);
  await of("a file for member", ["/d", "folder"], ["/d/member", file]);
  await of("an empty database", ["/d", "folder"], ["/d/member", "folder"], ["/d/member/snap", "folder"], [
    database,
    new Uint8Array(0),
  ]);
  const unused = databaseImage({ buckets: { meta: [], members: [] }, revisions: [] });
  await of("a database never used", ["/d", "folder"], ["/d/member", "folder"], ["/d/member/snap", "folder"], [
    database,
    unused,
  ]);
  assertEquals(kinds, {
    "nothing there": "absent",
    "a folder": "empty",
    "a fresh disk": "empty",
    "folders alone": "empty",
    "a file in its place": "damaged",
    "something else": "damaged",
    "a file for member": "unreadable",
    "an empty database": "damaged",
    "a database never used": "empty",
  });
});

Deno.test("inspectDataDir() reports the damage", async () => {
  const flip = (path: string, offset: number) => (disk: Disk) => {
    const data = (disk.get(path) as Uint8Array<ArrayBuffer>).slice();
    data[offset]! ^= 0xff;
    disk.set(path, data);
  };
  const both = (...changes: ((disk: Disk) => void)[]) => (disk: Disk) => changes.forEach((change) => change(disk));
  const cut = (path: string, length: number) => (disk: Disk) => {
    disk.set(path, (disk.get(path) as Uint8Array<ArrayBuffer>).slice(0, length));
  };
  const without = (path: string) => (disk: Disk) => void disk.delete(path);
  const said = async (change: (disk: Disk) => void) => (await verdict(change)).join(": ");

  assertEquals(await said(without(database)), "damaged: there is no member/snap/db");
  assertEquals(await said(without(log)), "damaged: there is no log in member/wal");
  assertEquals(await said(cut(database, 0)), "damaged: member/snap/db: it has no valid meta page");
  assertEquals(
    await said(cut(database, 5 * pageBytes)),
    `damaged: member/snap/db: it is truncated to ${5 * pageBytes} of at least ${8 * pageBytes} bytes`,
  );
  assertEquals(
    await said(both(flip(database, 40), flip(database, pageBytes + 40))),
    "damaged: member/snap/db: it has no valid meta page",
  );
  assertEquals(
    await said(flip(database, 3 * pageBytes)),
    "damaged: member/snap/db: page 3 has the id of another page",
  );
  assertEquals(
    await said(flip(database, 4 * pageBytes + 8)),
    "damaged: member/snap/db: page 4 is neither a branch nor a leaf",
  );
  assertEquals(await said(cut(log, 0)), "damaged: member/wal/0000000000000000-0000000000000000.wal names no member");
  assertEquals(
    await said(flip(log, 24)),
    "damaged: member/wal/0000000000000000-0000000000000000.wal: record at 24 fails its checksum",
  );
  const gap = (disk: Disk) => disk.set("/d/member/wal/0000000000000002-0000000000000009.wal", walImage(walRecords));
  assertEquals(await said(gap), "damaged: member/wal: file 1 is missing");
});

Deno.test("inspectDataDir() accepts one valid meta page, and an incomplete last record", async () => {
  const oneMeta = await inspect((disk) => {
    const data = (disk.get(database) as Uint8Array<ArrayBuffer>).slice();
    data.fill(0, 0, pageBytes);
    disk.set(database, data);
  });
  assertEquals(oneMeta.kind, "valid");
  const last = walEntry.encode({ term: 3, index: 9, data: new Uint8Array(3_000).fill(5) });
  const whole = walImage([...walRecords, [2, last]], 8_192);
  // Its second half was not written.
  const torn = whole.slice();
  torn.fill(0, 2_048, 4_096);
  assertEquals((await inspect((disk) => disk.set(log, torn))).kind, "valid");
  assertEquals((await inspect((disk) => disk.set(log, whole.slice(0, 2_048)))).kind, "valid");
  // A changed byte in a completely written record.
  const changed = whole.slice();
  changed[2_500]! ^= 1;
  assertEquals((await inspect((disk) => disk.set(log, changed))).kind, "damaged");
});

Deno.test("inspectDataDir() never reports unreadable data as absent, empty or damaged", async () => {
  const forbidden = new E2dError("file_read", "Cannot open: permission denied");
  const broken = new E2dError("file_read", "Cannot read: input/output error");
  const paths = ["/d", "/d/member", "/d/member/wal", database, log];
  for (const error of [forbidden, broken]) {
    for (const path of paths) {
      assertEquals(await verdict((disk) => disk.set(path, error)), ["unreadable", error.message], path);
    }
  }
  const disk = wholeDisk();
  const ports = diskPorts(disk);
  const link = { kind: "symlink", size: 0, modifiedMs: 0, mode: 0o777 } as const;
  const dangling = await inspectDataDir("/gone", {
    ...ports,
    files: { ...ports.files, info: () => Promise.resolve(link) },
  });
  assertEquals(dangling, { kind: "unreadable", why: '"/gone" is a link to a folder that does not exist' });
});

Deno.test("inspectDataDir() reports the oldest etcd that starts on the data, also during a downgrade", async () => {
  const eight = big8(8);
  const oldest = async (cluster: Record<string, string>, storageVersion?: string) => {
    const meta: [string, string | typeof eight][] = [["consistent_index", eight]];
    if (storageVersion !== undefined) meta.push(["storageVersion", storageVersion]);
    const found = await inspect((disk) =>
      disk.set(
        database,
        databaseImage({ buckets: { ...wholeDatabase.buckets, meta, cluster: Object.entries(cluster) } }),
      )
    );
    return found.kind === "valid" ? found.etcdAtLeast : found.kind;
  };
  const downgrade = `{"target-version":"3.6.0","enabled":true}`;
  assertEquals(await oldest({}), undefined);
  assertEquals(await oldest({ clusterVersion: "3.5.0" }), "3.5");
  assertEquals(await oldest({ clusterVersion: "3.7.0" }, "3.6.0"), "3.7");
  assertEquals(await oldest({ clusterVersion: "3.6.0" }, "3.7.0"), "3.7");
  assertEquals(await oldest({ clusterVersion: "3.7.0", downgrade }, "3.7.0"), "3.7");
  assertEquals(await oldest({ clusterVersion: "3.7.0", downgrade }, "3.6.0"), "3.6");
  assertEquals(
    await oldest({ clusterVersion: "3.7.0", downgrade: downgrade.replace("true", "false") }, "3.6.0"),
    "3.7",
  );
});

Deno.test("inspectDataDir() reads the members of an etcd that was killed right after its first start from the log", async () => {
  const change = (memberId: string, kind: number, json: string) =>
    // ConfChange: type 2, node id 3, context 4.
    new Uint8Array([
      ...walEntryField(2, kind),
      ...walMetadataField(3, memberId),
      0x22,
      ...varint(json.length),
      ...new TextEncoder().encode(json),
    ]);
  const found = await inspect((disk) => {
    disk.set(database, databaseImage({ buckets: { meta: [], members: [] }, revisions: [] }));
    disk.set(
      log,
      walImage([
        ...walRecords.slice(0, 2),
        [2, walEntry.encode({ type: 1, term: 1, index: 1, data: change(ownId, 0, memberJson("n0")) })],
        [2, walEntry.encode({ type: 1, term: 1, index: 2, data: change("ff", 0, memberJson("n1")) })],
        [3, walState.encode({ term: 1, commit: 1 })],
      ]),
    );
  });
  assert(found.kind === "valid", JSON.stringify(found));
  assertEquals([found.name, found.members.map(({ id }) => id), found.revision, found.raftIndex], ["n0", [ownId], 1, 0]);
});

Deno.test("inspectDataDir() reads where the terms of the log begin; overwritten entries and those before a gap count no more", async () => {
  const starts = async (...entries: readonly (readonly [term: number, index: number])[]) => {
    const found = await inspect((disk) =>
      disk.set(
        log,
        walImage([
          ...walRecords.slice(0, 2),
          ...entries.map(([term, index]) => [2, walEntry.encode({ term, index, data: new Uint8Array() })] as const),
          [3, walState.encode({ term: 9, commit: 1 })],
        ]),
      )
    );
    assert(found.kind === "valid", JSON.stringify(found));
    return found.termStarts!.map(({ term, index }) => [term, index]);
  };
  assertEquals(await starts([2, 5], [2, 6], [3, 7], [3, 8], [5, 9]), [[2, 5], [3, 7], [5, 9]]);
  assertEquals(await starts([2, 5], [2, 6], [3, 7], [4, 6], [4, 7]), [[2, 5], [4, 6]], "4 overwrites 6 and 7");
  assertEquals(await starts([2, 5], [2, 6], [4, 90], [4, 91]), [[4, 90]], "a snapshot of the leader came between");
});

const varint = (value: number) => value < 128 ? [value] : [value % 128 + 128, Math.floor(value / 128)];
const walEntryField = (number: number, value: number) => value === 0 ? [] : [number * 8, value];
/** Encodes an id as field 1 of the metadata message, then replaces the tag by that of another field. */
const walMetadataField = (
  number: number,
  id: string,
) => [number * 8, ...walMetadata.encode({ nodeId: id }).subarray(1)];

const seed = 20_261_123;

Deno.test(`inspectDataDir() reports random changes as valid or damaged, never as absent or empty (seed ${seed})`, async () => {
  const image = wholeDisk();
  const changes = fc.array(
    fc.record({
      path: fc.constantFrom(database, log),
      at: fc.nat(40_000),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 12 }),
      cut: fc.boolean(),
    }),
    { minLength: 1, maxLength: 6 },
  );
  await fc.assert(
    fc.asyncProperty(changes, async (list) => {
      const disk: Disk = new Map(image);
      for (const { path, at, bytes, cut } of list) {
        let data = (disk.get(path) as Uint8Array<ArrayBuffer>).slice();
        const offset = at % Math.max(1, data.length);
        if (cut && at % 5 === 0) data = data.slice(0, offset);
        else data.set(bytes.subarray(0, data.length - offset), offset);
        disk.set(path, data);
      }
      const { kind } = await inspectDataDir("/d", diskPorts(disk));
      assert(kind === "valid" || kind === "damaged", kind);
    }),
    { seed, numRuns: 1_500 },
  );
});

Deno.test(`inspectDataDir() reports files of random bytes as damaged (seed ${seed})`, async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 9_000 }), fc.uint8Array({ maxLength: 600 }), async (db, wal) => {
      const disk = wholeDisk();
      disk.set(database, new Uint8Array(db));
      assertEquals((await inspectDataDir("/d", diskPorts(disk))).kind, "damaged");
      disk.set(log, new Uint8Array(wal));
      assertEquals((await inspectDataDir("/d", diskPorts(disk))).kind, "damaged");
    }),
    { seed, numRuns: 300 },
  );
});
