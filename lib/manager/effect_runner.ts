/**
 * Executes the core's effects through the adapters, and returns each result as an event. It decides nothing: no effect
 * is retried, reordered or dropped here.
 */
import { describeError, isE2dError } from "../errors.ts";
import type { AnsweredEffect, Effect, JournalEntry } from "../core/facts/effect.ts";
import type { Event, Now } from "../core/facts/event.ts";
import { type EffectAdapters, execute } from "./execute_effect.ts";
import type { EventQueue } from "./event_queue.ts";
import { logMessage } from "./status/decision_text.ts";
import { readRecord } from "./data_dir/node_record.ts";
import { withoutUndefined } from "../without_undefined.ts";
import type { DataDir } from "../core/facts/data_dir.ts";

export class EffectRunner {
  readonly events: EventQueue<Event>;
  readonly #adapters: EffectAdapters;
  #timer = new AbortController();
  #exitCode = 0;

  /** The adapters push into `events`, so the queue is created before them. */
  constructor(adapters: EffectAdapters, events: EventQueue<Event>) {
    this.#adapters = adapters;
    this.events = events;
  }

  get exitCode(): number {
    return this.#exitCode;
  }

  now(): Now {
    const { clock } = this.#adapters;
    return { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
  }

  perform(effect: Effect): void {
    const { clock, cluster, gossip, snapshots } = this.#adapters;
    switch (effect.kind) {
      case "inspectData":
        return void this.#inspect();
      case "probe":
        for (const endpoint of effect.endpoints) {
          const askedMs = clock.monotonicMs();
          void cluster.probe(endpoint).then((probe) => this.events.push({ kind: "probed", endpoint, probe, askedMs }));
        }
        return;
      case "probeRaft":
        return void cluster.probeRaft(effect.endpoint).then((probe) => this.events.push({ kind: "raftProbed", probe }));
      case "lookUpSnapshot":
        return void snapshots.latestSnapshot().then((lookup) => this.events.push({ kind: "snapshotLookedUp", lookup }));
      case "readPlan":
        return void this.#readPlan();
      case "setStatus":
        return gossip?.setStatus(effect.status);
      case "publishFacts":
        return gossip?.publish(effect.facts);
      case "keepPause":
        return this.#adapters.keepPause(effect.mark);
      case "abortSnapshot":
        return snapshots.abortTake();
      case "shunPeers":
        return gossip?.shun(effect.names);
      case "reply":
        return this.#adapters.reply(effect.commandId, effect.answer);
      case "armTimer":
        return this.#arm(effect.atMs - clock.monotonicMs());
      case "journal":
        return this.#journal(effect.entry);
      case "exit":
        this.#exitCode = effect.code;
        this.#timer.abort();
        return this.events.close();
      default:
        return void this.#answer(effect);
    }
  }

  /** Pushes exactly one `done` or `failed` event, also for an unexpected error. */
  async #answer(effect: AnsweredEffect): Promise<void> {
    const { id } = effect;
    try {
      this.events.push({ kind: "done", id, value: await execute(effect, this.#adapters) });
    } catch (error) {
      const code = isE2dError(error) ? error.code : "unexpected";
      if (!isE2dError(error)) {
        this.#adapters.log.error(`unexpected error in ${effect.kind}`, {
          error: error instanceof Error ? error.stack ?? error.message : String(error),
        });
      }
      this.events.push({ kind: "failed", id, code, message: describeError(error) });
    }
  }

  async #inspect(): Promise<void> {
    const { files, dataDir, inspectDataDir } = this.#adapters;
    let data: DataDir = await inspectDataDir();
    try {
      const record = await readRecord(files, dataDir);
      this.events.push({ kind: "dataInspected", data, ...withoutUndefined({ record }) });
    } catch (error) {
      data = { kind: "unreadable", why: describeError(error) };
      this.events.push({ kind: "dataInspected", data });
    }
  }

  async #readPlan(): Promise<void> {
    try {
      const plan = await this.#adapters.cluster.readPlan();
      this.events.push({ kind: "plan", ...withoutUndefined({ plan }) });
    } catch (error) {
      // The core reads the plan again later; the last known plan stays valid until then.
      this.#adapters.log.debug("cannot read the plan", { error: describeError(error) });
    }
  }

  #arm(inMs: number): void {
    this.#timer.abort();
    this.#timer = new AbortController();
    this.#adapters.clock.sleep(Math.max(0, inMs), this.#timer.signal).then(
      () => this.events.push({ kind: "timer" }),
      () => {},
    );
  }

  #journal(entry: JournalEntry): void {
    const { journal, log, clock } = this.#adapters;
    const repeated = journal.add(entry, clock.wallMs());
    const { reason, facts } = entry;
    log[repeated ? "debug" : entry.level](logMessage(entry), {
      phase: entry.phase,
      outcome: entry.outcome,
      reason: reason.code,
      hint: reason.hint,
      ...facts,
    });
  }
}
