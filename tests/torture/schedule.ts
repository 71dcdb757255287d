/** Plans the faults of a campaign, their order and duration. The seed determines the plan. */
import { Prng } from "../sim/prng.ts";

/** Kinds of faults. Those of the second list need root. */
export const plainKinds = [
  "kill-e2d",
  "kill-etcd",
  "freeze-node",
  "freeze-etcd",
  "lose-disk",
  "step-clock",
  "store-hangs",
  "store-slow",
  "store-fails",
  "store-down",
  "restart-all",
] as const;
export const rootKinds = ["cut-off", "cut-one-way", "cut-pair", "fill-disk"] as const;

export type FaultKind = typeof plainKinds[number] | typeof rootKinds[number];

export interface Fault {
  readonly kind: FaultKind;
  /** Indexes of nodes: of "cut-one-way" and "cut-pair" from the first to the second. Empty: all, or the store. */
  readonly nodes: readonly number[];
  /** Duration of the fault. */
  readonly durationMs: number;
  /** Offset of "step-clock". */
  readonly stepMs?: number;
}

/** A quorum stays except for "restart-all", during which the cluster does not serve and must lose no write. */
export function planFaults({ seed, count, nodes, kinds }: {
  seed: number;
  count: number;
  nodes: number;
  kinds: readonly FaultKind[];
}): Fault[] {
  const random = new Prng(seed);
  const some = (howMany: number) => shuffled(Array.from({ length: nodes }, (_, at) => at), random).slice(0, howMany);
  const minority = Math.floor((nodes - 1) / 2);
  // Each kind occurs once before any repeats, so that a short campaign is broad.
  const order: FaultKind[] = [];
  while (order.length < count) order.push(...shuffled(kinds, random));
  return order.slice(0, count).map((kind): Fault => {
    const durationMs = random.pick([1_000, 3_000, 8_000]) + random.below(2_000);
    switch (kind) {
      case "kill-etcd":
        // It has no duration: the time until e2d runs an etcd again counts from the kill.
        return { kind, durationMs: 0, nodes: some(1 + random.below(minority)) };
      case "kill-e2d":
      case "freeze-node":
      case "freeze-etcd":
        return { kind, durationMs, nodes: some(1 + random.below(minority)) };
      // Only one disk: the loss of two of five disks is a case of the snapshot tests.
      case "lose-disk":
      case "fill-disk":
      case "cut-off":
        return { kind, durationMs, nodes: some(1) };
      case "cut-one-way":
      case "cut-pair":
        return { kind, durationMs, nodes: some(2) };
      case "step-clock":
        return {
          kind,
          durationMs,
          nodes: some(1),
          stepMs: random.pick([-3_600_000, -90_000, -5_000, 5_000, 90_000, 3_600_000]),
        };
      case "store-hangs":
      case "store-slow":
      case "store-fails":
      case "store-down":
        // Long enough for a snapshot to be due.
        return { kind, durationMs: Math.max(6_000, durationMs), nodes: [] };
      case "restart-all":
        return { kind, durationMs, nodes: [] };
      default:
        return kind satisfies never;
    }
  });
}

function shuffled<T>(items: readonly T[], random: Prng): T[] {
  const left = [...items];
  return items.map(() => left.splice(random.below(left.length), 1)[0]!);
}
