/** Runs planned faults on one cluster while clients read and write, then judges the history. */
import { Prng } from "../sim/prng.ts";
import { Clients } from "./clients.ts";
import { Field, type FieldOptions } from "./field.ts";
import { judge, lostWrites, type Verdict } from "./history.ts";
import { type Fault, planFaults } from "./schedule.ts";

export interface CampaignOptions extends FieldOptions {
  readonly seed: number;
  readonly faults: number;
  /** After this no further fault begins. */
  readonly minutes: number;
  /** Time after the end of a fault within which the cluster must be whole. */
  readonly recoveryMaxMs: number;
  /** Kinds of faults; default: all that are possible here. */
  readonly only?: readonly string[] | undefined;
  /** Ends the campaign between two faults, as a failed one. */
  readonly stop?: AbortSignal | undefined;
  readonly say: (line: string) => void;
}

export interface CampaignReport {
  readonly seed: number;
  readonly faults: readonly { readonly fault: Fault; readonly recoveryMs: number }[];
  /** Undefined: the cluster was whole after every fault. */
  readonly failure: string | undefined;
  readonly sent: number;
  readonly failed: number;
  readonly lost: readonly string[];
  readonly verdict: Verdict;
  readonly seconds: number;
}

/** Pause between two faults, which separates their effects. */
const betweenMs = 1_000;

export async function runCampaign(options: CampaignOptions): Promise<CampaignReport> {
  const { seed, nodes, recoveryMaxMs, say } = options;
  const sinceMs = performance.now();
  await using field = await Field.make(options);
  const kinds = field.kinds.filter((kind) => options.only?.includes(kind) ?? true);
  if (kinds.length === 0) throw new Error(`none of "${options.only}" can be done here: ${field.kinds.join(", ")}`);
  const plan = planFaults({ seed, count: options.faults, nodes, kinds });
  const clients = new Clients(field.clientUrls, { random: new Prng(seed + 1) });
  const done: { fault: Fault; recoveryMs: number }[] = [];
  let failure: string | undefined;
  for (const [index, fault] of plan.entries()) {
    if (performance.now() - sinceMs > options.minutes * 60_000) break;
    if (options.stop?.aborted) {
      failure = `fault ${index + 1}: it was told to stop`;
      break;
    }
    clients.nextEpoch();
    say(`${index + 1}/${plan.length} ${fault.kind} ${fault.nodes} for ${fault.durationMs} ms`);
    try {
      await field.begin(fault);
      await pause(fault.durationMs);
      await field.lift(fault);
      const liftedMs = performance.now();
      const liftedWallMs = Date.now();
      await field.whole(recoveryMaxMs);
      if (fault.kind.startsWith("store-")) await field.saved(liftedWallMs, recoveryMaxMs);
      done.push({ fault, recoveryMs: performance.now() - liftedMs });
      say(`  whole after ${Math.round(done.at(-1)!.recoveryMs)} ms`);
    } catch (error) {
      failure = `fault ${index + 1} (${fault.kind} ${fault.nodes}): ${error instanceof Error ? error.message : error}`;
      break;
    }
    await pause(betweenMs);
  }
  const found = failure === undefined
    ? await clients.finish(field.clientUrls[0]!)
    : await clients.stop().then(() => undefined);
  const verdict = await judge(clients.history);
  const lost = found === undefined ? [] : lostWrites(clients.history, found);
  if (failure !== undefined || lost.length > 0 || verdict.broken.length > 0) {
    const folder = await keep(field, clients);
    say(`the logs of the nodes and the history are in ${folder}`);
  }
  return {
    seed,
    faults: done,
    failure,
    sent: clients.sent,
    failed: clients.failed,
    lost,
    verdict,
    seconds: (performance.now() - sinceMs) / 1_000,
  };
}

/** True if no write was lost, the history is linearizable, and the cluster recovered from every fault, at least one. */
export const passed = ({ faults, failure, lost, verdict }: CampaignReport) =>
  faults.length > 0 && failure === undefined && lost.length === 0 && verdict.broken.length === 0 &&
  verdict.undecided.length === 0;

export function describe(report: CampaignReport, replay: string): string {
  const { faults, verdict, sent, failed, lost, failure } = report;
  const kinds = [...Map.groupBy(faults, ({ fault }) => fault.kind)].sort(([a], [b]) => a.localeCompare(b));
  const row = (name: string, times: readonly number[]) => {
    const sorted = [...times].sort((a, b) => a - b);
    const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;
    return `| ${name} | ${times.length} | ${seconds(sorted[sorted.length >> 1]!)} | ${seconds(sorted.at(-1)!)} |`;
  };
  return [
    "| fault | times | whole again, median | worst |",
    "| --- | --- | --- | --- |",
    ...kinds.map(([kind, all]) => row(kind, all.map(({ recoveryMs }) => recoveryMs))),
    ...(faults.length === 0 ? [] : [row("all", faults.map(({ recoveryMs }) => recoveryMs))]),
    "",
    `${sent} requests, ${failed} of them failed or unanswered; ${lost.length} acknowledged writes lost` +
    (lost.length === 0 ? "" : `: ${lost.join(", ")}`),
    `${verdict.operations} operations on ${verdict.keys} registers: ` +
    (verdict.broken.length > 0
      ? `NOT linearizable: ${verdict.broken.join(", ")}`
      : verdict.undecided.length > 0
      ? `not decided for ${verdict.undecided.join(", ")}`
      : "linearizable"),
    ...(failure === undefined ? [] : [`FAILED at ${failure}`]),
    `seed ${report.seed}, ${Math.round(report.seconds)} s; again: ${replay}`,
  ].join("\n");
}

async function keep(field: Field, clients: Clients): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "e2d-torture-" });
  for (const [name, lines] of field.logs()) await Deno.writeTextFile(`${folder}/${name}.log`, lines.join("\n"));
  const history = clients.history.map((operation) => JSON.stringify(operation));
  await Deno.writeTextFile(`${folder}/history.jsonl`, history.join("\n"));
  return folder;
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
