/**
 * The node's own etcd: started, watched until it answers, stopped. Says what happens; whether it is started again, and
 * how, lib/core decides.
 */
import { E2dError } from "../errors.ts";
import type { Clock, Logger, Processes } from "../ports.ts";
import type { EtcdStart } from "../core/effect.ts";
import type { Event } from "../core/event.ts";
import { etcdArgs, type EtcdSettings } from "../etcd/args.ts";
import { exitHint } from "../etcd/exit_cause.ts";
import { type EtcdExit, type EtcdProcess, startEtcdProcess } from "../etcd/process.ts";
import type { EtcdPrograms } from "../etcd/provider.ts";
import { isBefore, minorAfter } from "../etcd/version.ts";
import type { Hold } from "./hold.ts";

export interface EtcdSideOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly processes: Processes;
  readonly hold: Hold;
  /** The etcd to run, unless data or cluster are of a newer minor version. */
  readonly programs: EtcdPrograms;
  /** The newest etcd of a minor version, "3.7". */
  readonly provide: (minor: string) => Promise<EtcdPrograms>;
  /** All but the version. */
  readonly settings: Omit<EtcdSettings, "version">;
  /** True when the own etcd answers and knows a leader. Bounded in time by its maker; never throws. */
  readonly hasLeader: () => Promise<boolean>;
  readonly deliver: (event: Extract<Event, { kind: "etcd" | "etcdExited" }>) => void;
}

/** A big database takes its time to close, and a leader to hand over. */
const stopTimeoutMs = 60_000;
const eagerMs = 3_000;
const eagerEveryMs = 20;
const everyMs = 200;

export class EtcdSide {
  readonly #options: EtcdSideOptions;
  #programs: EtcdPrograms;
  #process: EtcdProcess | undefined;
  #stopping = false;
  #lastExit: EtcdExit | undefined;

  constructor(options: EtcdSideOptions) {
    this.#options = options;
    this.#programs = options.programs;
  }

  get running(): boolean {
    return this.#process !== undefined;
  }

  get programs(): EtcdPrograms {
    return this.#programs;
  }

  /** How it last ended by itself. */
  get lastExit(): EtcdExit | undefined {
    return this.#lastExit;
  }

  /**
   * The etcd to run from now on is of this minor version or a newer one: after an upgrade `--etcd-version` may still name
   * the former. Throws what `provide` throws.
   */
  async requireAtLeast(minor: string | undefined): Promise<void> {
    const { version } = this.#programs;
    if (minor === undefined || !isBefore(version, minor)) return;
    this.#programs = await this.#options.provide(minor);
    this.#options.log.warn("the cluster is newer than the etcd that this node had, which could not serve it", {
      had: version,
      runs: this.#programs.version,
    });
  }

  /** Resolves when the process runs, which says nothing of its health. Throws E2dError `process_start`. */
  async start(start: EtcdStart): Promise<void> {
    if (this.#process !== undefined) return;
    if (start.state !== "new") await this.requireAtLeast(start.atLeast);
    // What is in etcd's log alone, nothing but an etcd reads: right after an upgrade the database does not say it yet.
    if (this.#lastExit?.cause === "version_too_old") {
      await this.requireAtLeast(minorAfter(this.#programs.version));
      this.#lastExit = undefined;
    }
    const { clock, log, processes, hold, settings } = this.#options;
    const args = etcdArgs({ ...settings, version: this.#programs.version }, start);
    log.info("starting etcd", { version: this.#programs.version, state: start.state, program: this.#programs.etcd });
    log.debug("etcd arguments", { args });
    const child = await startEtcdProcess(this.#programs.etcd, args, {
      processes,
      clock,
      log: log.with({ part: "etcd" }),
    });
    this.#process = child;
    this.#stopping = false;
    void hold.noteEtcd(child.pid);
    void child.exited.then((exit) => this.#ended(child, exit));
    void this.#awaitLeader(child);
  }

  /** Resolves when no etcd runs. */
  async stop(): Promise<void> {
    const child = this.#process;
    if (child === undefined) return;
    this.#stopping = true;
    this.#options.log.info("stopping etcd", { pid: child.pid });
    await child.stop(stopTimeoutMs);
  }

  /** Stops and starts it again with other programs on the same data-dir; the end in between is no news. */
  async change(programs: EtcdPrograms): Promise<void> {
    if (this.#process === undefined) throw new E2dError("etcd_not_running", "Cannot change etcd's version: it is down");
    await this.stop();
    this.#programs = programs;
    await this.start({ state: "restart", othersServe: true });
  }

  /** Stops it for as long as `work` takes, and starts it again on its data if it ran; says nothing of that. */
  async without<T>(work: () => Promise<T>): Promise<T> {
    const ran = this.running;
    await this.stop();
    try {
      return await work();
    } finally {
      if (ran) await this.start({ state: "restart", othersServe: false });
    }
  }

  /** Ends it now. */
  hurry(): void {
    this.#process?.hurry();
  }

  #ended(child: EtcdProcess, exit: EtcdExit): void {
    const { log, hold, deliver } = this.#options;
    this.#process = undefined;
    void hold.noteEtcd(undefined);
    if (this.#stopping) {
      log.info("etcd has stopped", { pid: child.pid, code: exit.code });
      return;
    }
    this.#lastExit = exit;
    const hint = exitHint(exit.cause);
    log.error("etcd ended by itself", {
      pid: child.pid,
      code: exit.code,
      cause: exit.cause,
      ...(exit.signal === undefined ? {} : { signal: exit.signal }),
      ...(hint === undefined ? {} : { hint }),
      lastLines: exit.tail.slice(-5),
    });
    deliver({ kind: "etcdExited", code: exit.code, cause: exit.cause });
  }

  async #awaitLeader(child: EtcdProcess): Promise<void> {
    const { clock, hasLeader, deliver } = this.#options;
    const sinceMs = clock.monotonicMs();
    while (this.#process === child && !this.#stopping) {
      if (await hasLeader()) {
        if (this.#process === child && !this.#stopping) deliver({ kind: "etcd", state: "ready" });
        return;
      }
      await clock.sleep(clock.monotonicMs() - sinceMs < eagerMs ? eagerEveryMs : everyMs);
    }
  }
}
