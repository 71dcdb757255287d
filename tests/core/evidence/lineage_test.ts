import {
  beginAnew,
  copyLineage,
  isCopy,
  isGivenUp,
  isLineageCertain,
  lineageOfCluster,
  lineageOfData,
  lineageToAdopt,
  lostData,
  ownLineage,
  withDataBack,
} from "../../../lib/core/evidence/lineage.ts";
import { digestOf } from "../../../lib/core/facts/digest.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, data, facts, member, peer, settings, view } from "../facts.ts";
import type { Lineage, NodeRecord, StartedData } from "../../../lib/core/facts/node_record.ts";

const life = (token: string, epoch: number, clusterId?: string): StartedData => ({
  lineage: { id: "line", epoch, token },
  how: "founded",
  renounced: [],
  ...(clusterId === undefined ? {} : { clusterId }),
});
const record = (change: Partial<NodeRecord>): NodeRecord => ({ nonce: "n", pledges: [], ...change });

Deno.test("lineageOfData() gives no data the lineage of other data on the same disk", () => {
  const later = record({ started: life("second", 2, "c2"), former: [life("first", 1, "c1")] });
  assertEquals(lineageOfData("c2", later).token, "second");
  assertEquals(lineageOfData("c1", later).token, "first");
  assertEquals(lineageOfData("c9", later), { id: "c9", epoch: 0, token: "etcd-cluster" });
  // A record from before ids were kept is about whatever lies there.
  assertEquals(lineageOfData("c1", record({ started: life("first", 1) })).token, "first");
});

Deno.test("withDataBack() binds the record to the data that is there again, and keeps the other life", () => {
  const lost = record({ lost: life("first", 1, "c1") });
  assertEquals(withDataBack(lost, "c1"), record({ started: life("first", 1, "c1") }));
  assertEquals(withDataBack(lost, "c2"), lost);
  const restored = beginAnew({ ...lost, started: life("second", 2, "c2") });
  assertEquals(restored, record({ started: life("second", 2, "c2"), former: [life("first", 1, "c1")] }));
  assertEquals(
    withDataBack(restored, "c1"),
    record({ started: life("first", 1, "c1"), former: [life("second", 2, "c2")] }),
  );
});

const known: Lineage = { id: "line", epoch: 3, token: "t" };
const held = (name: string, lineage: Lineage, clusterId = "c1") =>
  peer(name, { facts: facts(name, { data: { kind: "held", clusterId, memberId: "m", lineage, revision: 1 } }) });
const own = answer("a", [member("a")]);

Deno.test("lineageOfCluster() never defaults while a peer that may know has not published its facts", () => {
  const { facts: _, ...mute } = peer("c");
  assertEquals(lineageOfCluster(own, view("a", { peers: [mute] })), undefined);
  assertEquals(lineageOfCluster(own, view("a", { peers: [mute, held("b", known)] })), known);
  assertEquals(lineageOfCluster({ ...own, lineage: known }, view("a", { peers: [mute] })), known);
  assertEquals(lineageOfCluster(own, view("a", { peers: [peer("b")] }))?.epoch, 0);
  assertEquals(lineageOfCluster(own, view("a", { peers: [held("b", known, "cX")] }))?.epoch, 0);
});

Deno.test("lineageToAdopt() heals a record that was left behind, and leaves a right one alone", () => {
  const bare = view("a", { data: data("a", [member("a")]) });
  assertEquals(lineageToAdopt(bare, { ...own, lineage: known }), known);
  assertEquals(lineageToAdopt({ ...bare, peers: [held("b", known)] }, own), known);
  assertEquals(lineageToAdopt(bare, { ...own, lineage: "absent" }), undefined);
  const contradicted = { ...bare, peers: [held("b", known), held("c", { ...known, epoch: 4 })] };
  assertEquals(lineageToAdopt(contradicted, own), undefined);
  const right = { ...bare, record: record({ started: { ...life("t", 3, "c1") } }) };
  assertEquals(lineageToAdopt(right, { ...own, lineage: known }), undefined);
});

Deno.test("isLineageCertain() is false while the record may still adopt the lineage that the cluster keeps", () => {
  const bare = view("a", { data: data("a", [member("a")]) });
  const unrecorded = ownLineage(bare)!;
  const right = { ...bare, record: record({ started: life("t", 3, "c1") }) };
  assertEquals(isLineageCertain(bare, own, unrecorded), false, "the cluster was not asked");
  assertEquals(isLineageCertain(bare, { ...own, lineage: known }, unrecorded), false, "the record adopts it");
  assertEquals(isLineageCertain(bare, { ...own, lineage: "absent" }, unrecorded), true, "the cluster keeps none");
  assertEquals(isLineageCertain(right, own, ownLineage(right)!), true, "the record knows it");
  assertEquals(isLineageCertain(right, { ...own, lineage: { ...known, epoch: 4 } }, ownLineage(right)!), false);
});

Deno.test("the lineage of data that no record is about is the original's, and an own one is only that of valid data", () => {
  const started = { ...life("second", 2, "c2"), lineage: { id: "", epoch: 1, token: "second" } };
  assertEquals(lineageOfData("c2", record({ started })), { id: "c2", epoch: 0, token: "etcd-cluster" });
  const lives = record({ started: life("second", 2, "c2"), former: [life("first", 1, "c1")] });
  assertEquals(ownLineage({ data: data("a", []), record: lives })?.token, "first");
  assertEquals(ownLineage({ data: { kind: "absent" }, record: lives })?.token, "second");
});

Deno.test("copyLineage() makes a lineage of its own for each token, which isCopy() knows", () => {
  const copy = copyLineage("token");
  assertEquals(copy, { id: copy.id, epoch: 1, token: "token" });
  assertEquals(/^copy-[0-9a-f]{24}$/.test(copy.id), true);
  assertEquals(copy.id, `copy-${digestOf("copy", "token").slice(0, 24)}`);
  assertEquals([isCopy(copy), isCopy(known)], [true, false]);
});

Deno.test("lineageOfCluster() takes the word of peers that are here and agree; epoch 0 is no knowledge", () => {
  const of = (...peers: ReturnType<typeof peer>[]) => lineageOfCluster(own, view("a", { peers }))?.epoch;
  const { facts: _, ...mute } = peer("c");
  assertEquals(of({ ...mute, state: "dead" }), 0);
  assertEquals(of({ ...held("b", known), state: "dead" }), 0);
  assertEquals(of(held("b", { ...known, epoch: 0 }), held("c", known)), 3);
  assertEquals(of(held("b", { ...known, epoch: 1 }), held("c", { ...known, epoch: 1 })), 1);
  assertEquals(of(held("b", known), held("c", { ...known, id: "other" })), 0);
  assertEquals(of(held("b", known), held("c", { ...known, epoch: 4 })), 0);
  assertEquals(of(peer("b"), held("c", known)), 3);
});

Deno.test("lineageToAdopt() corrects a record by what the cluster keeps, and fills one that knows nothing by its peers", () => {
  const bare = view("a", { data: data("a", [member("a")]) });
  const recorded = (epoch: number, id = "line") =>
    record({ started: { ...life("t", epoch, "c1"), lineage: { id, epoch, token: "t" } } });
  const adopt = (of: NodeRecord, kept: typeof known | undefined, peers = [held("b", known)]) =>
    lineageToAdopt({ ...bare, record: of, peers }, kept === undefined ? own : { ...own, lineage: kept });
  assertEquals(adopt(recorded(3), known), undefined);
  assertEquals(adopt(recorded(2), known), known);
  assertEquals(adopt(recorded(3, "other"), known), known);
  assertEquals(adopt(recorded(2), undefined), undefined, "a record of an own start is first-hand");
  assertEquals(adopt(recorded(1), undefined), undefined);
  assertEquals(adopt(recorded(0), undefined), known);
  assertEquals(adopt(record({}), undefined), known);
  const { facts: _, ...mute } = peer("c");
  assertEquals(adopt(record({}), undefined, [mute, held("b", known)]), known);
});

Deno.test("beginAnew() and withDataBack() keep eight former lives, and bind no record to data that it does not know", () => {
  assertEquals(beginAnew(record({})), record({}));
  const many = Array.from({ length: 8 }, (_, at) => life(`t${at}`, 1, `c${at}`));
  assertEquals(
    beginAnew(record({ lost: life("t8", 1, "c8"), former: many })).former?.map(({ clusterId }) => clusterId),
    [
      "c1",
      "c2",
      "c3",
      "c4",
      "c5",
      "c6",
      "c7",
      "c8",
    ],
  );
  const right = record({ started: life("first", 1, "c1"), former: [life("second", 2, "c2")] });
  assertEquals(withDataBack(right, "c1"), right);
  const both = record({ started: life("first", 1, "c1"), lost: life("second", 2, "c2") });
  assertEquals(withDataBack(both, "c1"), both, "it is about this data already, and what was lost stays lost");
  // Of before ids were kept: the cluster that was seen last is the one whose data was lost.
  const seen = (clusterId: string) => ({ clusterId, voters: [] });
  const unbound = record({ lost: life("first", 1), seen: seen("c1") });
  assertEquals(withDataBack(unbound, "c1"), record({ started: life("first", 1), seen: seen("c1") }));
  assertEquals(withDataBack({ ...unbound, seen: seen("c2") }, "c1"), { ...unbound, seen: seen("c2") });
  const bound = record({ lost: life("first", 1, "c9"), seen: seen("c1") });
  assertEquals(withDataBack(bound, "c1"), bound);
  const anew = record({ started: life("second", 2, "c2"), lost: life("first", 1), seen: seen("c1") });
  assertEquals(withDataBack(anew, "c1"), anew);
});

Deno.test("lostData() is data whose etcd was seen; isGivenUp() is a cluster of before the present --new-cluster", () => {
  assertEquals(lostData(record({ lost: life("first", 1, "c1") }))?.clusterId, "c1");
  assertEquals([lostData(record({})), lostData(record({ lost: life("first", 1) }))], [undefined, undefined]);
  const givenUp = (newCluster: string | undefined, seenUnder: string | undefined) =>
    isGivenUp(
      settings(newCluster === undefined ? {} : { newCluster }),
      seenUnder === undefined ? {} : { newCluster: seenUnder },
    );
  assertEquals([givenUp("blue", undefined), givenUp("blue", "green"), givenUp("blue", "blue")], [true, true, false]);
  assertEquals([givenUp(undefined, undefined), givenUp(undefined, "green")], [false, false]);
});
