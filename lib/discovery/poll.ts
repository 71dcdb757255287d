/**
 * Polls a discovery method until the node stops: replaced machines have new addresses, and a partition may outlive the
 * first result. The last good result is kept after failures. Decides when to poll and what to log; must never decide
 * which nodes are members.
 */
import { ThrottledError } from "../cloud/throttled_error.ts";
import { withDeadline } from "../cloud/with_deadline.ts";
import { describeError, E2dError } from "../errors.ts";
import type { Clock, Logger, Random } from "../ports.ts";
import type { DiscoveryMethod, PeerAddress } from "./method.ts";

/**
 * Pauses between polls: two seconds after a change or a first failure, then doubled up to a minute. Each is varied by up
 * to a quarter, so that nodes that started together do not poll together. After throttling the pause is at least 15 s,
 * or the requested time up to five minutes.
 */
export const pollTimes = {
  pauseMinMs: 2_000,
  pauseMaxMs: 60_000,
  throttledPauseMinMs: 15_000,
  throttledPauseMaxMs: 300_000,
  /** One poll with all its pages. */
  answerMaxMs: 60_000,
} as const;

/** Far above any cluster; more addresses mean a wrong tag. */
const peersMax = 5_000;
/** Addresses in one log line. */
const loggedAddressesMax = 20;

export interface DiscoveryPoll {
  readonly method: DiscoveryMethod;
  /** The last good result, sorted, without duplicates; undefined: none yet. */
  latest(): readonly PeerAddress[] | undefined;
  /** Calls the listener with the first result and with each different one. Returns the function that unsubscribes. */
  onChange(listener: (peers: readonly PeerAddress[]) => void): () => void;
  /** Resolves after the signal has stopped the polling. */
  readonly ended: Promise<void>;
}

export interface PollPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export function pollDiscovery(method: DiscoveryMethod, ports: PollPorts, signal: AbortSignal): DiscoveryPoll {
  const poller = new Poller(method, ports, signal);
  return {
    method,
    latest: () => poller.latest,
    onChange: (listener) => poller.onChange(listener),
    ended: Promise.all([poller.poll(), poller.watch()]).then(() => {}),
  };
}

class Poller {
  latest: readonly PeerAddress[] | undefined;
  readonly #method: DiscoveryMethod;
  readonly #ports: PollPorts;
  readonly #signal: AbortSignal;
  readonly #listeners = new Set<(peers: readonly PeerAddress[]) => void>();
  /** The kind of failure that was logged last for polling and for watching; undefined while it succeeds. */
  readonly #failing: { poll: string | undefined; watch: string | undefined } = { poll: undefined, watch: undefined };
  /** Counts results, so that an older poll never replaces a newer result of the watch. */
  #resultCount = 0;

  constructor(method: DiscoveryMethod, ports: PollPorts, signal: AbortSignal) {
    this.#method = method;
    this.#ports = ports;
    this.#signal = signal;
  }

  onChange(listener: (peers: readonly PeerAddress[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async poll(): Promise<void> {
    const { pauseMinMs, pauseMaxMs, answerMaxMs } = pollTimes;
    let pauseMs: number = pauseMinMs;
    let lastOutcome: "success" | "failure" | undefined;
    while (!this.#signal.aborted) {
      const answers = this.#resultCount;
      let throttledMs = 0;
      try {
        const peers = normalized(
          await withDeadline(
            {
              ms: answerMaxMs,
              clock: this.#ports.clock,
              signal: this.#signal,
              timeoutError: () => timeoutError(this.#method.name),
            },
            (signal) => this.#method.peers(signal),
          ),
        );
        this.#recovered("poll");
        const changed = answers === this.#resultCount && this.#store(peers);
        if (changed || lastOutcome === "failure") pauseMs = pauseMinMs;
        lastOutcome = "success";
      } catch (error) {
        if (this.#signal.aborted) return;
        this.#failed("poll", error);
        if (lastOutcome === "success") pauseMs = pauseMinMs;
        lastOutcome = "failure";
        throttledMs = error instanceof ThrottledError ? throttledPauseMs(error) : 0;
      }
      await this.#pause(Math.max(pauseMs, throttledMs));
      pauseMs = Math.min(2 * pauseMs, pauseMaxMs);
    }
  }

  /** Consumes the changes of a method that supports them, concurrently with polling; restarts when they end. */
  async watch(): Promise<void> {
    if (this.#method.changes === undefined) return;
    const { pauseMinMs, pauseMaxMs } = pollTimes;
    let pauseMs: number = pauseMinMs;
    while (!this.#signal.aborted) {
      try {
        for await (const peers of this.#method.changes(this.#signal)) {
          if (this.#signal.aborted) return;
          pauseMs = pauseMinMs;
          const answer = normalized(peers);
          this.#recovered("watch");
          this.#store(answer);
        }
      } catch (error) {
        if (this.#signal.aborted) return;
        this.#failed("watch", error);
      }
      await this.#pause(pauseMs);
      pauseMs = Math.min(2 * pauseMs, pauseMaxMs);
    }
  }

  async #pause(ms: number): Promise<void> {
    if (this.#signal.aborted) return;
    try {
      await this.#ports.clock.sleep(ms * (0.75 + this.#ports.random.float() / 2), this.#signal);
    } catch (error) {
      if (!this.#signal.aborted) throw error;
    }
  }

  /** Stores a result; true when it differs from the previous one. */
  #store(peers: readonly PeerAddress[]): boolean {
    this.#resultCount++;
    const before = new Set(this.latest?.map(peerKey));
    const now = new Set(peers.map(peerKey));
    const added = [...now].filter((peer) => !before.has(peer));
    const gone = [...before].filter((peer) => !now.has(peer));
    const first = this.latest === undefined;
    if (!first && added.length === 0 && gone.length === 0) return false;
    this.latest = peers;
    const fields = { method: this.#method.name, peers: peers.length, added: shortened(added), gone: shortened(gone) };
    if (peers.length === 0) this.#ports.log.warn("Discovery finds no peers", fields);
    else this.#ports.log.info("Discovery finds a changed list of peers", fields);
    for (const listener of this.#listeners) listener(peers);
    return true;
  }

  #failed(way: "poll" | "watch", error: unknown): void {
    const kind = error instanceof E2dError ? error.code : error instanceof Error ? error.name : String(error);
    if (this.#failing[way] === kind) return;
    this.#failing[way] = kind;
    this.#ports.log.warn("Discovery fails: the last list of peers stays in use", {
      method: this.#method.name,
      error: describeError(error),
      code: kind,
      kept: this.latest?.length ?? 0,
    });
  }

  #recovered(way: "poll" | "watch"): void {
    if (this.#failing[way] === undefined) return;
    this.#failing[way] = undefined;
    this.#ports.log.info("Discovery works again", { method: this.#method.name });
  }
}

const peerKey = ({ host, port }: PeerAddress) => port === undefined ? host : `${host} ${port}`;

function normalized(peers: readonly PeerAddress[]): readonly PeerAddress[] {
  const each = new Map(peers.map((peer) => [peerKey(peer), peer]));
  if (each.size > peersMax) {
    throw new E2dError(
      "discovery_too_many",
      `Cannot use the result of discovery: it has ${each.size} addresses, the limit is ${peersMax}`,
      {
        hint: "use a tag that only the machines of this cluster have",
      },
    );
  }
  return [...each.keys()].sort().map((text) => each.get(text)!);
}

function throttledPauseMs({ retryAfterMs = 0 }: ThrottledError): number {
  // The random variation may shorten a pause by a quarter; the requested time must not be shortened.
  return Math.min(Math.max(retryAfterMs / 0.75, pollTimes.throttledPauseMinMs), pollTimes.throttledPauseMaxMs);
}

function shortened(peers: readonly string[]): string[] {
  const shown = peers.slice(0, loggedAddressesMax).map((peer) => peer.replace(" ", ":"));
  return peers.length > loggedAddressesMax ? [...shown, `and ${peers.length - loggedAddressesMax} more`] : shown;
}

function timeoutError(method: string): E2dError {
  return new E2dError(
    "discovery_timeout",
    `Cannot find peers by "${method}": no complete result within ${pollTimes.answerMaxMs} ms`,
  );
}
