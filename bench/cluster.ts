/**
 * Measures the bootstrap of a cluster of three, the replacement of a dead member, the restart of a node, and the start of
 * a single node. Each case runs with new real processes on loopback and ends when GET /health of etcd returns true.
 *
 *   deno run -A bench/cluster.ts [--runs 3] [--e2d PATH] [--against PATH]
 *
 * `--e2d` is the measured executable (default dist/e2d), `--against` any other e2d with the same flags, measured in the
 * same run. Without it the results are compared with those of the Go original in issue 5 (two cores, etcd 3.4.9).
 */
import { parseArgs } from "node:util";
import { etcdDir } from "../tests/support/parts.ts";
import { reportRow } from "./report.ts";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "3" },
    e2d: { type: "string", default: "dist/e2d" },
    against: { type: "string" },
  },
});
const runs = Number(values.runs);

interface Subject {
  name: string;
  path: string;
  extra: readonly string[];
}
const ours: Subject = { name: "ours", path: values.e2d, extra: [`--etcd-dir=${etcdDir()}`] };
const subjects = [ours, ...(values.against === undefined ? [] : [{ name: "other", path: values.against, extra: [] }])];

/** Seconds of the Go original on two cores, from the issues: best and worst of three runs. */
const goFigures: Record<string, readonly [number, number]> = {
  "form three": [3.3, 6.0],
  "replace a dead member": [11.2, 14.2],
  "restart one of three": [2.1, 2.1],
  "start one alone": [0.22, 0.42],
};
/** The target share of that time. */
const aims: Record<string, number> = {
  "form three": 0.8,
  "replace a dead member": 0.7,
  "restart one of three": 1,
  "start one alone": 1,
};

interface Node {
  child: Deno.ChildProcess;
  clientUrl: string;
}

let net = 0;

class Cluster implements AsyncDisposable {
  readonly nodes: Node[] = [];
  readonly #subject: Subject;
  readonly #size: number;
  readonly #folder = Deno.makeTempDirSync({ prefix: "e2d-bench-" });
  readonly #net = net++;

  constructor(subject: Subject, size: number) {
    this.#subject = subject;
    this.#size = size;
  }

  start(at: number): Node {
    // The Go original also binds 127.0.0.1 with the client port, so each node has its own ports.
    const host = `127.60.${this.#net % 250}.${at + 1}`;
    const ports = { client: 2379 + at * 10, peer: 2380 + at * 10, gossip: 7980 + at };
    const boot = Array.from({ length: 3 }, (_, each) => `127.60.${this.#net % 250}.${each + 1}:${7980 + each}`);
    const child = new Deno.Command(this.#subject.path, {
      args: [
        "run",
        `--name=n${at}`,
        `--data-dir=${this.#folder}/n${at}`,
        `--host=${host}`,
        `--client-addr=${host}:${ports.client}`,
        `--peer-addr=${host}:${ports.peer}`,
        `--gossip-addr=${host}:${ports.gossip}`,
        "--health-check-timeout=5s",
        ...(this.#size > 1 ? [`-n=${this.#size}`, `--bootstrap-addrs=${boot.join(",")}`] : []),
        ...this.#subject.extra,
      ],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    return this.nodes[at] = { child, clientUrl: `http://${host}:${ports.client}` };
  }

  async kill(at: number): Promise<void> {
    const { child } = this.nodes[at]!;
    const etcds = new TextDecoder().decode(
      (await new Deno.Command("pgrep", { args: ["-P", `${child.pid}`] }).output()).stdout,
    );
    child.kill("SIGKILL");
    for (const pid of etcds.split("\n").filter((line) => line !== "")) {
      try {
        Deno.kill(Number(pid), "SIGKILL");
      } catch {
        // It ended with its parent.
      }
    }
    await child.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const at of this.nodes.keys()) await this.kill(at).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 300));
    await Deno.remove(this.#folder, { recursive: true });
  }
}

const giveUpMs = 120_000;

async function healthy(node: Node): Promise<void> {
  const endMs = performance.now() + giveUpMs;
  while (performance.now() < endMs) {
    try {
      const response = await fetch(`${node.clientUrl}/health`, { signal: AbortSignal.timeout(1_000) });
      if (((await response.json()) as { health: unknown }).health === "true") return;
    } catch {
      // Not yet.
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`${node.clientUrl} is not healthy after ${giveUpMs} ms`);
}

async function timed(action: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await action();
  return (performance.now() - startMs) / 1_000;
}

async function measure(subject: Subject): Promise<Record<string, number>> {
  const seconds: Record<string, number> = {};
  {
    await using cluster = new Cluster(subject, 3);
    const three = [0, 1, 2];
    seconds["form three"] = await timed(async () => {
      three.forEach((at) => cluster.start(at));
      await Promise.all(three.map((at) => healthy(cluster.nodes[at]!)));
    });
    // A member in its first seconds is a different case.
    await new Promise((resolve) => setTimeout(resolve, 6_000));
    await cluster.kill(2);
    seconds["restart one of three"] = await timed(() => healthy(cluster.start(2)));
    await new Promise((resolve) => setTimeout(resolve, 6_000));
    await cluster.kill(1);
    seconds["replace a dead member"] = await timed(() => healthy(cluster.start(3)));
  }
  await using alone = new Cluster(subject, 1);
  seconds["start one alone"] = await timed(() => healthy(alone.start(0)));
  return seconds;
}

const results = new Map<string, Map<string, number[]>>();
for (let run = 0; run < runs; run++) {
  for (const subject of subjects) {
    for (const [name, seconds] of Object.entries(await measure(subject))) {
      const all = results.get(name) ?? new Map<string, number[]>();
      results.set(name, all.set(subject.name, [...all.get(subject.name) ?? [], seconds]));
    }
  }
}

const sorted = (numbers: readonly number[]) => [...numbers].sort((a, b) => a - b);
const median = (numbers: readonly number[]) => sorted(numbers)[Math.floor(numbers.length / 2)]!;
const three = (numbers: readonly number[]) => {
  const all = sorted(numbers);
  return `${all[0]!.toFixed(2)} / ${median(all).toFixed(2)} / ${all.at(-1)!.toFixed(2)}`;
};
console.log(
  `| case, seconds (min / median / max of ${runs}) | ours | ${
    values.against === undefined ? "Go, as measured" : "other"
  } | ratio of medians |`,
);
console.log("| --- | --- | --- | --- |");
for (const [name, all] of results) {
  const mine = all.get("ours")!;
  const other = all.get("other") ?? goFigures[name]!;
  const otherMedian = all.has("other") ? median(other) : (other[0]! + other[1]!) / 2;
  console.log(
    `| ${name} | ${three(mine)} | ${sorted(other).map((each) => each.toFixed(2)).join(" / ")} | ${
      (median(mine) / otherMedian).toFixed(2)
    } |`,
  );
  reportRow({
    what: name,
    unit: "s",
    ours: mine,
    peer: other,
    peerName: all.has("other") ? "other e2d" : "Go original, measured earlier (best and worst)",
    aim: `≤ ${aims[name]} of it`,
    limit: { of: "ratio", atMost: aims[name]! },
  });
}
