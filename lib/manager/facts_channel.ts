/**
 * Carries this node's facts to every other node of this e2d, and theirs here. Each node sends all it has to say to each
 * peer alone, over gossip's streams: at once when something changes or a peer appears, and again every few seconds, so
 * that a lost note is made good. Go nodes get none.
 */
import { describeError, isE2dError } from "../errors.ts";
import type { Clock, Logger } from "../ports.ts";
import type { PeerFacts } from "../core/view.ts";
import { decodeFactsNote, encodeFactsNote, type FactsNote } from "./facts_note.ts";

export interface FactsChannelOptions {
  readonly name: string;
  /** Random text of this process. */
  readonly life: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Names of living nodes of this e2d, this one not among them. */
  readonly peers: () => readonly string[];
  readonly send: (to: string, note: Uint8Array<ArrayBuffer>) => Promise<void>;
  /** Called when what is known of a peer has changed. */
  readonly onChange: () => void;
}

/** Facts are said again this often: what a lost note costs at most. */
export const repeatMs = 3_000;
/** A life that has been silent for this long gives way to any other of its name, whatever their clocks say. */
const silentMs = 4 * repeatMs;

interface Heard {
  readonly note: FactsNote;
  readonly atMs: number;
}

export class FactsChannel {
  readonly #options: FactsChannelOptions;
  readonly #startedWallMs: number;
  readonly #heard = new Map<string, Heard>();
  #own: PeerFacts | undefined;
  /** Sequence that each peer was last sent, and when. */
  readonly #sent = new Map<string, { sequence: number; atMs: number }>();
  readonly #sending = new Set<string>();

  constructor(options: FactsChannelOptions) {
    this.#options = options;
    this.#startedWallMs = options.clock.wallMs();
  }

  /** What a peer last said of itself; undefined while it has said nothing. */
  factsOf(name: string): PeerFacts | undefined {
    return this.#heard.get(name)?.note.facts;
  }

  publish(facts: PeerFacts): void {
    this.#own = facts;
    this.tell();
  }

  /** A note came in. What makes no sense is told to the log and dropped. */
  receive(bytes: Uint8Array): void {
    const { name, clock, log, onChange } = this.#options;
    let note: FactsNote;
    try {
      note = decodeFactsNote(bytes);
    } catch (error) {
      if (!isE2dError(error)) throw error;
      return log.debug("a peer's facts make no sense", { error: describeError(error) });
    }
    if (note.name === name) return;
    const nowMs = clock.monotonicMs();
    const known = this.#heard.get(note.name);
    if (known !== undefined && !replaces(note, known, nowMs)) return;
    this.#heard.set(note.name, { note, atMs: nowMs });
    const repeated = known?.note.life === note.life && known.note.facts.sequence === note.facts.sequence;
    if (!repeated) onChange();
    // Somebody new wants to know at once who is here.
    if (known?.note.life !== note.life) {
      this.#sent.delete(note.name);
      this.tell();
    }
  }

  /** Sends to whom it is due. Called at each change of the members, too. */
  tell(): void {
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

  /** Says everything again from time to time, until the signal. */
  async run(): Promise<void> {
    const { clock, signal } = this.#options;
    while (!signal.aborted) {
      try {
        await clock.sleep(repeatMs / 3, signal);
      } catch {
        return;
      }
      this.tell();
    }
  }

  async #send(to: string, facts: PeerFacts): Promise<void> {
    const { name, life, clock, log, send } = this.#options;
    this.#sending.add(to);
    this.#sent.set(to, { sequence: facts.sequence, atMs: clock.monotonicMs() });
    try {
      await send(to, encodeFactsNote({ name, life, startedWallMs: this.#startedWallMs, facts }));
    } catch (error) {
      // It is due again after the pause; gossip finds out whether the peer is gone.
      log.debug("cannot tell a peer the own facts", { peer: to, error: describeError(error) });
    } finally {
      this.#sending.delete(to);
    }
    // What changed while this note was on its way.
    if (this.#own !== facts) this.tell();
  }
}

function replaces(note: FactsNote, known: Heard, nowMs: number): boolean {
  if (note.life === known.note.life) return note.facts.sequence >= known.note.facts.sequence;
  return note.startedWallMs >= known.note.startedWallMs || nowMs - known.atMs > silentMs;
}
