import { readRecord, recordPath, writeRecord } from "../../lib/manager/data_dir/node_record.ts";
import { systemFiles } from "../../lib/sys/files.ts";
import { assertE2dError, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import type { NodeRecord } from "../../lib/core/facts/node_record.ts";

const seen = {
  clusterId: "c1",
  voters: [{ name: "a", peerUrl: "http://a:2380" }],
  lineageId: "line",
  token: "t",
  newCluster: "first",
};
const lineage = { id: "e2d-1", epoch: 2, token: "e2d-2", from: { token: "e2d-1", revision: 7 } };
const initialMembers = [{ name: "a", peerUrl: "http://a:2380", nonce: "n" }];

const records: readonly NodeRecord[] = [
  { nonce: "n", pledges: [] },
  { nonce: "n", pledges: [], seen: { clusterId: seen.clusterId, voters: seen.voters } },
  {
    nonce: "n",
    formerNonces: ["m"],
    pledges: [
      { initialMembers, source: { kind: "empty" }, lineage, digest: "d", token: "e2d-2" },
      {
        initialMembers,
        source: { kind: "snapshot", hash: "h", revision: 7 },
        lineage,
        digest: "e",
        token: "f",
        verified: "h",
      },
    ],
    seen,
    started: { lineage, how: "restored", renounced: ["g"] },
    lost: { lineage, how: "founded", renounced: [] },
    rival: lineage,
    undecided: { ...lineage, epoch: 3 },
  },
];

Deno.test("readRecord() returns what writeRecord() wrote, and undefined without a record", async () => {
  await using dir = await temporaryDirectory();
  const dataDir = `${dir.path}/data`;
  assertEquals(await readRecord(systemFiles, dataDir), undefined);
  for (const record of records) {
    await writeRecord(systemFiles, dataDir, record);
    assertEquals(await readRecord(systemFiles, dataDir), record);
  }
});

Deno.test("writeRecord() calls the initial members of a pledge `founders`", async () => {
  await using dir = await temporaryDirectory();
  await writeRecord(systemFiles, `${dir.path}/data`, records[2]!);
  const { pledges } = JSON.parse(await Deno.readTextFile(recordPath(`${dir.path}/data`)));
  const expected = { founders: initialMembers, source: { kind: "empty" }, lineage, digest: "d", token: "e2d-2" };
  assertEquals(pledges[0], expected);
});

Deno.test("readRecord() throws for a damaged record", async () => {
  await using dir = await temporaryDirectory();
  const dataDir = `${dir.path}/data`;
  const whole = { version: 1, nonce: "n", pledges: [], seen };
  const damaged = [
    "",
    "{",
    "[]",
    ...[
      { ...whole, version: 2 },
      { ...whole, nonce: 1 },
      { ...whole, seen: {} },
      { ...whole, seen: { ...seen, voters: [{ name: "a" }] } },
      { ...whole, seen: { ...seen, newCluster: 1 } },
      { ...whole, seen: { ...seen, token: 1 } },
      { ...whole, started: { lineage, how: "guessed", renounced: [] } },
    ].map((each) => JSON.stringify(each)),
  ];
  for (const text of damaged) {
    await Deno.writeTextFile(recordPath(dataDir), text);
    await assertE2dError("record_unreadable", () => readRecord(systemFiles, dataDir));
  }
});
