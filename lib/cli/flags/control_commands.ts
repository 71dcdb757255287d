/** The commands that send an admin request to the control socket of a node, and their flags. */
import { type Command, command } from "./command.ts";
import { dryRun, globalFlags } from "./common_flags.ts";
import { type FlagValues, text, toggle } from "./flag.ts";

const controlFlags = {
  ...globalFlags,
  // No default: nodeSocket() must know whether the operator named a node.
  dataDir: text("DIR", "data-dir of the node; default: data, or /var/lib/e2d/etcd if no node runs on data", {
    path: true,
  }),
  dryRun,
  json: toggle("print JSON"),
} as const;

async function controlNode(request: Record<string, unknown>, values: FlagValues<typeof controlFlags>): Promise<number> {
  const [{ control }, { systemTerminal }] = await Promise.all([import("../control.ts"), import("../terminal.ts")]);
  return await control({ ...request, dryRun: values.dryRun }, values, systemTerminal);
}

/** In the order of the help. */
export const controlCommands: readonly Command[] = [
  command({
    path: "scale",
    summary: "change the number of voting members, one member at a time",
    details: "Growing adds standby nodes as members; shrinking removes members, the leader last.",
    flags: controlFlags,
    operands: [{ name: "N", help: "new number of members", required: true, choices: ["1", "3", "5", "7"] }],
    run: async (values, [to]) => await controlNode({ command: "scale", to: Number(to) }, values),
  }),
  command({
    path: "upgrade",
    summary: "change the etcd version, one minor version and one member at a time",
    flags: { ...controlFlags, to: text("VERSION", "target minor version, such as 3.7", { default: "" }) },
    check: ({ to }) => /^3\.\d+$/.test(to) ? [] : [`--to ${JSON.stringify(to)}: allowed: a minor version such as 3.7`],
    run: async (values) => await controlNode({ command: "upgrade", to: values.to }, values),
  }),
  command({
    path: "defrag",
    summary: "defragment the databases, one member at a time",
    details:
      "Selects members with 1 MiB and a tenth of the database reclaimable: followers first, the leader after a transfer.",
    flags: controlFlags,
    run: async (values) => await controlNode({ command: "defrag" }, values),
  }),
  command({
    path: "cancel",
    summary: "cancel the running plan",
    details: "Completed steps of a scaling, an upgrade or a defragmentation are kept; no further step begins.",
    flags: controlFlags,
    run: async (values) => await controlNode({ command: "cancel" }, values),
  }),
  command({
    path: "pause",
    summary: "stop all automatic actions of the cluster",
    flags: controlFlags,
    run: async (values) => await controlNode({ command: "pause" }, values),
  }),
  command({
    path: "resume",
    summary: "resume automatic actions of the cluster",
    flags: controlFlags,
    run: async (values) => await controlNode({ command: "resume" }, values),
  }),
  command({
    path: "hold",
    summary: "stop automatic bootstrap and disaster recovery, also without a quorum",
    details:
      "Kept on this node's disk, honoured by every node that sees it by gossip. Members still restart, and nodes still join.",
    flags: {
      ...controlFlags,
      release: toggle("end the hold of this node"),
      reason: text("TEXT", "reason that every node shows with the hold", { default: "" }),
    },
    check: ({ release, reason }) =>
      release && reason !== "" ? ["--reason and --release exclude each other: pass one of them"] : [],
    run: async (values) => {
      const { release, reason } = values;
      return await controlNode({ command: "hold", release, reason }, values);
    },
  }),
  command({
    path: "restore approve",
    summary: "approve a restore that waits for an operator",
    flags: controlFlags,
    operands: [{ name: "PLAN", help: 'name of the plan as printed by "e2d status"', required: true }],
    run: async (values, [plan]) => await controlNode({ command: "approve", plan }, values),
  }),
];
