import { forgetDataDir, noteDataDir } from "../../../lib/core/watch/data_dir.ts";
import { step } from "../../../lib/core/step.ts";
import type { Event } from "../../../lib/core/facts/event.ts";
import { createNode, type NodeState } from "../../../lib/core/state/state.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { changed, data, member, settings, type StateChange, view } from "../facts.ts";
import { problemOf, turnOf } from "../turns.ts";

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

Deno.test("noteDataDir() names what became of the data-dir, and how to save the data where no other member has it", () => {
  const reported = (found: "absent" | "replaced", change: StateChange, names = ["a", "b"]) => {
    const turn = turnOf([
      {
        ownEtcd: { etcd: { kind: "ready", sinceMs: 0 } },
        disk: { data: data("a", names.map((name) => member(name))) },
      },
      change,
    ]);
    for (let at = 0; at < 2; at++) noteDataDir(turn, { kind: "dataDirLooked", found });
    return [
      problemOf(turn, "data_dir_gone")?.split(",")[0],
      turn.node.reports.problems.get("data_dir_gone")?.reason.hint,
    ];
  };
  const others =
    'do not stop this node yet: run "e2d snapshot save" on it, check with "e2d status" that the other members ' +
    "serve, then restart e2d on this node: it joins as a new member";
  const alone = 'do not stop this node: run "e2d snapshot save" on it first, and restore from that';
  const gone = "error: the data-dir of this node is absent";
  assertEquals(reported("absent", {}), [gone, others]);
  assertEquals(reported("replaced", {})[0], "error: the data-dir of this node was replaced by another folder");
  assertEquals(reported("absent", {}, ["a"]), [gone, alone]);
  assertEquals(reported("absent", { disk: { data: { kind: "unknown" } } }), [gone, others]);
  const nothing = [undefined, undefined];
  assertEquals(reported("absent", { ownEtcd: { etcd: { kind: "starting", sinceMs: 0 } } })[0], gone);
  assertEquals(reported("absent", { ownEtcd: { etcd: { kind: "stopped" } } }), nothing);
  const inFlight = (slot: "local" | "source", kind: "exportSurvivor" | "prepareSource") =>
    reported("absent", { effects: { inFlight: new Map([[slot, { kind, id: 1 }]]) as never } });
  assertEquals([inFlight("local", "prepareSource"), inFlight("source", "exportSurvivor")], [nothing, nothing]);
  assertEquals(inFlight("source", "prepareSource")[0], gone);
});

Deno.test("forgetDataDir() counts the checks anew", () => {
  const turn = turnOf({ disk: { missingChecks: 1 } });
  forgetDataDir(turn);
  assertEquals(turn.node.disk.missingChecks, 0);
});
