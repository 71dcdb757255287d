import { step } from "../../../lib/core/step.ts";
import type { Event } from "../../../lib/core/facts/event.ts";
import { createNode, type NodeState } from "../../../lib/core/state/state.ts";
import { gatheredText } from "../../../lib/core/rules/gathering.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { changed, data, member, peer, settings, type StateChange, view } from "../facts.ts";

const at = (monotonicMs: number) => ({ monotonicMs, wallMs: 1_000_000 + monotonicMs });

function nodeA(change: StateChange = {}): NodeState {
  const members = ["a", "b", "c"].map((name) => member(name));
  const serving: StateChange = {
    phase: "serving",
    ownEtcd: { etcd: { kind: "ready", sinceMs: 0 } },
    disk: { data: data("a", members) },
  };
  return changed(createNode(view("a").self, settings(), "seed", at(0)), serving, change);
}

function after(node: NodeState, ...events: Event[]) {
  const asked: string[] = [];
  for (const event of events) {
    const next = step(node, event, at(node.process.lastEventMs + 100));
    node = next.node;
    asked.push(...next.effects.flatMap((effect) => "id" in effect ? [effect.kind] : []));
  }
  return { node, asked, problem: node.reports.problems.get("data_dir_gone") };
}

const looked = (found: "there" | "absent" | "replaced"): Event => ({ kind: "dataDirLooked", found });

Deno.test("a data-dir that is gone under a running etcd is an ERROR at the second look, and etcd is not stopped for it", () => {
  assertEquals(after(nodeA(), looked("absent")).problem, undefined);
  assertEquals(after(nodeA(), looked("absent"), looked("there"), looked("absent")).problem, undefined);
  const gone = after(nodeA(), looked("absent"), looked("absent"), looked("absent"));
  assertEquals([gone.problem?.level, gone.problem?.keepsReady], ["error", undefined]);
  assert(gone.problem?.reason.hint?.includes("do not stop this node"));
  assertEquals(gone.asked.includes("stopEtcd"), false);
  assert(after(nodeA(), looked("replaced"), looked("replaced")).problem?.reason.text.includes("replaced"));
  assertEquals(after(gone.node, looked("there")).problem, undefined);
  assertEquals(after(gone.node, { kind: "etcd", state: "stopped" }).problem, undefined);
});

Deno.test("what this node itself does with its data-dir is not taken for its loss", () => {
  const busy = nodeA({ effects: { inFlight: new Map([["local", { kind: "upgradeEtcd", id: 7, to: "3.7" }]]) } });
  assertEquals(after(busy, looked("absent"), looked("absent")).problem, undefined);
  assertEquals(
    after(nodeA({ ownEtcd: { etcd: { kind: "stopped" } } }), looked("absent"), looked("absent")).problem,
    undefined,
  );
});

Deno.test("an etcd that keeps dying is started again for ever, and reported with its last log line until it is ready", () => {
  const exited: Event = {
    kind: "etcdExited",
    code: 1,
    cause: "disk_full",
    lastLine: "write /d/member/wal: no space left on device",
    hint: "free space",
  };
  const two = after(nodeA(), exited, exited).node;
  assertEquals(two.reports.problems.has("etcd_dies"), false);
  const many = after(two, ...Array<Event>(10).fill(exited)).node;
  assertEquals([many.phase, many.process.ending], ["gathering", undefined]);
  const problem = many.reports.problems.get("etcd_dies");
  assertEquals(problem?.level, "error");
  assert(problem?.reason.text.includes("(disk_full): write /d/member/wal: no space left on device"));
  assert(problem?.reason.hint?.startsWith("free space; "));
  const restsMs = (many.effects.backoffUntilMs.get("local") ?? 0) - many.process.lastEventMs;
  assert(restsMs > 50_000 && restsMs <= 60_000, String(restsMs));
  assertEquals(after(many, { kind: "etcd", state: "ready" }).node.reports.problems.has("etcd_dies"), false);
});

Deno.test("a plan is known as long as it is read: not by a node whose etcd is gone", () => {
  const plan = { id: "p", purpose: "scale", text: "scale from 3 to 1", createdAtWallMs: 0, operations: [] } as const;
  const node = after(nodeA(), { kind: "plan", plan }).node;
  assertEquals(node.maintenance.plan, plan);
  assertEquals(after(node, { kind: "etcdExited", code: 0, cause: "member_removed" }).node.maintenance.plan, undefined);
});

Deno.test("gatheredText() names the bootstrap addresses that do not answer", () => {
  const seeds = ["a:7980", "b:7980", "c:7980"];
  const text = (...names: string[]) =>
    gatheredText(
      names.length + 1,
      view("a", { settings: settings({ seeds }), peers: names.map((name) => peer(name)) }),
    );
  assertEquals(text("b"), "2 of 3 nodes have gathered; no answer from c:7980");
  assertEquals(text(), "1 of 3 nodes have gathered; no answer from b:7980, c:7980");
  assertEquals(gatheredText(2, view("a", { peers: [peer("x")] })), "2 of 3 nodes have gathered");
});
