/**
 * A network between named places on virtual time. Packets are lost, delayed, duplicated and reordered; streams deliver
 * once and in order, with TCP's retransmission delay for every lost segment. Each direction fails separately.
 */
import type { Timer } from "./clock.ts";
import type { Prng } from "./prng.ts";

export interface LinkConditions {
  /** 0 to 1, each way on its own, of packets and of the segments of streams. */
  lossRate: number;
  delayMinMs: number;
  delayMaxMs: number;
  duplicateRate: number;
  /** Packets that are held up by `reorderMs` more. */
  reorderRate: number;
  reorderMs: number;
}

export const calmConditions: LinkConditions = {
  lossRate: 0,
  delayMinMs: 0.2,
  delayMaxMs: 1,
  duplicateRate: 0,
  reorderRate: 0,
  reorderMs: 0,
};

/** The values of Linux: the first time-out of a SYN, the shortest retransmission time-out of a segment. */
const connectRetryMs = 1000;
const segmentRetryMs = 200;

export interface Exchange {
  from: string;
  to: string;
  timeoutMs: number;
  /** The request has arrived; `answer` sends the answer. A server that never calls it is silent. */
  serve: (answer: () => void) => void;
  /** Called once, at the dialler. */
  done: (outcome: "answered" | "failed") => void;
}

/** The result of a connection attempt: no machine, a closed port, or an accepted connection. */
export type Door = "gone" | "refuses" | "open";

/** The part of a clock that a network needs. */
export interface Timers {
  readonly nowMs: number;
  at(atMs: number, run: () => void): Timer;
  after(delayMs: number, run: () => void): Timer;
}

export class VirtualNetwork<Packet> {
  conditions: LinkConditions;
  sent = 0;
  readonly #clock: Timers;
  readonly #random: Prng;
  readonly #deliver: (to: string, packet: Packet, from: string) => void;
  readonly #door: (place: string) => Door;
  readonly #elsewhere: (from: string, to: string) => boolean;
  readonly #blocked = new Set<string>();

  constructor(options: {
    clock: Timers;
    random: Prng;
    conditions?: LinkConditions;
    deliver: (to: string, packet: Packet, from: string) => void;
    door: (place: string) => Door;
    /** Additional cuts, besides those of `block`. */
    passes?: (from: string, to: string) => boolean;
  }) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.conditions = options.conditions ?? calmConditions;
    this.#deliver = options.deliver;
    this.#door = options.door;
    this.#elsewhere = options.passes ?? (() => true);
  }

  /** Drops everything from `from` to `to`; the other direction is not changed. */
  block(from: string, to: string): void {
    this.#blocked.add(`${from}>${to}`);
  }

  unblock(from: string, to: string): void {
    this.#blocked.delete(`${from}>${to}`);
  }

  unblockAll(): void {
    this.#blocked.clear();
  }

  passes(from: string, to: string): boolean {
    return this.#elsewhere(from, to) && (this.#blocked.size === 0 || !this.#blocked.has(`${from}>${to}`));
  }

  send(from: string, to: string, packet: Packet): void {
    this.sent++;
    const copies = this.#random.chance(this.conditions.duplicateRate) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      if (!this.#arrives(from, to)) continue;
      const late = this.#random.chance(this.conditions.reorderRate) ? this.conditions.reorderMs : 0;
      // Packets in flight at the time of the cut are lost too.
      this.#clock.after(this.#delayMs() + late, () => {
        if (this.passes(from, to)) this.#deliver(to, packet, from);
      });
    }
  }

  /** One request and one answer over a separate connection. */
  exchange({ from, to, timeoutMs, serve, done }: Exchange): void {
    let over = false;
    const finish = (outcome: "answered" | "failed") => {
      if (over) return;
      over = true;
      deadline.cancel();
      done(outcome);
    };
    const deadline = this.#clock.after(timeoutMs, () => finish("failed"));
    const untilOver = () => over;
    this.#connect(from, to, connectRetryMs, untilOver, (accepted) => {
      if (!accepted) return finish("failed");
      // A client that has given up sends nothing more; a request that was sent is still served.
      this.#segment(
        from,
        to,
        segmentRetryMs,
        untilOver,
        () => serve(() => this.#segment(to, from, segmentRetryMs, untilOver, () => finish("answered"))),
      );
    });
  }

  #connect(from: string, to: string, retryMs: number, over: () => boolean, done: (accepted: boolean) => void): void {
    if (over()) return;
    const door = this.#door(to);
    if (door !== "gone" && this.#arrives(from, to) && this.#arrives(to, from)) {
      this.#clock.after(this.#delayMs() + this.#delayMs(), () => done(door === "open"));
      return;
    }
    this.#clock.after(retryMs, () => this.#connect(from, to, retryMs * 2, over, done));
  }

  #segment(from: string, to: string, retryMs: number, over: () => boolean, arrived: () => void): void {
    if (over()) return;
    if (this.#arrives(from, to)) this.#clock.after(this.#delayMs(), arrived);
    else this.#clock.after(retryMs, () => this.#segment(from, to, retryMs * 2, over, arrived));
  }

  #arrives(from: string, to: string): boolean {
    return this.passes(from, to) && !this.#random.chance(this.conditions.lossRate);
  }

  #delayMs(): number {
    return this.#random.between(this.conditions.delayMinMs, this.conditions.delayMaxMs);
  }
}
