/**
 * Owns the list of addresses whose gossip this node cannot read because the keys differ, for reports to an operator. The
 * sender of such traffic is not authenticated, so no decision may depend on this list. It is bounded, and an entry ends
 * when the traffic stops or becomes readable. Pure.
 */
import { withoutUndefined } from "../without_undefined.ts";

export type KeyMismatchKind =
  /** Sealed with a key that this node does not have. */
  | "differs"
  /** Not sealed, and this node has a key. */
  | "peer_has_none"
  /** Sealed, and this node has no key. */
  | "own_missing";

export interface KeyMismatch {
  readonly kind: KeyMismatchKind;
  readonly host: string;
  /** Absent when only incoming streams came from there: the source port of a dialler is arbitrary. */
  readonly port?: number;
  /**
   * `answer`: it answered a stream of this node. `stream`: it dialled this node. `packet`: a UDP packet, whose source
   * address any sender can forge.
   */
  readonly evidence: "answer" | "stream" | "packet";
}

const mismatchesMax = 16;
/** Longer than the longest time between two attempts of a node to reach a seed. */
const retentionMs = 90_000;
const evidenceRank = { packet: 0, stream: 1, answer: 2 } as const;

export class KeyMismatches {
  readonly #known = new Map<string, KeyMismatch & { atMs: number }>();

  /** True when the list has changed. */
  add({ kind, host, port, evidence }: KeyMismatch, nowMs: number): boolean {
    this.#expire(nowMs);
    const key = this.#existingKey(host, port);
    const before = this.#known.get(key);
    if (before === undefined && this.#known.size >= mismatchesMax && !this.#evictWeakest(evidence)) return false;
    const strongest =
      before !== undefined && before.kind === kind && evidenceRank[before.evidence] > evidenceRank[evidence]
        ? before.evidence
        : evidence;
    const at = port ?? before?.port;
    const known = { kind, host, evidence: strongest, ...withoutUndefined({ port: at }), atMs: nowMs };
    this.#known.delete(key);
    this.#known.set(addressKey(host, at), known);
    return before?.kind !== kind || before.evidence !== strongest || before.port !== at;
  }

  /** Removes an address whose gossip is readable. True when the list has changed. */
  remove({ host, port }: { host: string; port?: number }): boolean {
    if (this.#known.size === 0) return false;
    let changed = false;
    for (const [key, known] of this.#known) {
      if (known.host !== host || port !== undefined && known.port !== undefined && known.port !== port) continue;
      this.#known.delete(key);
      changed = true;
    }
    return changed;
  }

  /** Sorted by address. */
  list(nowMs: number): KeyMismatch[] {
    this.#expire(nowMs);
    return [...this.#known].sort(([a], [b]) => a < b ? -1 : 1).map(([, { atMs: _, ...mismatch }]) => mismatch);
  }

  #expire(nowMs: number): void {
    for (const [key, { atMs }] of this.#known) if (nowMs - atMs >= retentionMs) this.#known.delete(key);
  }

  /** An entry without a port and one with a port of the same host are the same node. */
  #existingKey(host: string, port: number | undefined): string {
    const exact = addressKey(host, port);
    if (this.#known.has(exact)) return exact;
    for (const [key, known] of this.#known) {
      if (known.host === host && (port === undefined || known.port === undefined)) return key;
    }
    return exact;
  }

  /** Evidence from a stream replaces an entry that only packets support. */
  #evictWeakest(evidence: KeyMismatch["evidence"]): boolean {
    if (evidence === "packet") return false;
    for (const [key, known] of this.#known) {
      if (known.evidence === "packet") return this.#known.delete(key);
    }
    return false;
  }
}

const addressKey = (host: string, port: number | undefined) => `${host} ${port ?? ""}`;
