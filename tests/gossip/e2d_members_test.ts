import { E2dMembers } from "../../lib/gossip/e2d/members.ts";
import { encodeMemberMeta } from "../../lib/gossip/e2d/member_meta.ts";
import type { MemberState } from "../../lib/gossip/wire/message.ts";
import type { NodeStatus } from "../../lib/gossip/e2d/node_status.ts";
import { assert, assertEquals } from "../support/assert.ts";

const meta = (status: NodeStatus, generation = 0) =>
  encodeMemberMeta({
    name: "a",
    clientUrl: "https://10.0.0.1:2379",
    peerUrl: "https://10.0.0.1:2380",
    gossipAddr: "10.0.0.1:7980",
    status,
    generation,
  });
const none = new Uint8Array(0);
const news = (data: Uint8Array, state: MemberState = "alive", sinceMs = 1) => ({
  name: "a",
  meta: data,
  state,
  sinceMs,
});
const statusOf = (members: E2dMembers) => members.list()[0]?.status;

Deno.test("E2dMembers lists a member only once it has the metadata of an e2d node", () => {
  const members = new E2dMembers();
  assert(!members.applyRecord(news(none), 0));
  assert(!members.applyRecord({ ...news(Uint8Array.of(1, 2, 3)), name: "serf" }, 0));
  assertEquals(members.list(), []);
  assert(members.applyRecord(news(meta("pending")), 0));
  assertEquals(members.list(), [{
    name: "a",
    peerUrl: "https://10.0.0.1:2380",
    clientUrl: "https://10.0.0.1:2379",
    gossipAddr: "10.0.0.1:7980",
    state: "alive",
    sinceMs: 1,
    status: "pending",
    isLegacy: true,
  }]);
  assert(!members.applyRecord(news(meta("pending")), 0), "the same again is no change");
  assert(members.applyRecord(news(none), 0));
  assertEquals(members.list(), []);
});

Deno.test("E2dMembers: a status message overrides the metadata of a Go node, which lags behind", () => {
  const members = new E2dMembers();
  members.applyRecord(news(meta("unknown")), 0);
  assert(members.applyStatus({ name: "a", status: "running" }, 0));
  assert(!members.applyStatus({ name: "a", status: "running" }, 0));
  assert(!members.applyRecord(news(meta("unknown")), 0));
  assertEquals(statusOf(members), "running");
  members.applyRecord(news(meta("pending")), 0);
  assertEquals(statusOf(members), "running", "metadata from before the message");
  members.applyStatus({ name: "a", status: "unknown" }, 60_000);
  assertEquals(statusOf(members), "unknown", "etcd has stopped");
});

Deno.test("E2dMembers: metadata heals a missed Running message of a Go node", () => {
  const members = new E2dMembers();
  members.applyRecord(news(meta("unknown")), 0);
  members.applyStatus({ name: "a", status: "pending" }, 0);
  members.applyRecord(news(meta("running")), 0);
  assertEquals(statusOf(members), "running");
});

Deno.test("E2dMembers: changed metadata of this e2d always counts", () => {
  const members = new E2dMembers();
  members.applyRecord(news(meta("running", 2)), 0);
  assertEquals(members.list()[0]!.isLegacy, false);
  members.applyStatus({ name: "a", status: "running" }, 0);
  members.applyRecord(news(meta("unknown", 2)), 0);
  assertEquals(statusOf(members), "unknown");
});

Deno.test("E2dMembers: a message that comes before its sender's record is not lost", () => {
  const members = new E2dMembers();
  assert(!members.applyStatus({ name: "a", status: "pending" }, 0));
  members.applyRecord(news(meta("unknown")), 0);
  assertEquals(statusOf(members), "pending");
});

Deno.test("E2dMembers: a member that returns has the status of its metadata", () => {
  for (const gone of ["dead", "left"] as const) {
    const members = new E2dMembers();
    members.applyRecord(news(meta("unknown")), 0);
    members.applyStatus({ name: "a", status: "running" }, 0);
    members.applyRecord(news(meta("unknown"), "suspect", 2), 0);
    assertEquals(statusOf(members), "running");
    members.applyRecord(news(meta("unknown"), gone, 3), 0);
    assertEquals(members.list()[0]!.state, gone);
    members.applyRecord(news(meta("unknown"), "alive", 4), 0);
    assertEquals(statusOf(members), "unknown");
    assert(members.forget("a"));
    assertEquals(members.list(), []);
  }
});

Deno.test("E2dMembers keeps a bounded number of statuses of unknown members", () => {
  const members = new E2dMembers();
  members.applyStatus({ name: "a", status: "running" }, 0);
  for (let i = 0; i < 1000; i++) members.applyStatus({ name: `stranger-${i}`, status: "running" }, 0);
  members.applyRecord(news(meta("unknown")), 0);
  assertEquals(statusOf(members), "unknown");
});

Deno.test("E2dMembers: older messages of a Go node that come behind a newer one are its echo", () => {
  const members = new E2dMembers();
  const tell = (status: NodeStatus, nowMs: number) => members.applyStatus({ name: "a", status }, nowMs);
  tell("pending", 0);
  tell("unknown", 0);
  members.applyRecord(news(meta("unknown")), 10);
  assertEquals(statusOf(members), "pending");
  tell("running", 1000);
  assert(!tell("pending", 1000));
  tell("running", 1400);
  assert(!tell("pending", 4399));
  assertEquals(statusOf(members), "running");
  assert(tell("pending", 4400), "said again later, it is meant");
  assertEquals(statusOf(members), "pending");
});
