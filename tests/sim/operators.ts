/**
 * Commands of operators in a simulated world: each enters a node as the `command` event that its manager delivers, and
 * ends with the node's `reply`. Durations come from a generator of their own: a command changes no other draw of a seed.
 */
import type { Command, CommandAnswer } from "../../lib/core/facts/command.ts";
import type { Settings } from "../../lib/core/facts/settings.ts";
import type { Effect } from "../../lib/core/facts/effect.ts";
import { hashText } from "./fake_etcd.ts";
import { Prng } from "./prng.ts";
import type { Machine, World } from "./world.ts";

type OnReply = (answer: CommandAnswer) => void;

export class Operators {
  readonly #world: World;
  readonly #chance: Prng;
  /** By command id. A process that ends leaves its commands unanswered. */
  readonly #waiting = new Map<string, OnReply>();
  #sent = 0;

  constructor(world: World) {
    this.#world = world;
    this.#chance = new Prng(world.options.seed);
  }

  /** Sends one command to a node; `onReply` is called at once if the node does not run. */
  send(machine: Machine, command: Command, onReply: OnReply = () => {}): void {
    this.#world.trace(`an operator runs ${textOf(command)} at ${machine.name}`);
    if (machine.node === undefined) return onReply({ kind: "refused", why: "the node does not run" });
    const id = hashText(`command ${this.#sent++}`);
    this.#waiting.set(id, onReply);
    this.#world.deliver(machine, { kind: "command", id, command });
  }

  /** `e2d hold` or its release. At a machine that is down: what its next process reads from the disk. */
  hold(machine: Machine, holds: boolean, onReply?: OnReply): void {
    if (machine.node !== undefined) {
      return this.send(machine, { kind: holds ? "hold" : "releaseHold", dryRun: false }, onReply);
    }
    this.setHold(machine, holds ? { sinceWallMs: this.#world.now(machine).wallMs } : undefined);
  }

  /** The hold on the disk of a machine, as `writeHold` leaves it. */
  setHold(machine: Machine, hold: Settings["hold"]): void {
    const { hold: _, ...settings } = machine.settings;
    machine.settings = hold === undefined ? settings : { ...settings, hold };
    machine.heldSinceMs = hold === undefined ? undefined : this.#world.nowMs;
  }

  reply(machine: Machine, { commandId, answer }: Extract<Effect, { kind: "reply" }>): void {
    this.#world.trace(`${machine.name} replies: ${answer.kind === "done" ? answer.text : `refused: ${answer.why}`}`);
    this.#waiting.get(commandId)?.(answer);
    this.#waiting.delete(commandId);
  }

  /** Duration of a probe for a command, or of an effect that only commands request. */
  delayMs(): number {
    return this.#world.options.calm === true ? 7 : 2 + this.#chance.below(10);
  }
}

/** True for the probe that this node's oldest command has just asked for. */
export function isOfCommand({ node }: Machine, { endpoints }: Extract<Effect, { kind: "probe" }>): boolean {
  return node?.operator.commands[0]?.awaited === endpoints;
}

function textOf(command: Command): string {
  const { kind } = command;
  if (kind === "scale" || kind === "upgrade") return `e2d ${kind} ${command.to}`;
  if (kind === "approve") return `e2d restore approve ${command.plan}`;
  return kind === "releaseHold" ? "e2d hold --release" : `e2d ${kind}`;
}
