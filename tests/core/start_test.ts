import { decideStart } from "../../lib/core/start.ts";
import type { EtcdProcess } from "../../lib/core/view.ts";
import { assertEquals } from "../support/assert.ts";
import { answer, answering, data, member, nowMs, peer, view } from "./facts.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const told: EtcdProcess = { kind: "exited", atMs: nowMs, code: 0, cause: "member_removed", count: 1 };
const running = (name: string) => peer(name, { status: "running" });

Deno.test("decideStart() takes no peer's word for a removal: without a quorum that says so the data stays where it is", () => {
  const outcome = decideStart(view("b", {
    data: data("b", members),
    etcd: told,
    peers: [running("a")],
    endpoints: new Map([["http://a:2379", answering(answer("a", members, { linearizable: false }))]]),
  }));
  assertEquals([outcome.kind, "reason" in outcome && outcome.reason.code], ["restart", "removal_unproven"]);
});

Deno.test("decideStart() moves a member's data aside once a quorum answers that does not list it", () => {
  const rest = members.filter(({ name }) => name !== "b");
  const outcome = decideStart(view("b", {
    data: data("b", members),
    etcd: told,
    peers: [running("a")],
    endpoints: new Map([["http://a:2379", answering(answer("a", rest))]]),
  }));
  assertEquals([outcome.kind, "reason" in outcome && outcome.reason.code], ["moveAside", "removed_member"]);
});
