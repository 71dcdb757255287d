/**
 * What the service manager is told of a node: that it is ready, what it waits for, that it is alive, that it ends.
 *
 * «Ready» is said when e2d itself is up: a single node when it serves, a node of a cluster when it has looked at its
 * data-dir and watches for its peers, for they may be started by whoever waits for this one. A node that waits is never
 * ended for it: until it is ready each sign of life asks for more time to start, so a start timeout ends only a process
 * that has stopped turning.
 */
import type { Clock, ServiceManager } from "../ports.ts";
import type { StatusReport } from "./status_report.ts";

/** What the notices are made from: a part of StatusReport. */
export type NoticedReport = Pick<StatusReport, "phase" | "ready" | "reasons" | "paused" | "members" | "name">;

export interface ServiceState {
  readonly ready: boolean;
  /** One line for `systemctl status`. */
  readonly status: string;
}

/** Undefined: the node has not taken its first step. */
export function serviceState(report: NoticedReport | undefined, { alone }: { alone: boolean }): ServiceState {
  if (report === undefined) return { ready: false, status: "starting: getting its etcd, address and peers" };
  return { ready: report.ready || !alone, status: statusText(report).slice(0, statusMax) };
}

const statusMax = 400;

function statusText({ phase, ready, reasons, paused, members, name }: NoticedReport): string {
  // That it does not serve is what the phase says.
  const why = reasons.filter(({ code }) => code !== "not_serving").map(({ text }) => text).join("; ");
  const pausedText = paused ? "; automatic action is paused" : "";
  if (!ready) return `${phase}${why === "" ? "" : `: ${why}`}${pausedText}`;
  const role = members.find((member) => member.name === name)?.role ?? "member";
  const voters = members.filter((member) => member.role === "leader" || member.role === "voter").length;
  return `serving as ${role} of ${voters} voting ${voters === 1 ? "member" : "members"}${
    why === "" ? "" : `; ${why}`
  }${pausedText}`;
}

/** Between two looks at the node. */
const lookEveryMs = 250;
/** Between two signs of life that are not asked for by a watchdog. */
const signEveryMs = 20_000;
/** How much longer a start or a stop may take after each sign of life. */
const extendMs = 120_000;

export interface ServiceNoticesOptions {
  readonly manager: ServiceManager;
  readonly clock: Clock;
}

export class ServiceNotices {
  readonly #options: ServiceNoticesOptions;
  readonly #closing = new AbortController();
  readonly #signEveryMs: number;
  #source: () => ServiceState = () => serviceState(undefined, { alone: true });
  #ready = false;
  #stopping = false;
  #status = "";
  #signedMs = -Infinity;

  constructor(options: ServiceNoticesOptions) {
    this.#options = options;
    // Half of what is allowed, so that one that comes late is no end.
    this.#signEveryMs = Math.min(signEveryMs, (options.manager.watchdogMs ?? Infinity) / 2);
    void this.#run();
  }

  /** From now on the node is asked, which is there only when much has been looked at. */
  watch(source: () => ServiceState): void {
    this.#source = source;
  }

  stopping(): void {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#status = "stopping: etcd hands over and closes its database";
    void this.#options.manager.tell({ STOPPING: "1", STATUS: this.#status, ...this.#sign() });
  }

  /** Resolves when it is told why the process ends by itself: `systemctl status` shows it after the end, too. */
  async failed(why: string): Promise<void> {
    this.#stopping = true;
    await this.#options.manager.tell({ STATUS: `cannot run: ${why}`.slice(0, statusMax) });
  }

  close(): void {
    this.#closing.abort();
    this.#options.manager.close();
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    const pauseMs = Math.min(lookEveryMs, this.#signEveryMs);
    while (!this.#closing.signal.aborted) {
      await this.#look();
      await clock.sleep(pauseMs, this.#closing.signal).catch(() => {});
    }
  }

  async #look(): Promise<void> {
    const { manager, clock } = this.#options;
    const news: Record<string, string> = {};
    if (!this.#stopping) {
      const { ready, status } = this.#source();
      if (ready && !this.#ready) {
        this.#ready = true;
        news.READY = "1";
      }
      if (status !== this.#status) news.STATUS = this.#status = status;
    }
    if (clock.monotonicMs() - this.#signedMs >= this.#signEveryMs) Object.assign(news, this.#sign());
    if (Object.keys(news).length > 0) await manager.tell(news);
  }

  #sign(): Record<string, string> {
    this.#signedMs = this.#options.clock.monotonicMs();
    return {
      WATCHDOG: "1",
      // A start and a stop take as long as they take while this process is seen to turn.
      ...(this.#ready && !this.#stopping ? {} : { EXTEND_TIMEOUT_USEC: String(extendMs * 1_000) }),
    };
  }
}
