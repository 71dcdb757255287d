/**
 * Notifies the service manager (sd_notify) of a node's readiness, status, liveness and stop.
 *
 * A single node is ready when it serves. A node of a cluster is ready when it has inspected its data-dir and watches for
 * its peers: the service manager may start the peers only after this node is ready. A waiting node is never killed for
 * waiting: each watchdog notice extends the start timeout, so that only a hung process reaches it.
 */
import type { Clock, ServiceManager } from "../ports.ts";
import type { StatusReport } from "./status/report.ts";

/** The part of StatusReport that the notices use. */
export type NoticedReport = Pick<StatusReport, "phase" | "ready" | "reasons" | "paused" | "members" | "name">;

export interface ServiceState {
  readonly ready: boolean;
  /** One line for `systemctl status`. */
  readonly status: string;
}

/** Undefined: the node has not taken its first step. */
export function serviceState(report: NoticedReport | undefined, { alone }: { alone: boolean }): ServiceState {
  if (report === undefined) return { ready: false, status: "starting: resolving etcd, address and peers" };
  return { ready: report.ready || !alone, status: statusText(report).slice(0, statusMax) };
}

const statusMax = 400;

function statusText({ phase, ready, reasons, paused, members, name }: NoticedReport): string {
  // The phase already shows that the node does not serve.
  const why = reasons.filter(({ code }) => code !== "not_serving").map(({ text }) => text).join("; ");
  const pausedText = paused ? "; automatic action is paused" : "";
  if (!ready) return `${phase}${why === "" ? "" : `: ${why}`}${pausedText}`;
  const role = members.find((member) => member.name === name)?.role ?? "member";
  const voters = members.filter((member) => member.role === "leader" || member.role === "voter").length;
  return `serving as ${role} of ${voters} voting ${voters === 1 ? "member" : "members"}${
    why === "" ? "" : `; ${why}`
  }${pausedText}`;
}

/** Interval of the check for changes. */
const checkEveryMs = 250;
/** Interval of liveness notices when no watchdog is configured. */
const livenessEveryMs = 20_000;
/** Extension of the start and stop timeouts with each liveness notice. */
const extendMs = 120_000;

export interface ServiceNoticesOptions {
  readonly manager: ServiceManager;
  readonly clock: Clock;
}

export class ServiceNotices {
  readonly #options: ServiceNoticesOptions;
  readonly #closing = new AbortController();
  readonly #livenessEveryMs: number;
  #source: () => ServiceState = () => serviceState(undefined, { alone: true });
  #ready = false;
  #stopping = false;
  #status = "";
  #lastLivenessMs = -Infinity;

  constructor(options: ServiceNoticesOptions) {
    this.#options = options;
    // Half of the watchdog time: one late notice must not end the process.
    this.#livenessEveryMs = Math.min(livenessEveryMs, (options.manager.watchdogMs ?? Infinity) / 2);
    void this.#run();
  }

  /** Sets the source of the state: the node exists only after its preparation. */
  watch(source: () => ServiceState): void {
    this.#source = source;
  }

  stopping(): void {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#status = "stopping: etcd transfers leadership and closes its database";
    void this.#options.manager.tell({ STOPPING: "1", STATUS: this.#status, ...this.#liveness() });
  }

  /** Resolves when the reason for an unexpected exit is sent: `systemctl status` shows it after the exit as well. */
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
    const pauseMs = Math.min(checkEveryMs, this.#livenessEveryMs);
    while (!this.#closing.signal.aborted) {
      await this.#update();
      await clock.sleep(pauseMs, this.#closing.signal).catch(() => {});
    }
  }

  async #update(): Promise<void> {
    const { manager, clock } = this.#options;
    const fields: Record<string, string> = {};
    if (!this.#stopping) {
      const { ready, status } = this.#source();
      if (ready && !this.#ready) {
        this.#ready = true;
        fields.READY = "1";
      }
      if (status !== this.#status) fields.STATUS = this.#status = status;
    }
    if (clock.monotonicMs() - this.#lastLivenessMs >= this.#livenessEveryMs) Object.assign(fields, this.#liveness());
    if (Object.keys(fields).length > 0) await manager.tell(fields);
  }

  #liveness(): Record<string, string> {
    this.#lastLivenessMs = this.#options.clock.monotonicMs();
    return {
      WATCHDOG: "1",
      // Start and stop may take any time while this process is alive.
      ...(this.#ready && !this.#stopping ? {} : { EXTEND_TIMEOUT_USEC: String(extendMs * 1_000) }),
    };
  }
}
