/** Whether a simulated cluster is in the required state after all faults have ended. */
import { configOf, type ConfMember } from "./fake_etcd.ts";
import { type Machine, production, type World } from "./world.ts";

/** What is still missing; undefined: all members serve, and every other node is a standby node. */
export function notWhole(world: World, owner = production): string | undefined {
  const machines = [...world.machines.values()].filter((machine) => machine.owner === owner);
  const leaders = [...world.etcds.running.values()].filter((member) =>
    member.leaderId === member.data.memberId && world.machines.get(member.node)?.owner === owner
  );
  if (leaders.length !== 1) return `${leaders.length} leaders`;
  const leader = leaders[0]!;
  const config = configOf(leader.data);
  const plan = world.plans.get(leader.data.clusterId);
  if (plan !== undefined) return `"${plan.text}" is not done`;
  const size = world.record.get(leader.data.clusterId)?.size ?? world.size;
  if (config.length !== size || config.some((member) => member.isLearner)) {
    return `${config.length} members: ${config.map((member) => member.name + (member.isLearner ? "?" : "")).join(" ")}`;
  }
  for (const member of config) {
    const machine = machineOf(world, machines, member);
    if (machine?.node?.phase !== "serving") return `"${member.name}" is ${machine?.node?.phase ?? "gone"}`;
    if (world.memberOf(machine.name)?.frozen) return `the etcd of "${member.name}" hangs`;
  }
  for (const machine of machines) {
    if (config.some((member) => machineOf(world, machines, member) === machine)) continue;
    const waits = machine.node?.reports.waitingFor?.code;
    // Data of a cluster that lost its majority, or that never had a leader because of a power failure during its
    // bootstrap, beside a cluster that was bootstrapped without it: an operator decides.
    const theirs = world.referee.clusters.get(machine.disk.data?.clusterId ?? "");
    const orphan = waits === "other_cluster" && (theirs === undefined || theirs.dead || !theirs.led);
    if (waits !== "standby" && !orphan) return `"${machine.name}" is no standby node: ${machine.node?.phase} ${waits}`;
  }
  return undefined;
}

function machineOf(world: World, machines: readonly Machine[], { name, peerUrl }: ConfMember): Machine | undefined {
  const named = machines.filter((machine) => machine.nodeName === name);
  return named.find((machine) => world.identity(machine).peerUrl === peerUrl) ?? named[0];
}
