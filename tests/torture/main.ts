/**
 * A campaign of faults against a real cluster:
 *
 *   deno task torture [--faults 100] [--minutes 35] [--nodes 3|5] [--etcd 3.6.14|3.7.3] [--seed N] [--plain] [--only KIND]…
 *
 * As root each node has its own network and disk; `--plain` uses neither, and skips the faults that need them. Exits with
 * 1 if a write was lost, a history is not linearizable, or the cluster was not whole again in time.
 */
import { parseArgs } from "node:util";
import { etcdVersions } from "../support/parts.ts";
import { describe, passed, runCampaign } from "./campaign.ts";

const { values } = parseArgs({
  options: {
    faults: { type: "string", default: "100" },
    minutes: { type: "string", default: "35" },
    nodes: { type: "string", default: "3" },
    etcd: { type: "string", default: "3.6.14" },
    seed: { type: "string" },
    plain: { type: "boolean", default: false },
    only: { type: "string", multiple: true },
  },
});
const etcd = etcdVersions.find((version) => version === values.etcd);
if (etcd === undefined) throw new Error(`--etcd "${values.etcd}": one of ${etcdVersions.join(", ")}`);
const seed = Number(values.seed ?? Math.floor(Math.random() * 1_000_000));
const namespaces = !values.plain && Deno.uid() === 0;
const replay = `deno task torture --seed ${seed} --faults ${values.faults} --nodes ${values.nodes} --etcd ${etcd}` +
  (namespaces ? "" : " --plain") + (values.only ?? []).map((kind) => ` --only ${kind}`).join("");
console.log(replay);
if (!namespaces) console.log("without root or with --plain: no partitions and no full disk");

const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, () => stop.abort());

const report = await runCampaign({
  seed,
  etcd,
  namespaces,
  nodes: Number(values.nodes),
  faults: Number(values.faults),
  minutes: Number(values.minutes),
  only: values.only,
  recoveryMaxMs: 120_000,
  stop: stop.signal,
  say: (line) => console.log(line),
});
console.log(`\n${describe(report, replay)}`);
Deno.exit(passed(report) ? 0 : 1);
