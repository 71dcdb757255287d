/**
 * Asks a discovery method for ever: a partition may outlive the first answer, and replaced machines have new addresses.
 * The last good answer is kept whatever happens after it. Decides when to ask and what to log; never who is a member.
 */
import { ThrottledError } from "../cloud/throttled_error.ts";
import { withDeadline } from "../cloud/with_deadline.ts";
import { describeError, E2dError } from "../errors.ts";
import type { Clock, Logger, Random } from "../ports.ts";
import type { DiscoveryMethod, PeerAddress } from "./method.ts";

/**
 * Two seconds after a change or a first failure, then each pause twice as long up to a minute, each spread by a quarter
 * either way so that nodes that started together do not ask together. A cloud that throttles is left alone for at least
 * 15 s, or as long as it asks for up to five minutes.
 */
export const askingTimes = {
  pauseMinMs: 2_000,
  pauseMaxMs: 60_000,
  throttledPauseMinMs: 15_000,
  throttledPauseMaxMs: 300_000,
  /** One asking with all its pages. */
  answerMaxMs: 60_000,
} as const;

/** Far above any cluster; more are a wrong tag. */
const peersMax = 5_000;
/** Addresses named in one line of the log. */
const namedMax = 20;

export interface Asking {
  readonly method: DiscoveryMethod;
  /** The last good answer, sorted, each address once; undefined: there was none yet. */
  latest(): readonly PeerAddress[] | undefined;
  /** Called with each answer that differs from the one before, the first among them. Returns what ends that. */
  onChange(listener: (peers: readonly PeerAddress[]) => void): () => void;
  /** Resolves when the signal has ended the asking. */
  readonly ended: Promise<void>;
}

export interface AskingPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export function keepAsking(method: DiscoveryMethod, ports: AskingPorts, signal: AbortSignal): Asking {
  const asker = new Asker(method, ports, signal);
  return {
    method,
    latest: () => asker.latest,
    onChange: (listener) => asker.onChange(listener),
    ended: Promise.all([asker.ask(), asker.listen()]).then(() => {}),
  };
}

class Asker {
  latest: readonly PeerAddress[] | undefined;
  readonly #method: DiscoveryMethod;
  readonly #ports: AskingPorts;
  readonly #signal: AbortSignal;
  readonly #listeners = new Set<(peers: readonly PeerAddress[]) => void>();
  /** The kind of failure that was logged last, of each of the two ways to learn; undefined while it goes well. */
  readonly #failing: { ask: string | undefined; listen: string | undefined } = { ask: undefined, listen: undefined };
  /** Counts answers, so that one that was asked for earlier never takes the place of a later one. */
  #answers = 0;

  constructor(method: DiscoveryMethod, ports: AskingPorts, signal: AbortSignal) {
    this.#method = method;
    this.#ports = ports;
    this.#signal = signal;
  }

  onChange(listener: (peers: readonly PeerAddress[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async ask(): Promise<void> {
    const { pauseMinMs, pauseMaxMs, answerMaxMs } = askingTimes;
    let pauseMs: number = pauseMinMs;
    let went: "well" | "wrong" | undefined;
    while (!this.#signal.aborted) {
      const answers = this.#answers;
      let leftAloneMs = 0;
      try {
        const peers = checked(
          await withDeadline(
            { ms: answerMaxMs, clock: this.#ports.clock, signal: this.#signal, late: () => late(this.#method.name) },
            (signal) => this.#method.peers(signal),
          ),
        );
        this.#recovered("ask");
        const changed = answers === this.#answers && this.#take(peers);
        if (changed || went === "wrong") pauseMs = pauseMinMs;
        went = "well";
      } catch (error) {
        if (this.#signal.aborted) return;
        this.#failed("ask", error);
        if (went === "well") pauseMs = pauseMinMs;
        went = "wrong";
        leftAloneMs = error instanceof ThrottledError ? throttledPauseMs(error) : 0;
      }
      await this.#rest(Math.max(pauseMs, leftAloneMs));
      pauseMs = Math.min(2 * pauseMs, pauseMaxMs);
    }
  }

  /** Beside asking, where the method tells of changes; begun again when it stops. */
  async listen(): Promise<void> {
    if (this.#method.changes === undefined) return;
    const { pauseMinMs, pauseMaxMs } = askingTimes;
    let pauseMs: number = pauseMinMs;
    while (!this.#signal.aborted) {
      try {
        for await (const peers of this.#method.changes(this.#signal)) {
          if (this.#signal.aborted) return;
          pauseMs = pauseMinMs;
          const answer = checked(peers);
          this.#recovered("listen");
          this.#take(answer);
        }
      } catch (error) {
        if (this.#signal.aborted) return;
        this.#failed("listen", error);
      }
      await this.#rest(pauseMs);
      pauseMs = Math.min(2 * pauseMs, pauseMaxMs);
    }
  }

  async #rest(ms: number): Promise<void> {
    if (this.#signal.aborted) return;
    try {
      await this.#ports.clock.sleep(ms * (0.75 + this.#ports.random.float() / 2), this.#signal);
    } catch (error) {
      if (!this.#signal.aborted) throw error;
    }
  }

  /** True when the answer differs from the one before. */
  #take(peers: readonly PeerAddress[]): boolean {
    this.#answers++;
    const before = new Set(this.latest?.map(textOf));
    const now = new Set(peers.map(textOf));
    const added = [...now].filter((peer) => !before.has(peer));
    const gone = [...before].filter((peer) => !now.has(peer));
    const first = this.latest === undefined;
    if (!first && added.length === 0 && gone.length === 0) return false;
    this.latest = peers;
    const fields = { method: this.#method.name, peers: peers.length, added: named(added), gone: named(gone) };
    if (peers.length === 0) this.#ports.log.warn("Discovery finds no peers", fields);
    else this.#ports.log.info("Discovery finds other peers than before", fields);
    for (const listener of this.#listeners) listener(peers);
    return true;
  }

  #failed(way: "ask" | "listen", error: unknown): void {
    const kind = error instanceof E2dError ? error.code : error instanceof Error ? error.name : String(error);
    if (this.#failing[way] === kind) return;
    this.#failing[way] = kind;
    this.#ports.log.warn("Discovery gets no answer", {
      method: this.#method.name,
      error: describeError(error),
      code: kind,
      kept: this.latest?.length ?? 0,
    });
  }

  #recovered(way: "ask" | "listen"): void {
    if (this.#failing[way] === undefined) return;
    this.#failing[way] = undefined;
    this.#ports.log.info("Discovery gets answers again", { method: this.#method.name });
  }
}

const textOf = ({ host, port }: PeerAddress) => port === undefined ? host : `${host} ${port}`;

function checked(peers: readonly PeerAddress[]): readonly PeerAddress[] {
  const each = new Map(peers.map((peer) => [textOf(peer), peer]));
  if (each.size > peersMax) {
    throw new E2dError("discovery_too_many", `Cannot use what discovery found: ${each.size} addresses`, {
      hint: "name a tag that only the machines of this cluster have",
    });
  }
  return [...each.keys()].sort().map((text) => each.get(text)!);
}

function throttledPauseMs({ retryAfterMs = 0 }: ThrottledError): number {
  // The spread may shorten a pause by a quarter; what a cloud asks for is kept to.
  return Math.min(Math.max(retryAfterMs / 0.75, askingTimes.throttledPauseMinMs), askingTimes.throttledPauseMaxMs);
}

function named(peers: readonly string[]): string[] {
  const shown = peers.slice(0, namedMax).map((peer) => peer.replace(" ", ":"));
  return peers.length > namedMax ? [...shown, `and ${peers.length - namedMax} more`] : shown;
}

function late(method: string): E2dError {
  return new E2dError(
    "discovery_timeout",
    `Cannot find peers by "${method}": no whole answer within ${askingTimes.answerMaxMs} ms`,
  );
}
