/**
 * The control socket of a running node: turns each admin request into one `command` event for the core, and hands the
 * core's `reply` back to the requester. Decides nothing and asks no member.
 */
import type { Clock, Random } from "../ports.ts";
import type { Command, CommandAnswer } from "../core/facts/command.ts";
import type { Event } from "../core/facts/event.ts";
import { type Json, object, text } from "./data_dir/json.ts";

/** Longer than the slowest command in the core: two rounds of probes and three etcd calls of 5 s each. */
const answerTimeoutMs = 30_000;
const whyMaxChars = 200;

export interface AdminRequestsOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly deliver: (event: Extract<Event, { kind: "command" }>) => void;
}

const refused = (why: string): CommandAnswer => ({ kind: "refused", why });

export class AdminRequests {
  readonly #options: AdminRequestsOptions;
  readonly #waiting = new Map<string, (answer: CommandAnswer) => void>();
  #closed = false;

  constructor(options: AdminRequestsOptions) {
    this.#options = options;
  }

  /** Answers within 30 s. An invalid request is refused. Never throws. */
  async handle(request: unknown): Promise<CommandAnswer> {
    let command: Command;
    try {
      command = commandOf(request);
    } catch (error) {
      return refused(error instanceof Error ? error.message : String(error));
    }
    if (this.#closed) return refused(stopping);
    const { clock, random, deliver } = this.#options;
    const id = random.bytes(4).toHex();
    const { promise, resolve } = Promise.withResolvers<CommandAnswer>();
    this.#waiting.set(id, resolve);
    const answered = new AbortController();
    clock.sleep(answerTimeoutMs, answered.signal).then(
      () =>
        this.reply(
          id,
          refused("this node did not answer within 30 s; the command may still be executed: check e2d status"),
        ),
      () => {},
    );
    deliver({ kind: "command", id, command });
    try {
      return await promise;
    } finally {
      answered.abort();
    }
  }

  /** Hands the core's answer to the requester; dropped when the request has timed out. */
  reply(id: string, answer: CommandAnswer): void {
    this.#waiting.get(id)?.(answer);
    this.#waiting.delete(id);
  }

  /** Refuses all pending and all later requests. */
  close(): void {
    this.#closed = true;
    for (const id of [...this.#waiting.keys()]) this.reply(id, refused(stopping));
  }
}

const stopping = "this node is stopping";

/** Throws an Error for an unknown command or a missing argument. */
function commandOf(request: unknown): Command {
  const asked = object(request);
  const dryRun = asked.dryRun === true;
  switch (asked.command) {
    case "scale":
      return { kind: "scale", to: Number(asked.to), dryRun };
    case "upgrade":
      return { kind: "upgrade", to: text(asked.to), dryRun };
    case "defrag":
    case "pause":
    case "resume":
    case "cancel":
      return { kind: asked.command, dryRun };
    case "hold":
      return { ...holdOf(asked), dryRun };
    case "approve":
      return { kind: "approve", plan: text(asked.plan), dryRun };
    default:
      throw new Error(`unknown command "${asked.command}"`);
  }
}

function holdOf({ release, reason }: Json): { kind: "releaseHold" } | { kind: "hold"; why?: string } {
  if (release === true) return { kind: "releaseHold" };
  if (typeof reason !== "string" || reason === "") return { kind: "hold" };
  return { kind: "hold", why: reason.slice(0, whyMaxChars) };
}
