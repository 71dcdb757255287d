/** A share of the seeds, and each seed that ever found a mistake. */
import { assert, assertEquals } from "../support/assert.ts";
import { hasRealGossip, runSeed } from "./cluster.ts";
import { replayOf } from "./seeds.ts";
import { troubles } from "./trouble.ts";

/**
 * Each of these found a mistake: a nonce that was lost with its process (40), member ids that were used before etcd ran
 * (1108), a learner removed before it had a log (187), an initial member that moved after its pledge (362), a member at
 * an unknown address (25, 615), joins mistaken for renunciations (503), recoveries with a removed survivor (6419) or an
 * incomplete pledge (3575), a dead voter that blocked its successor (9728), equal names at new addresses (1007, 2107).
 */
const regressions = [11, 21, 25, 40, 181, 187, 356, 362, 363, 503, 615, 1007, 1108, 1271, 1735, 2107, 3575, 4743]
  .concat([5943, 6419, 9728])
  // Plans that were outdated or completed by others, a learner as the last survivor.
  .concat([557, 745, 1325, 2943, 5593])
  // Second clusters: peers that were only suspect, and a small cluster that only its standby nodes remembered.
  .concat([766, 2510, 6222, 6262, 6326, 7993])
  // A power failure of all machines, after which the standby nodes start before the members.
  .concat([8926])
  // A joiner that the time without a leader counted against; an abandoned bootstrap that was heard of after the start.
  .concat([425, 2047])
  // A joiner that took the id of its removed member from the list of a member that lagged.
  .concat([6388])
  // Nodes that lost an unfinished bootstrap and took the one that they had pledged next for another cluster.
  .concat([3891, 7066, 7610]);

/**
 * Found on the real gossip: a cluster scaled to one voter, which the others had only seen as one of three (2881), a
 * leadership transfer without another member (4085), removed members and standby nodes that start first after a power
 * failure (6085), a power failure during a bootstrap (6891).
 */
const foundOnRealGossip = [2881, 4085, 6085, 6891];

// The older ones were found with the model of gossip and still run on it.
const found = [
  ...regressions.map((seed) => ({ seed, realGossip: false, how: "--gossip model" })),
  ...foundOnRealGossip.map((seed) => ({ seed, realGossip: true, how: "--gossip real" })),
];

for (const { seed, realGossip, how } of found) {
  Deno.test(`simulated cluster ${seed} stays safe and becomes whole`, () => {
    const outcome = runSeed(seed, { realGossip });
    assertEquals(outcome.failure, undefined, `replay: ${replayOf("sim:cluster", seed)} ${how}`);
  });
}

/**
 * Each found a mistake with its kinds of trouble: a survivor that waited for the life that it was itself bootstrapping
 * (30389), three members at each other's addresses (30464), standby nodes of two clusters in one gossip (30040, 30069,
 * 30300, 30472, 30496), two copies of a disk that start at one moment (30446). The others show one kind each.
 */
const foundInTrouble: readonly (readonly [number, string])[] = [
  [30016, "foreignLife"],
  [30040, "mergedGossip"],
  [30069, "newClusterStays+mergedGossip"],
  [30145, "split"],
  [30164, "mergedGossip+unmounted"],
  [30211, "unmounted"],
  [30300, "mergedGossip+wrongClock"],
  [30389, "lateSurvivor+movedTogether"],
  [30446, "clone+upgrade"],
  [30464, "movedTogether"],
  [30472, "mergedGossip"],
  [30496, "mergedGossip"],
  [30519, "oldImage"],
  // Data without its record counted as the original's, and a removed member counted as a survivor for all other nodes.
  [30982, "unmounted"],
  [31210, "held+foreignLife"],
  // A removed member's volume, mounted again, stood for the lost member at its address.
  [31919, "unmounted+held"],
  // A snapshot was saved under a lineage that the record was about to replace, and --new-cluster then gave it up.
  [32312, "unmounted+newClusterStays"],
  // A copy that was restored from the last snapshot looked like the cluster's own recovery.
  [32939, "paused+foreignLife"],
  // A pledge that was given a second time; an upgrade that failed kept the watchdog from restarting etcd.
  [34693, "swappedDisks"],
  [31221, "upgrade+hungEtcd"],
  // Disks in the machines of other members were invisible to the outlook.
  [33346, "swappedDisks+movedTogether"],
  // A volume that came back was quarantined for a pledge that was given without it.
  [38725, "swappedDisks+unmounted"],
  // A removed member with overwritten entries quarantined its data before gossip had brought the terms of the others.
  [32917, "upgrade+oldQuorum"],
  // A disk of an earlier life held up the recovery of the later one, whose quorum it waited for itself.
  [39036, "wrongStore+held"],
  [39872, "unmounted+foreignLife"],
];

for (const [seed, kinds] of foundInTrouble) {
  Deno.test(`simulated cluster ${seed} stays safe and becomes whole in trouble: ${kinds}`, () => {
    const { failure } = runSeed(seed, { trouble: kinds.split("+"), realGossip: false });
    const replay = `${replayOf("sim:cluster", seed)} --trouble ${kinds} --gossip model`;
    assertEquals(failure, undefined, `replay: ${replay}`);
  });
}

Deno.test("simulated clusters stay safe and become whole in each kind of trouble", () => {
  for (const [index, kind] of Object.keys(troubles).sort().entries()) {
    const seed = 30_200 + index;
    const { failure } = runSeed(seed, { trouble: [kind], realGossip: false });
    assertEquals(failure, undefined, `replay: ${replayOf("sim:cluster", seed)} --trouble ${kind} --gossip model`);
  }
});

Deno.test("simulated clusters 30060 to 30099 stay safe and become whole in the trouble of their seeds", () => {
  for (let seed = 30_060; seed < 30_100; seed++) {
    const { failure } = runSeed(seed);
    assertEquals(failure, undefined, `replay: ${replayOf("sim:cluster", seed)}`);
  }
});

for (
  const { from, to, real } of [{ from: 20_060, to: 20_119, real: 40 }, { from: 1_000_000, to: 1_000_014, real: 15 }]
) {
  Deno.test(`simulated clusters ${from} to ${to} stay safe and become whole, ${real} of them on real gossip`, () => {
    let writes = 0, onRealGossip = 0, defragmentations = 0;
    for (let seed = from; seed <= to; seed++) {
      const outcome = runSeed(seed);
      assertEquals(outcome.failure, undefined, `replay: ${replayOf("sim:cluster", seed)}`);
      writes += outcome.writes;
      defragmentations += outcome.defragmentations;
      if (hasRealGossip(seed)) onRealGossip++;
    }
    assertEquals(onRealGossip, real);
    assert(writes > 10 * (to - from), `only ${writes} writes were acknowledged: the clusters hardly ran`);
    assert(defragmentations > 0.3 * (to - from), `only ${defragmentations} members were defragmented`);
  });
}

Deno.test("a simulated cluster has the same history each time its seed is run, on model and real gossip", () => {
  const lines = (realGossip: boolean) => {
    const said: string[] = [];
    runSeed(7, { trace: (line) => said.push(line), realGossip });
    return said;
  };
  for (const realGossip of [false, true]) assertEquals(lines(realGossip), lines(realGossip));
});
