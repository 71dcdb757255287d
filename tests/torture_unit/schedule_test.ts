import fc from "fast-check";
import { type FaultKind, plainKinds, planFaults, rootKinds } from "../torture/schedule.ts";
import { assert, assertEquals } from "../support/assert.ts";

const all: readonly FaultKind[] = [...plainKinds, ...rootKinds];
const campaigns = fc.record({
  seed: fc.nat(),
  count: fc.integer({ min: 0, max: 60 }),
  nodes: fc.constantFrom(3, 5),
  kinds: fc.subarray([...all], { minLength: 1 }),
});
const run = { seed: 20_261_124, numRuns: 300 };

Deno.test("planFaults() returns the same plan for the same seed, and another plan for another seed", () => {
  fc.assert(fc.property(campaigns, (campaign) => assertEquals(planFaults(campaign), planFaults(campaign))), run);
  const plan = (seed: number) => JSON.stringify(planFaults({ seed, count: 20, nodes: 3, kinds: all }));
  assert(plan(1) !== plan(2));
});

Deno.test("planFaults() leaves a quorum untouched except for a restart of all nodes", () => {
  fc.assert(
    fc.property(campaigns, (campaign) => {
      for (const { kind, nodes } of planFaults(campaign)) {
        assertEquals(new Set(nodes).size, nodes.length);
        assert(nodes.every((at) => at >= 0 && at < campaign.nodes), `${kind} of ${nodes}`);
        // A cut between two nodes leaves each of them connected to all others.
        const lost = kind === "cut-one-way" || kind === "cut-pair" ? 1 : nodes.length;
        assert(campaign.nodes - lost > campaign.nodes / 2, `${kind} of ${nodes}`);
      }
    }),
    run,
  );
});

Deno.test("planFaults() plans the requested number of faults, only of the given kinds, each kind once before any repeats", () => {
  fc.assert(
    fc.property(campaigns, (campaign) => {
      const kinds = planFaults(campaign).map(({ kind }) => kind);
      assertEquals(kinds.length, campaign.count);
      for (let from = 0; from < kinds.length; from += campaign.kinds.length) {
        const round = kinds.slice(from, from + campaign.kinds.length);
        assertEquals(new Set(round).size, round.length);
        assert(round.every((kind) => campaign.kinds.includes(kind)));
      }
    }),
    run,
  );
});

Deno.test("planFaults() plans no fault of more than ten seconds", () => {
  fc.assert(
    fc.property(campaigns, (campaign) => {
      for (const { kind, durationMs } of planFaults(campaign)) {
        // e2d itself ends the death of an etcd.
        assert(kind === "kill-etcd" ? durationMs === 0 : durationMs >= 1_000 && durationMs <= 10_000);
      }
    }),
    run,
  );
});
