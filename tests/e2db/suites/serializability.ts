/**
 * A workload of list-appends and its judge, after the idea of Elle (Kingsbury and Alvaro, VLDB 2020): a value that is
 * only ever appended to shows the order of all earlier writes to every reader. From these orders follow the
 * dependencies between transactions (who wrote before whom, who read whose write, who read before whose write), and a
 * history is serializable exactly when they form no cycle.
 */
import { type Db, field } from "../../../lib/e2db/mod.ts";

interface Operation {
  key: string;
  /** The list that was read. */
  read?: number[];
  /** The appended value. */
  append?: number;
}

export interface Committed {
  id: number;
  operations: Operation[];
}

/** Descriptions of anomalies that no serial order allows. */
export function findAnomalies(history: readonly Committed[], final: ReadonlyMap<string, readonly number[]>): string[] {
  const anomalies: string[] = [];
  const writerOf = new Map<string, number>();
  for (const { id, operations } of history) {
    for (const { key, append } of operations) if (append !== undefined) writerOf.set(`${key}/${append}`, id);
  }
  const edges = new Map<number, Map<number, string>>(history.map(({ id }) => [id, new Map()]));
  const depend = (from: number | undefined, to: number | undefined, why: string) => {
    if (from !== undefined && to !== undefined && from !== to) edges.get(from)?.set(to, why);
  };
  for (const [key, order] of final) {
    if (new Set(order).size !== order.length) anomalies.push(`duplicate append in ${key}: ${order}`);
    for (const value of order) if (!writerOf.has(`${key}/${value}`)) anomalies.push(`${key} holds ${value} of nobody`);
    for (let at = 1; at < order.length; at++) {
      depend(writerOf.get(`${key}/${order[at - 1]}`), writerOf.get(`${key}/${order[at]}`), `ww ${key}`);
    }
  }
  for (const { id, operations } of history) {
    const own = new Map<string, number[]>();
    for (const { key, read, append } of operations) {
      const order = final.get(key) ?? [];
      if (append !== undefined) {
        own.set(key, [...own.get(key) ?? [], append]);
        if (!order.includes(append)) anomalies.push(`lost append of ${append} to ${key} by ${id}`);
        continue;
      }
      const mine = own.get(key) ?? [];
      const others = read!.slice(0, read!.length - mine.length);
      if (read!.slice(others.length).join() !== mine.join()) {
        anomalies.push(`${id} does not see its own append to ${key}`);
      }
      if (others.join() !== order.slice(0, others.length).join()) {
        anomalies.push(`${id} read ${others} of ${key}, which is ${order}`);
        continue;
      }
      depend(writerOf.get(`${key}/${others.at(-1)}`), id, `wr ${key}`);
      depend(
        id,
        writerOf.get(`${key}/${order.slice(others.length).find((value) => !mine.includes(value))}`),
        `rw ${key}`,
      );
    }
  }
  const cycle = findCycle(edges);
  if (cycle !== undefined) anomalies.push(`cycle: ${cycle}`);
  return anomalies;
}

function findCycle(edges: ReadonlyMap<number, ReadonlyMap<number, string>>): string | undefined {
  const state = new Map<number, "open" | "done">();
  const path: number[] = [];
  const visit = (node: number): string | undefined => {
    state.set(node, "open");
    path.push(node);
    for (const [next, why] of edges.get(node) ?? []) {
      if (state.get(next) === "open") return [...path.slice(path.indexOf(next)), next].join(" → ") + ` (${why})`;
      const found = state.has(next) ? undefined : visit(next);
      if (found !== undefined) return found;
    }
    path.pop();
    state.set(node, "done");
    return undefined;
  };
  for (const node of edges.keys()) {
    const found = state.has(node) ? undefined : visit(node);
    if (found !== undefined) return found;
  }
  return undefined;
}

export interface Workload {
  clients: number;
  /** For each client. */
  transactions: number;
  keys: number;
  seed: number;
}

/** Runs and judges the workload. A transaction with an unknown outcome counts if its appends exist. */
export async function runWorkload(
  db: Db,
  { clients, transactions, keys, seed }: Workload,
): Promise<{ anomalies: string[]; committed: number }> {
  const lists = await db.table("lists", {
    id: field.id(),
    group: field.number().index(),
    values: field.json<number[]>(),
  });
  const history: Committed[] = [];
  const unknown: Committed[] = [];
  let next = 0;
  const client = async (random: () => number) => {
    for (let step = 0; step < transactions; step++) {
      const id = next++;
      const plan = Array.from({ length: 1 + Math.floor(random() * 4) }, () => ({
        key: `k${Math.floor(random() * keys)}`,
        write: random() < 0.5,
        byIndex: random() < 0.3,
      }));
      let operations: Operation[] = [];
      try {
        await db.transaction(async (tx) => {
          operations = [];
          const inside = tx.table(lists);
          for (const [index, { key, write, byIndex }] of plan.entries()) {
            const group = Number(key.slice(1)) % 2;
            // Reads by an index cover ranges, which phantoms could enter.
            const row = byIndex
              ? (await inside.where("group").eq(group).all()).find((row) => row.id === key)
              : await inside.find(key);
            const values = row?.values ?? [];
            operations.push({ key, read: values });
            if (!write) continue;
            const append = id * 100 + index;
            await inside.upsert({ id: key, group, values: [...values, append] });
            operations.push({ key, append });
          }
        });
        history.push({ id, operations });
      } catch (error) {
        if ((error as { code?: string }).code !== "outcome_unknown") throw error;
        unknown.push({ id, operations });
      }
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, index) => client(mulberry32(seed * 1_000 + index))));
  const final = new Map((await lists.all()).map((row) => [row.id, row.values!]));
  for (const one of unknown) {
    const applied = one.operations.some(({ key, append }) => append !== undefined && final.get(key)?.includes(append));
    if (applied) history.push(one);
  }
  return { anomalies: findAnomalies(history, final), committed: history.length };
}

/** A small seeded generator: the same workload every time. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
