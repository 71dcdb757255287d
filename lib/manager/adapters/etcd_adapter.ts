/**
 * Adapter between the core and the node's own etcd process: starts it, waits until it has a leader, stops it, and delivers
 * each exit as an event. It never restarts etcd automatically: lib/core decides that.
 */
import { E2dError, isE2dError } from "../../errors.ts";
import type { Clock, Logger, Processes } from "../../ports.ts";
import type { EtcdStart } from "../../core/facts/effect.ts";
import { installCommand } from "../../core/evidence/etcd_hazards.ts";
import type { Event } from "../../core/facts/event.ts";
import { etcdArgs, type EtcdSettings } from "../../etcd/process/args.ts";
import { type LogLine, LongOperation } from "../../etcd/process/log_line.ts";
import { exitHint, lastProblem } from "../../etcd/process/exit_cause.ts";
import { type EtcdExit, type EtcdProcess, startEtcdProcess } from "../../etcd/process/process.ts";
import type { EtcdPrograms } from "../../etcd/install/provider.ts";
import { managedMinors, minorAfter } from "../../etcd/version.ts";
import type { DataDirLock } from "../data_dir/lock.ts";
import { withoutUndefined } from "../../without_undefined.ts";
import { type EtcdRange, isWithin, rangeText } from "../../core/facts/etcd_range.ts";
import { isBefore } from "../../facts/etcd_version.ts";

export interface EtcdAdapterOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly processes: Processes;
  readonly lock: DataDirLock;
  /** The etcd to run, unless the data or the cluster need another minor version. */
  readonly programs: EtcdPrograms;
  /** Installs the newest etcd of a minor version ("3.7"). */
  readonly provide: (minor: string) => Promise<EtcdPrograms>;
  /** All but the version. */
  readonly settings: Omit<EtcdSettings, "version">;
  /** True when the own etcd answers and knows a leader. Must be bounded in time and never reject. */
  readonly hasLeader: () => Promise<boolean>;
  readonly deliver: (event: Extract<Event, { kind: "etcd" | "etcdExited" | "etcdLogged" }>) => void;
}

/** Closing a large database and transferring leadership take time. */
const stopTimeoutMs = 60_000;
const leaderlessStopMs = 5_000;
/** Minimum interval of `etcdLogged` events: they only show that the log grows. */
const progressEveryMs = 1_000;
/** etcd is polled for a leader at the short interval for the first seconds after its start. */
const eagerMs = 3_000;
const eagerEveryMs = 20;
const everyMs = 200;

export class EtcdAdapter {
  readonly #options: EtcdAdapterOptions;
  #programs: EtcdPrograms;
  #process: EtcdProcess | undefined;
  #stopping = false;
  #lastExit: EtcdExit | undefined;

  constructor(options: EtcdAdapterOptions) {
    this.#options = options;
    this.#programs = options.programs;
  }

  /** Undefined while etcd does not run. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  get running(): boolean {
    return this.#process !== undefined;
  }

  get programs(): EtcdPrograms {
    return this.#programs;
  }

  /** The last unexpected exit. */
  get lastExit(): EtcdExit | undefined {
    return this.#lastExit;
  }

  /** `requireWithin` without an upper bound. */
  async requireAtLeast(minor: string | undefined): Promise<void> {
    if (minor !== undefined && isBefore(this.#programs.version, minor)) {
      await this.requireWithin({ atLeast: minor, atMost: minor });
    }
  }

  /**
   * Selects an etcd within a range of minor versions: after an upgrade `--etcd-version` may still name the former version,
   * and the default is too new for an older cluster. Keeps the present programs if they fit. Otherwise takes the oldest
   * version that can be installed, because an automatic upgrade is not allowed. Throws E2dError `etcd_version_unfit` when
   * none can be installed.
   */
  async requireWithin(range: EtcdRange): Promise<void> {
    const { version } = this.#programs;
    if (isWithin(version, range)) return;
    this.#programs = await this.#provideWithin(range);
    const tooOld = range.atLeast !== undefined && isBefore(version, range.atLeast);
    this.#options.log.warn(
      tooOld
        ? "this node's etcd is too old for the cluster: selected another version"
        : "this node's etcd is too new for the cluster: selected another version",
      { found: version, required: rangeText(range), selected: this.#programs.version },
    );
  }

  async #provideWithin(range: EtcdRange): Promise<EtcdPrograms> {
    const failures: unknown[] = [];
    const minors = managedMinors.filter((minor) => isWithin(minor, range));
    for (const minor of minors) {
      try {
        return await this.#options.provide(minor);
      } catch (error) {
        if (!isE2dError(error)) throw error;
        failures.push(error);
      }
    }
    const { version } = this.#programs;
    throw new E2dError(
      "etcd_version_unfit",
      `Cannot run etcd ${version} in this cluster: it requires ${
        rangeText(range)
      }, and no such version can be installed here`,
      {
        cause: failures[0],
        hint: minors[0] === undefined
          ? "update e2d: this version does not support such an etcd"
          : `install one on this node: ${installCommand(minors[0])}`,
      },
    );
  }

  /** Resolves when the process runs, healthy or not. Throws E2dError `process_start`. */
  async start(start: EtcdStart): Promise<void> {
    if (this.#process !== undefined) return;
    await this.requireWithin(start.range ?? {});
    // Right after an upgrade only etcd's raft log has the newer version, which the inspection of the data-dir cannot read.
    if (this.#lastExit?.cause === "version_too_old") {
      await this.requireAtLeast(minorAfter(this.#programs.version));
      this.#lastExit = undefined;
    }
    const { clock, log, processes, lock, settings } = this.#options;
    const args = etcdArgs({ ...settings, version: this.#programs.version }, start);
    log.info("starting etcd", { version: this.#programs.version, state: start.state, program: this.#programs.etcd });
    log.debug("etcd arguments", { args });
    const child = await startEtcdProcess(this.#programs.etcd, args, {
      processes,
      clock,
      log: log.with({ part: "etcd" }),
      onLine: this.#progress(),
    });
    this.#process = child;
    this.#stopping = false;
    this.#options.deliver({ kind: "etcd", state: "starting" });
    void lock.noteEtcd(child.pid);
    void child.exited.then((exit) => this.#ended(child, exit));
    void this.#awaitLeader(child);
  }

  /** Takes each log line of one process, and delivers `etcdLogged`. */
  #progress(): (line: LogLine) => void {
    const { clock, deliver } = this.#options;
    const work = new LongOperation();
    let last = { atMs: -Infinity, busy: false };
    return ({ message }) => {
      const busy = work.observe(message);
      const atMs = clock.monotonicMs();
      if (busy === last.busy && atMs - last.atMs < progressEveryMs) return;
      last = { atMs, busy };
      deliver({ kind: "etcdLogged", busy });
    };
  }

  /** Resolves when no etcd runs. */
  async stop(withinMs = stopTimeoutMs): Promise<void> {
    const child = this.#process;
    if (child === undefined) return;
    this.#stopping = true;
    this.#options.log.info("stopping etcd", { pid: child.pid });
    await child.stop(withinMs);
  }

  /** Restarts etcd with other programs on the same data-dir. Delivers no exit. */
  async change(programs: EtcdPrograms): Promise<void> {
    if (this.#process === undefined) {
      throw new E2dError("etcd_not_running", "Cannot change etcd's version: etcd is not running");
    }
    await this.stop();
    this.#programs = programs;
    await this.start({ state: "restart", othersServe: true });
  }

  /**
   * Stops etcd while `work` runs, and starts it again if it was running. Delivers no exit. An etcd without a leader waits
   * for one before it ends: it is killed soon, because its log is durable.
   */
  async whileStopped<T>(work: () => Promise<T>): Promise<T> {
    const ran = this.running;
    await this.stop(leaderlessStopMs);
    try {
      return await work();
    } finally {
      if (ran) await this.start({ state: "restart", othersServe: false });
    }
  }

  /** Kills etcd now. */
  hurry(): void {
    this.#process?.kill();
  }

  #ended(child: EtcdProcess, exit: EtcdExit): void {
    const { log, lock, deliver } = this.#options;
    this.#process = undefined;
    void lock.noteEtcd(undefined);
    if (this.#stopping) {
      log.info("etcd has stopped", { pid: child.pid, code: exit.code });
      return;
    }
    this.#lastExit = exit;
    const hint = exitHint(exit.cause);
    log.error(
      exit.cause === "member_removed"
        ? "etcd exited: this member was removed from the cluster"
        : "etcd exited unexpectedly",
      {
        pid: child.pid,
        code: exit.code,
        cause: exit.cause,
        signal: exit.signal,
        hint,
        lastLines: exit.tail.slice(-5),
      },
    );
    const lastLine = lastProblem(exit.tail);
    deliver({
      kind: "etcdExited",
      code: exit.code,
      cause: exit.cause,
      ...withoutUndefined({ lastLine, hint }),
    });
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
