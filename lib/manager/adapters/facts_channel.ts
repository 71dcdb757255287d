/**
 * Exchanges facts with the peers of this e2d over gossip's streams. Sends the complete facts to each peer: immediately
 * after a change or when a peer appears, and again every 3 s, so that a lost note is repaired. Never sends to legacy (Go)
 * peers.
 */
import { describeError, isE2dError } from "../../errors.ts";
import type { Clock, Logger } from "../../ports.ts";
import { decodeFactsNote, encodeFactsNote, type FactsNote } from "./facts_note.ts";
import type { PeerFacts } from "../../core/facts/peer.ts";

export interface FactsChannelOptions {
  readonly name: string;
  /** Random text of this process. */
  readonly life: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Names of the live peers of this e2d, without this node. */
  readonly peers: () => readonly string[];
  readonly send: (to: string, note: Uint8Array<ArrayBuffer>) => Promise<void>;
  /** Called when the known facts of a peer have changed. */
  readonly onChange: () => void;
}

/** Interval of repeated facts: the longest delay that a lost note causes. */
const repeatMs = 3_000;
/** After this silence a process is replaced by any other process of the same name, even one with an older start time. */
const silentMs = 4 * repeatMs;

interface Received {
  readonly note: FactsNote;
  readonly atMs: number;
}

export class FactsChannel {
  readonly #options: FactsChannelOptions;
  readonly #startedWallMs: number;
  readonly #received = new Map<string, Received>();
  #own: PeerFacts | undefined;
  /** The sequence that was last sent to each peer, and when. */
  readonly #sent = new Map<string, { sequence: number; atMs: number }>();
  readonly #sending = new Set<string>();

  constructor(options: FactsChannelOptions) {
    this.#options = options;
    this.#startedWallMs = options.clock.wallMs();
  }

  /** The last facts of a peer; undefined before its first note. */
  factsOf(name: string): PeerFacts | undefined {
    return this.#received.get(name)?.note.facts;
  }

  publish(facts: PeerFacts): void {
    this.#own = facts;
    this.sendDue();
  }

  /** Takes a received note. An invalid one is logged and dropped. */
  receive(bytes: Uint8Array): void {
    const { name, clock, log, onChange } = this.#options;
    let note: FactsNote;
    try {
      note = decodeFactsNote(bytes);
    } catch (error) {
      if (!isE2dError(error)) throw error;
      return log.debug("dropped invalid facts of a peer", { error: describeError(error) });
    }
    if (note.name === name) return;
    const nowMs = clock.monotonicMs();
    const known = this.#received.get(note.name);
    if (known !== undefined && !replaces(note, known, nowMs)) return;
    this.#received.set(note.name, { note, atMs: nowMs });
    const repeated = known?.note.life === note.life && known.note.facts.sequence === note.facts.sequence;
    if (!repeated) onChange();
    // A new process of this peer gets the own facts immediately.
    if (known?.note.life !== note.life) {
      this.#sent.delete(note.name);
      this.sendDue();
    }
  }

  /** Sends to each peer whose note is due. Also called at each change of the gossip members. */
  sendDue(): void {
    const own = this.#own;
    if (own === undefined || this.#options.signal.aborted) return;
    const nowMs = this.#options.clock.monotonicMs();
    const peers = new Set(this.#options.peers());
    for (const name of this.#sent.keys()) if (!peers.has(name)) this.#sent.delete(name);
    for (const name of peers) {
      const last = this.#sent.get(name);
      const due = last === undefined || last.sequence !== own.sequence || nowMs - last.atMs >= repeatMs;
      if (due && !this.#sending.has(name)) void this.#send(name, own);
    }
  }

  /** Repeats the facts until the signal. */
  async run(): Promise<void> {
    const { clock, signal } = this.#options;
    while (!signal.aborted) {
      try {
        await clock.sleep(repeatMs / 3, signal);
      } catch {
        return;
      }
      this.sendDue();
    }
  }

  async #send(to: string, facts: PeerFacts): Promise<void> {
    const { name, life, clock, log, send } = this.#options;
    this.#sending.add(to);
    this.#sent.set(to, { sequence: facts.sequence, atMs: clock.monotonicMs() });
    try {
      await send(to, encodeFactsNote({ name, life, startedWallMs: this.#startedWallMs, facts }));
    } catch (error) {
      // Sent again after the interval; gossip detects a dead peer.
      log.debug("cannot send facts to a peer", { peer: to, error: describeError(error) });
    } finally {
      this.#sending.delete(to);
    }
    // The facts changed while this note was being sent.
    if (this.#own !== facts) this.sendDue();
  }
}

function replaces(note: FactsNote, known: Received, nowMs: number): boolean {
  if (note.life === known.note.life) return note.facts.sequence >= known.note.facts.sequence;
  return note.startedWallMs >= known.note.startedWallMs || nowMs - known.atMs > silentMs;
}
