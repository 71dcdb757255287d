/**
 * Golden stories: a file is a row of blocks, each some commands, a line of four dashes, and what the nodes said and
 * decided meanwhile. Nothing in a story is left to chance: everything takes its middle time, and no message is lost
 * unless it is cut.
 */
import type { Settings } from "../../lib/core/view.ts";
import { configOf, hashText } from "../sim/fake_etcd.ts";
import { type Machine, World } from "../sim/world.ts";

export interface Block {
  readonly head: readonly string[];
  readonly commands: readonly string[];
  readonly expected: readonly string[];
}

export function parseStory(text: string): Block[] {
  const blocks: Block[] = [];
  let head: string[] = [];
  let commands: string[] = [];
  let expected: string[] | undefined;
  const end = () => {
    if (expected !== undefined) blocks.push({ head, commands, expected });
    if (expected !== undefined) [head, commands, expected] = [[], [], undefined];
  };
  for (const line of text.split("\n")) {
    if (line === "----") expected = [];
    else if (line === "") end();
    else if (expected !== undefined) expected.push(line);
    else if (line.startsWith("#")) head.push(line);
    else commands.push(line);
  }
  end();
  return blocks;
}

export function renderStory(blocks: readonly Block[], spoken: readonly (readonly string[])[]): string {
  return blocks.map((block, index) => [...block.head, ...block.commands, "----", ...spoken[index]!].join("\n") + "\n")
    .join("\n");
}

/** What each block's nodes said. */
export function playStory(blocks: readonly Block[]): string[][] {
  let world: World | undefined;
  const spoken: string[][] = [];
  for (const { commands } of blocks) {
    const from = world?.said.length ?? 0;
    for (const command of commands) world = obey(command, world);
    const said = world!.said.slice(from);
    // A wait that was over within a second is noise to a reader, and so is its end.
    const told = said.filter((line, index) => {
      if (line.wait) return !said.slice(index + 1).some((next) => next.node === line.node && next.ms - line.ms < 1_000);
      if (!line.over) return true;
      const before = world!.said.slice(0, from + index).findLast(({ node, wait }) => wait && node === line.node);
      return before === undefined || line.ms - before.ms >= 1_000;
    });
    spoken.push(told.map((line) => line.text));
  }
  return spoken;
}

function durationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m)$/.exec(text);
  if (match === null) throw new Error(`"${text}" is no duration`);
  return Number(match[1]) * { ms: 1, s: 1_000, m: 60_000 }[match[2]!]!;
}

function obey(command: string, world: World | undefined): World {
  const words = command.split(" ");
  const names = words.slice(1).filter((word) => !word.includes("="));
  const options = new Map(
    words.slice(1).filter((word) => word.includes("=")).map((word) => {
      const at = word.indexOf("=");
      return [word.slice(0, at), word.slice(at + 1)] as const;
    }),
  );
  if (words[0] === "nodes") return makeWorld(names, options);
  if (world === undefined) throw new Error("a story begins with nodes");
  const free = ["add", "advance", "move", "scale", "upgrade"].includes(words[0]!);
  const machines = names.map((name) => {
    const machine = world.machines.get(name);
    if (machine === undefined && !free) {
      throw new Error(`there is no node "${name}"`);
    }
    return machine!;
  });
  const each = (deed: (machine: Machine) => void) => machines.forEach(deed);
  switch (words[0]) {
    case "advance":
      world.run(world.nowMs + durationMs(words[1]!));
      break;
    case "boot":
      each((machine) => world.boot(machine));
      break;
    case "kill":
      each((machine) => world.kill(machine));
      break;
    case "stop":
      each((machine) => world.deliver(machine, { kind: "stop" }));
      break;
    case "lose-disk":
      each((machine) => world.loseDisk(machine));
      break;
    case "damage":
      each((machine) => machine.disk.damaged = true);
      break;
    case "unreadable":
      each((machine) => machine.disk.unreadable = true);
      break;
    case "pause":
      each((machine) => world.pause(machine, true));
      break;
    case "resume":
      each((machine) => world.resume(machine));
      break;
    case "cut":
      each((a) => {
        for (const b of world.machines.keys()) if (!names.includes(b)) world.cut.add(`${a.name} ${b}`);
      });
      break;
    case "heal":
      world.cut.clear();
      break;
    case "add":
      for (const name of names) world.addMachine(name, name, { seeds: seedsOf(world), ...settingsOf(options) });
      break;
    case "move": {
      const machine = world.machines.get(names[0]!)!;
      machine.address = names[1]!;
      break;
    }
    case "set":
      each((machine) => {
        machine.settings = { ...machine.settings, ...settingsOf(options) };
        world.deliver(machine, { kind: "settings", settings: machine.settings });
      });
      break;
    case "store":
      setStore(world, options.get("snapshot") ?? "absent", options);
      break;
    case "approve":
      each((machine) => {
        const plan = machine.node?.progress.founding?.digest.slice(0, 16) ?? "none";
        machine.settings = { ...machine.settings, approved: [...machine.settings.approved, plan] };
        world.deliver(machine, { kind: "settings", settings: machine.settings });
      });
      break;
    case "scale":
    case "upgrade": {
      const asked = world.machines.get(words[1]!) ?? world.leading()!;
      const what = words[0] === "scale" ? { scale: Number(words[2]) } : { upgrade: words[2]! };
      const why = world.request(asked, what);
      if (why !== undefined) world.said.push({ ms: world.nowMs, node: "", text: `refused: ${why}` });
      break;
    }
    case "kill-leader":
      world.kill(world.leading()!);
      break;
    case "versions": {
      const text = [...world.machines.values()].map((machine) => `${machine.name} ${machine.version}`).join(", ");
      world.said.push({ ms: world.nowMs, node: "", text });
      break;
    }
    case "members": {
      // The cluster's own list, as its leader has it.
      const leader = [...world.etcds.running.values()].find((member) => member.leaderId === member.data.memberId);
      const members = leader === undefined ? [] : configOf(leader.data);
      const text = members.map((member) => (member.name || "unnamed") + (member.isLearner ? " (learner)" : ""));
      world.said.push({
        ms: world.nowMs,
        node: "",
        wait: false,
        text: `the cluster: ${text.sort().join(", ") || "none"}`,
      });
      break;
    }
    case "show":
      each((machine) => {
        const { disk } = machine;
        const holds = disk.data === undefined ? "no data" : `data of member ${disk.data.memberId.slice(0, 4)}`;
        const aside = disk.aside.map(({ label }) => label).join(" ") || "nothing";
        world.said.push({
          ms: world.nowMs,
          node: "",
          wait: false,
          text:
            `${machine.name} is ${
              machine.go && world.isUp(machine) ? "up (go)" : machine.node?.phase ?? "down"
            }, status ${machine.status}, ${holds}, aside: ${aside}` +
            (machine.exitCode === undefined ? "" : `, exit code ${machine.exitCode}`),
        });
      });
      break;
    default:
      throw new Error(`a story knows no command "${command}"`);
  }
  return world;
}

function makeWorld(names: readonly string[], options: ReadonlyMap<string, string>): World {
  const world = new World({ seed: 1, calm: true, size: Number(options.get("required") ?? names.length) });
  world.referee.recoveriesAllowed = options.has("quorum-loss");
  const go = options.get("go")?.split(",") ?? [];
  for (const name of names) world.addMachine(name, name, settingsOf(options), go.includes(name));
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
  if (options.has("paused")) settings["paused"] = options.get("paused") === "true";
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
