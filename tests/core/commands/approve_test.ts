import { approve, noteApproved } from "../../../lib/core/commands/approve.ts";
import { Turn } from "../../../lib/core/state/turn.ts";
import { copyOf, createNode } from "../../../lib/core/state/state.ts";
import { bootstrapPlanOf } from "../../../lib/core/rules/bootstrap/proposal.ts";
import { planOf } from "../../../lib/core/evidence/order.ts";
import { assertEquals } from "../../support/assert.ts";
import { changed, settings, type StateChange } from "../facts.ts";

const self = { name: "a", peerUrl: "http://a:2380", clientUrl: "http://a:2379", gossipAddr: "a:7980" };
const now = { monotonicMs: 0, wallMs: 0 };
const turnOf = (change: StateChange = {}) =>
  new Turn(copyOf(changed(createNode(self, settings(), "s", now), change)), now);

const snapshot = { kind: "snapshot", hash: "h", revision: 9 } as const;
const plan = bootstrapPlanOf([{ name: "a", peerUrl: self.peerUrl, nonce: "n" }], snapshot, { id: "l", epoch: 3 });
const proposed: StateChange = { bootstrap: { progress: { plan } } };
const choices = [{ plan: "0123456789abcdef", label: "start this" }, { plan: "fedcba9876543210", label: "end that" }];
const asked: StateChange = { reports: { waitingFor: { code: "two_epochs", text: "t", choices } } };

Deno.test("approve() takes one of the choices that the node waits for, else the plan that it proposes", () => {
  const told = (name: string, ...changes: readonly StateChange[]) => {
    const turn = turnOf(Object.assign({}, ...changes));
    const answer = approve(turn, name);
    return [
      answer.kind === "done" ? answer.text : answer.kind === "refused" ? answer.why : "",
      turn.node.settings.approved,
    ];
  };
  const name = planOf(plan.digest);
  assertEquals(told(name), ["no restore waits for an approval at this node", []]);
  assertEquals(told(name, proposed), ["approved: snapshot as epoch 4", [name]]);
  assertEquals(told("x", proposed), [
    `no plan "x" waits for an approval; the waiting plans are ${name} (snapshot as epoch 4)`,
    [],
  ]);
  assertEquals(told(choices[1]!.plan, asked, proposed), ["approved: end that", [choices[1]!.plan]]);
  const list = "0123456789abcdef (start this), fedcba9876543210 (end that)";
  assertEquals(told(name, asked, proposed), [
    `no plan "${name}" waits for an approval; the waiting plans are ${list}`,
    [],
  ]);
  const waiting: StateChange = { reports: { waitingFor: { code: "restore_asks", text: "t" } } };
  assertEquals(told(name, waiting, proposed), ["approved: snapshot as epoch 4", [name]]);
  // A node that serves waits for nothing: its standing problem names the plans.
  const problem = { level: "error", reason: { code: "two_epochs", text: "t", choices } } as const;
  const serving: StateChange = { reports: { problems: new Map([["two_epochs", problem]]) } };
  assertEquals(told(choices[0]!.plan, serving), ["approved: start this", [choices[0]!.plan]]);
  assertEquals(told("x", serving)[0], `no plan "x" waits for an approval; the waiting plans are ${list}`);
  const also: StateChange = {
    reports: {
      ...asked.reports,
      problems: new Map([["p", {
        ...problem,
        reason: { ...problem.reason, choices: [{ plan: "p", label: "other" }] },
      }]]),
    },
  };
  assertEquals([told("p", also)[0], told(choices[1]!.plan, also)[0]], ["approved: other", "approved: end that"]);
  assertEquals(approve(turnOf(), name).kind, "refused");
  assertEquals(approve(turnOf(asked), "x").kind, "refused");
  assertEquals(approve(turnOf(asked), choices[0]!.plan).kind, "done");
});

Deno.test("noteApproved() journals each new approval as a WARN, and the rules of the same turn see it", () => {
  const turn = turnOf({ settings: settings({ approved: ["p1"] }) });
  const before = turn.view;
  noteApproved(turn, ["p1"]);
  assertEquals([turn.effects, turn.view === before], [[], true]);
  noteApproved(turn, ["p1", "p2", "p3"]);
  assertEquals(turn.view.settings.approved, ["p1", "p2", "p3"]);
  assertEquals(
    turn.node.reports.journal.map(({ level, outcome, reason: { code, text } }) =>
      `${level} ${outcome} ${code}: ${text}`
    ),
    [
      "warn approved asked_by_operator: restore plan p2 is approved",
      "warn approved asked_by_operator: restore plan p3 is approved",
    ],
  );
});
