/** The commands of golden stories: each changes the simulated world, or adds a line to its output. */
import { configOf, hashText } from "../sim/fake_etcd.ts";
import { copyOf, type Machine, production, World } from "../sim/world.ts";
import type { Command, CommandAnswer } from "../../lib/core/facts/command.ts";
import type { Settings } from "../../lib/core/facts/settings.ts";

/** Data on the volumes that are not mounted. */
const volumes = new WeakMap<Machine, Machine["disk"]["data"]>();

interface Arguments {
  readonly world: World;
  /** The words without "=". */
  readonly names: readonly string[];
  /** The machines of `names`; undefined for a name that is no machine, which only some commands permit. */
  readonly machines: readonly Machine[];
  /** The words with "=", as name and value. */
  readonly options: ReadonlyMap<string, string>;
}

type Run = (args: Arguments) => void;

/** Commands whose words need not be names of machines. */
const withFreeWords = new Set(["add", "advance", "clone", "move", "scale", "upgrade"]);

/** Runs one command and returns the world, which the command "nodes" creates. */
export function execute(command: string, world: World | undefined): World {
  const [verb, ...words] = command.split(" ") as [string, ...string[]];
  const names = words.filter((word) => !word.includes("="));
  const options = new Map(
    words.filter((word) => word.includes("=")).map((word) => {
      const at = word.indexOf("=");
      return [word.slice(0, at), word.slice(at + 1)] as const;
    }),
  );
  if (verb === "nodes") return makeWorld(names, options);
  if (world === undefined) throw new Error("a story begins with nodes");
  const machines = names.map((name) => {
    const machine = world.machines.get(name);
    if (machine === undefined && !withFreeWords.has(verb)) throw new Error(`there is no node "${name}"`);
    return machine!;
  });
  const run = commands[verb];
  if (run === undefined) throw new Error(`a story has no command "${command}"`);
  run({ world, names, machines, options });
  return world;
}

/** A command that does the same for each machine. */
const forEach = (run: (machine: Machine, args: Arguments) => void): Run => (args) =>
  args.machines.forEach((machine) => run(machine, args));

const print = (world: World, text: string, more: { wait?: false } = {}) =>
  world.output.push({ ms: world.nowMs, node: "", text, ...more });

const processCommands: Record<string, Run> = {
  "advance": ({ world, names }) => world.run(world.nowMs + durationMs(names[0]!)),
  "boot": forEach((machine, { world }) => world.boot(machine)),
  "kill": forEach((machine, { world }) => world.kill(machine)),
  "kill-leader": ({ world }) => world.kill(world.leading()!),
  /** After the next effect of that kind: its result is on disk, and no later one. */
  "crash-after": forEach((machine, { options }) => {
    machine.crashAfter = options.get("effect") as typeof machine.crashAfter;
  }),
  "stop": forEach((machine, { world }) => world.deliver(machine, { kind: "stop" })),
  "pause": forEach((machine, { world }) => world.pause(machine, true)),
  "resume": forEach((machine, { world }) => world.resume(machine)),
  "hang-e2d": forEach((machine, { world }) => world.pause(machine, false)),
  "hang": forEach((machine, { world, options }) =>
    world.hang(machine, { forGood: options.get("for-good") === "true", logs: options.get("logs") === "true" })
  ),
};

const diskCommands: Record<string, Run> = {
  "lose-disk": forEach((machine, { world }) => world.loseDisk(machine)),
  /** An unmounted volume: its data exists, and its mount point is empty. */
  "unmount": forEach((machine, { world }) => {
    world.trace(`${machine.name}'s volume is not mounted`);
    volumes.set(machine, machine.disk.data);
    machine.disk.data = undefined;
  }),
  "mount": forEach((machine) => machine.disk.data = volumes.get(machine)),
  "lose-record": forEach((machine) => machine.disk.record = undefined),
  "damage": forEach((machine) => machine.disk.damaged = true),
  "unreadable": forEach((machine) => machine.disk.unreadable = true),
  /** A copy of a machine's disk, including the name of its node, on another machine. */
  "clone": ({ world, names, machines: [from] }) => {
    const copy = world.addMachine(names[1]!, { settings: from!.settings, nodeName: from!.nodeName });
    copy.disk = copyOf(from!.disk);
  },
  "keep-image": forEach((machine, { world }) => world.images.set(machine.name, copyOf(machine.disk))),
  "old-image": forEach((machine, { world, options }) => {
    machine.disk = copyOf(world.images.get(machine.name)!);
    // If no record shows the rollback, acknowledged writes are lost.
    if (options.get("unknowable") === "true") world.referee.wentBack(machine.disk.data!, true);
  }),
};

const networkCommands: Record<string, Run> = {
  "cut": forEach(({ name }, { world, names }) => {
    for (const other of world.machines.keys()) if (!names.includes(other)) world.cut.add(`${name} ${other}`);
  }),
  "heal": ({ world }) => {
    world.cut.clear();
    world.raftOnly.clear();
  },
  "block": forEach((machine, { world }) => world.raftOnly.add(machine.name)),
  "move": ({ machines: [machine], names }) => machine!.address = names[1]!,
  "add": ({ world, names, options }) => {
    for (const name of names) {
      world.addMachine(name, {
        settings: { seeds: seedsOf(world), ...settingsOf(options) },
        ...(options.has("name") ? { nodeName: options.get("name")! } : {}),
      });
    }
  },
  "set": forEach((machine, { world, options }) => changeSettings(world, machine, settingsOf(options))),
  "seeds": forEach((machine, { options }) => {
    const seeds = options.get("seeds")!.split(",").map((name) => `${name}:7980`);
    machine.settings = { ...machine.settings, seeds };
  }),
};

const storeCommands: Record<string, Run> = {
  "store": ({ world, options }) => setStore(world, options.get("snapshot") ?? "absent", options),
  "clients": ({ world, options }) => world.referee.idle = options.get("writes") === "off",
  /** A restore of the newest snapshot elsewhere that saves to the same store. */
  "drill": ({ world }) => {
    const { store } = world;
    if (store.kind !== "newest") throw new Error("a drill requires a snapshot");
    const { lineage, revision, values } = store.snapshot;
    world.storeOf(production).save({
      hash: hashText(`drill ${revision}`),
      values,
      revision: revision + 1_000_000_000,
      lineage: { ...lineage, epoch: lineage.epoch + 1, token: "drill" },
      takenAtWallMs: world.now().wallMs,
    });
  },
};

/** Runs until the node has replied, and shows a refusal. A node answers within two probes of five seconds. */
function untilReplied(world: World, send: (onReply: (answer: CommandAnswer) => void) => void): void {
  let answer: CommandAnswer | undefined;
  send((given) => answer = given);
  for (const untilMs = world.nowMs + 11_000; answer === undefined && world.nowMs < untilMs;) world.run(world.nowMs + 1);
  if (answer === undefined) print(world, "no reply");
  else if (answer.kind === "refused") print(world, `refused: ${answer.why}`);
}

const send = (world: World, machine: Machine, command: Command) =>
  untilReplied(world, (onReply) => world.operators.send(machine, command, onReply));

const setHold = (holds: boolean) =>
  forEach((machine, { world }) => {
    if (machine.node === undefined) world.operators.hold(machine, holds);
    else untilReplied(world, (onReply) => world.operators.hold(machine, holds, onReply));
  });

const requestPlan = (commandOf: (target: string) => Command): Run => ({ world, names }) =>
  send(world, world.machines.get(names[0]!) ?? world.leading()!, commandOf(names[1]!));

const operatorCommands: Record<string, Run> = {
  "e2d-pause": forEach((machine, { world }) => send(world, machine, { kind: "pause", dryRun: false })),
  "e2d-resume": forEach((machine, { world }) => send(world, machine, { kind: "resume", dryRun: false })),
  "hold": setHold(true),
  "release": setHold(false),
  "scale": requestPlan((size) => ({ kind: "scale", to: Number(size), dryRun: false })),
  "upgrade": requestPlan((to) => ({ kind: "upgrade", to, dryRun: false })),
  "approve": forEach((machine, { world, options }) => {
    const choices = machine.node?.reports.waitingFor?.choices ??
      [{ plan: machine.node?.bootstrap.progress.plan?.digest.slice(0, 16) ?? "none", label: "" }];
    const { plan, label } = choices[Number(options.get("choice") ?? "1") - 1]!;
    if (label.startsWith("quarantine")) world.referee.evidence.givenUp.add(machine.disk.data!.clusterId);
    send(world, machine, { kind: "approve", plan, dryRun: false });
  }),
};

const outputCommands: Record<string, Run> = {
  "versions": ({ world }) =>
    print(world, [...world.machines.values()].map(({ name, version }) => `${name} ${version}`).join(", ")),
  /** The member list of the leader. */
  "members": ({ world }) => {
    const leader = [...world.etcds.running.values()].find((member) => member.leaderId === member.data.memberId);
    const members = leader === undefined ? [] : configOf(leader.data);
    const names = members.map((member) => (member.name || "unnamed") + (member.isLearner ? " (learner)" : ""));
    print(world, `the cluster: ${names.sort().join(", ") || "none"}`, { wait: false });
  },
  "show": forEach((machine, { world }) => {
    const { disk, exitCode } = machine;
    const data = disk.data === undefined ? "no data" : `data of member ${disk.data.memberId.slice(0, 4)}`;
    const aside = disk.aside.map(({ label }) => label).join(" ") || "nothing";
    const phase = machine.go && world.isUp(machine) ? "up (go)" : machine.node?.phase ?? "down";
    const exit = exitCode === undefined ? "" : `, exit code ${exitCode}`;
    print(world, `${machine.name} is ${phase}, status ${machine.status}, ${data}, aside: ${aside}${exit}`, {
      wait: false,
    });
  }),
};

const commands: Readonly<Record<string, Run | undefined>> = {
  ...processCommands,
  ...diskCommands,
  ...networkCommands,
  ...storeCommands,
  ...operatorCommands,
  ...outputCommands,
};

function changeSettings(world: World, machine: Machine, change: Partial<Settings>): void {
  machine.settings = { ...machine.settings, ...change };
  world.deliver(machine, { kind: "settings", settings: machine.settings });
}

function makeWorld(names: readonly string[], options: ReadonlyMap<string, string>): World {
  const world = new World({ seed: 1, calm: true, size: Number(options.get("required") ?? names.length) });
  world.referee.recoveriesAllowed = options.has("quorum-loss");
  const go = options.get("go")?.split(",") ?? [];
  for (const name of names) world.addMachine(name, { settings: settingsOf(options), go: go.includes(name) });
  if (options.get("gossip") !== "off") {
    const seeds = options.get("seeds")?.split(",").map((name) => `${name}:7980`) ?? seedsOf(world);
    for (const machine of world.machines.values()) machine.settings = { ...machine.settings, seeds };
  }
  setStore(world, options.get("snapshot") ?? "off", options);
  return world;
}

const seedsOf = (world: World) => [...world.machines.values()].map((machine) => `${machine.address}:7980`);

function settingsOf(options: ReadonlyMap<string, string>): Partial<Settings> {
  const settings: Record<string, unknown> = {};
  const size = options.get("n");
  if (size !== undefined) settings["requiredSize"] = Number(size);
  if (options.get("gossip") === "off") settings["gossip"] = false;
  if (options.has("snapshot")) settings["snapshots"] = options.get("snapshot") !== "off";
  if (options.has("restore")) settings["restore"] = options.get("restore");
  if (options.has("new-cluster")) settings["newCluster"] = options.get("new-cluster");
  const loss = options.get("quorum-loss");
  if (loss !== undefined) settings["quorumLossTimeoutMs"] = durationMs(loss);
  const maxAge = options.get("max-age");
  if (maxAge !== undefined) settings["restoreMaxAgeMs"] = durationMs(maxAge);
  return settings as Partial<Settings>;
}

function setStore(world: World, kind: string, options: ReadonlyMap<string, string>): void {
  switch (kind) {
    case "off":
    case "absent":
      world.store = { kind: "absent" };
      return;
    case "unreadable":
      world.store = { kind: "unreadable", why: `"s3://backups/db": 403` };
      return;
    case "newest": {
      const revision = Number(options.get("revision") ?? 1_000);
      const epoch = Number(options.get("epoch") ?? 1);
      world.store = {
        kind: "newest",
        snapshot: {
          hash: hashText(`stored ${revision}`),
          values: [],
          revision,
          lineage: { id: options.get("lineage") ?? "old", epoch, token: "old-token" },
          takenAtWallMs: world.now().wallMs - 3_600_000,
        },
      };
      world.epochMax = epoch;
      return;
    }
    default:
      throw new Error(`a store is off, absent, unreadable or newest, not "${kind}"`);
  }
}

function durationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m)$/.exec(text);
  if (match === null) throw new Error(`"${text}" is no duration`);
  return Number(match[1]) * { ms: 1, s: 1_000, m: 60_000 }[match[2]!]!;
}
