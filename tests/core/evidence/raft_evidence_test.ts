import { raftContact, withReading } from "../../../lib/core/evidence/raft_evidence.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, member, nowMs, view } from "../facts.ts";
import type { RaftFacts } from "../../../lib/core/facts/cluster.ts";

const cluster = answer("a", ["a", "b", "c"].map((name) => member(name)));

/** What is known of c after these readings, ms ago and bytes each. */
function contact(...readings: readonly (readonly [agoMs: number, bytes: number, of?: string])[]): string {
  let facts: RaftFacts | undefined;
  for (const [agoMs, receivedBytes, memberId = "id-a"] of readings) {
    const peers = [{ memberId: "id-c", receivedBytes }];
    facts = withReading(facts, { kind: "answer", memberId, peers }, nowMs - agoMs);
  }
  return raftContact("id-c", cluster, view("a", facts === undefined ? {} : { raft: facts }));
}

Deno.test("raftContact() goes by messages that arrive between two readings of the same leader", () => {
  assertEquals(contact(), "unasked");
  assertEquals(contact([0, 100]), "unasked");
  assertEquals(contact([1_000, 100], [0, 101]), "active");
  assertEquals(contact([1_000, 100], [0, 100]), "unasked");
  assertEquals(contact([3_000, 100], [1_500, 100], [0, 100]), "inactive");
  assertEquals(contact([3_000, 100], [2_500, 101], [1_000, 101], [0, 101]), "inactive");
  assertEquals(contact([3_000, 100], [1_000, 101], [0, 101]), "active");
});

Deno.test("raftContact() compares no readings of two processes, nor over a gap, nor old ones", () => {
  // A restarted leader counts from nothing.
  assertEquals(contact([3_000, 100], [0, 5]), "inactive");
  assertEquals(contact([3_000, 100, "id-b"], [0, 200]), "unasked");
  assertEquals(contact([9_000, 100], [0, 200]), "unasked");
  assertEquals(contact([8_000, 100], [6_000, 200]), "unasked");
  const unread = withReading(undefined, { kind: "unreachable", code: "refused" }, nowMs);
  assertEquals(raftContact("id-c", cluster, view("a", { raft: unread })), "unreadable");
});

Deno.test("raftContact() at the limits: readings 5 s old or apart, and 2 s of silence", () => {
  assertEquals(contact([5_000, 100], [0, 101]), "active");
  assertEquals(contact([5_001, 100], [0, 101]), "unasked");
  assertEquals(contact([9_000, 100], [5_000, 101]), "active");
  assertEquals(contact([9_001, 100], [5_001, 101]), "unasked");
  assertEquals(contact([2_000, 100], [0, 100]), "inactive");
  assertEquals(contact([1_999, 100], [0, 100]), "unasked");
  assertEquals(contact([5_000, 100], [2_000, 101], [0, 101]), "inactive");
  assertEquals(contact([5_000, 100], [1_999, 101], [0, 101]), "active");
  // A reading that failed begins anew.
  const unread = withReading(undefined, { kind: "unreachable", code: "refused" }, nowMs - 3_000);
  const peers = [{ memberId: "id-c", receivedBytes: 9 }];
  const first = withReading(unread, { kind: "answer", memberId: "id-a", peers }, nowMs);
  assertEquals(first, {
    kind: "read",
    memberId: "id-a",
    sinceMs: nowMs,
    atMs: nowMs,
    members: new Map([["id-c", { receivedBytes: 9 }]]),
  });
  assertEquals(
    raftContact("id-x", cluster, view("a", { raft: { ...first, sinceMs: nowMs - 2_000 } as RaftFacts })),
    "inactive",
  );
});
