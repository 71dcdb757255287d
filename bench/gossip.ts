/**
 * Measures the time until real processes on loopback declare a killed node dead, and the CPU time of an idle node, compared
 * with real memberlist nodes (v0.7.0) at the same time on the same machine. All gossip is encrypted.
 *
 *   deno run -A bench/gossip.ts [--nodes 3,5] [--runs 5] [--idle-seconds 30]
 *
 * The protocol determines the times: a probe within one or two seconds, its failure a second later, four seconds of
 * suspicion.
 */
import { parseArgs } from "node:util";
import { JsonProcess } from "../tests/interop/json_process.ts";
import { partProgram } from "../tests/interop/part_program.ts";
import { eventually } from "../tests/support/fixtures.ts";
import { type BenchRow, reportRow } from "./report.ts";

const { values: options } = parseArgs({
  options: {
    nodes: { type: "string", default: "3,5" },
    runs: { type: "string", default: "5" },
    "idle-seconds": { type: "string", default: "30" },
  },
});
const key = "42".repeat(32);

type Kind = "ours" | "go";
const nets: Record<Kind, number> = { ours: 91, go: 92 };
const hostOf = (kind: Kind, number: number) => `127.0.${nets[kind]}.${number}`;

async function start(kind: Kind, number: number): Promise<JsonProcess> {
  const name = `n${number}`, host = hostOf(kind, number), seed = hostOf(kind, number === 1 ? 2 : 1);
  if (kind === "ours") {
    const program = new URL("gossip_node.ts", import.meta.url).pathname;
    const node = new JsonProcess(Deno.execPath(), ["run", "-A", "--no-check", program, name, host, seed, key]);
    await node.event("its start", ({ event }) => event === "ready");
    return node;
  }
  const node = new JsonProcess(partProgram("memberlist-0.7.0", "memberlist-peer", "memberlist-peer"), [
    ...["-name", name, "-bind", host, "-key", key, "-meta", "00".repeat(240)],
  ]);
  await node.event("its start", ({ event }) => event === "ready");
  if (number > 1) await node.request("join", { addresses: [`${seed}:7980`] });
  return node;
}

async function aliveAt(kind: Kind, node: JsonProcess): Promise<number> {
  if (kind === "go") return ((await node.request("members")).members as unknown[]).length;
  return (node.events.findLast(({ event }) => event === "count")?.alive as number | undefined) ?? 1;
}

async function allSee(kind: Kind, nodes: JsonProcess[], timeoutMs = 120_000): Promise<void> {
  await eventually(
    `${nodes.length} ${kind} nodes to see each other`,
    async () => (await Promise.all(nodes.map((node) => aliveAt(kind, node)))).every((count) => count === nodes.length),
    {
      timeoutMs,
      everyMs: 250,
    },
  );
}

/** CPU time of a process so far, in milliseconds. */
function cpuMs(pid: number): number {
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).replace(/^.*\) /, "").split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

interface Result {
  firstMs: number[];
  lastMs: number[];
  idlePercent: number;
}

async function measure(kind: Kind, count: number): Promise<Result> {
  const nodes: JsonProcess[] = [];
  try {
    for (let number = 1; number <= count; number++) nodes.push(await start(kind, number));
    await allSee(kind, nodes);

    const seconds = Number(options["idle-seconds"]);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    const before = nodes.map(({ pid }) => cpuMs(pid));
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    const spentMs = nodes.reduce((sum, { pid }, at) => sum + cpuMs(pid) - before[at]!, 0);
    const result: Result = { firstMs: [], lastMs: [], idlePercent: spentMs / count / seconds / 10 };

    for (let run = 0; run < Number(options.runs); run++) {
      const victim = 1 + run % (count - 1);
      const name = `n${victim + 1}`;
      const others = nodes.filter((_, at) => at !== victim);
      const marks = others.map(({ events }) => events.length);
      const startMs = performance.now();
      const seen = others.map((node, at) =>
        node.event(`the death of ${name}`, (line) => line.event === "leave" && line.name === name, {
          from: marks[at]!,
          timeoutMs: 90_000,
        }).then(() => performance.now() - startMs)
      );
      await nodes[victim]!.kill();
      const times = await Promise.all(seen);
      result.firstMs.push(Math.min(...times));
      result.lastMs.push(Math.max(...times));
      nodes[victim] = await start(kind, victim + 1);
      await allSee(kind, nodes);
    }
    return result;
  } finally {
    await Promise.all(nodes.map((node) => node.kill()));
  }
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`.padStart(8);

for (const count of options.nodes.split(",").map(Number)) {
  const [ours, go] = await Promise.all([measure("ours", count), measure("go", count)]);
  const row = (what: string, ourMs: number, goMs: number) =>
    console.log(`${what.padEnd(44)} ours ${seconds(ourMs)}   go ${seconds(goMs)}   ratio ${(ourMs / goMs).toFixed(2)}`);
  row(`${count} nodes: killed one dead to the first`, median(ours.firstMs), median(go.firstMs));
  row(`${count} nodes: killed one dead to all`, median(ours.lastMs), median(go.lastMs));
  row(`${count} nodes: killed one dead to all, worst`, Math.max(...ours.lastMs), Math.max(...go.lastMs));
  console.log(
    `${`${count} nodes: CPU of an idle node`.padEnd(44)} ours ${ours.idlePercent.toFixed(2).padStart(6)} %` +
      `   go ${go.idlePercent.toFixed(2).padStart(6)} %   of one core`,
  );
  const figure = (
    what: string,
    unit: string,
    mine: readonly number[],
    peer: readonly number[],
    aim: Pick<BenchRow, "aim" | "limit"> = { aim: "" },
  ) => reportRow({ what: `${count} nodes: ${what}`, unit, ours: mine, peer, peerName: "memberlist 0.7.0", ...aim });
  figure("killed one dead to the first", "ms", ours.firstMs, go.firstMs);
  figure("killed one dead to all", "ms", ours.lastMs, go.lastMs);
  figure("CPU of an idle node", "% of a core", [ours.idlePercent], [go.idlePercent], {
    aim: "≤ 1",
    limit: { of: "ours", atMost: 1 },
  });
}
