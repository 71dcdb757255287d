/**
 * The probe timeout of each etcd member. A probe has up to five sequential round trips, so a fixed timeout of 1 s would
 * hide every member with a round trip of 300 ms, while a dead member must not cost more than 1 s. The own member gets
 * more time before it counts as silent: the watchdog relies on its answers, and a starved machine delays them.
 */
import type { EtcdProbe } from "../../core/facts/cluster.ts";

export const probeTimeoutMinMs = 1_000;
/** Below the age at which the core ignores an answer (lib/core/evidence/quorum.ts). */
export const probeTimeoutMaxMs = 4_000;
/** A probe that took this share of its timeout ran out of time; a faster one was refused. */
const usedUp = 0.7;
const endpointsMax = 64;

export class ProbeDeadlines {
  readonly #timeouts = new Map<string, number>();
  readonly #own: string | undefined;

  constructor(own?: string) {
    this.#own = own;
  }

  timeoutMs(endpoint: string): number {
    return this.#timeouts.get(endpoint) ?? probeTimeoutMinMs;
  }

  /** Records the result of a probe of this endpoint that took `tookMs`. */
  note(endpoint: string, probe: EtcdProbe, tookMs: number): void {
    const timeoutMs = this.timeoutMs(endpoint);
    if (probe.kind === "unreachable") {
      const late = endpoint === this.#own && probe.code === "etcd_timeout";
      return this.#set(endpoint, late ? 2 * timeoutMs : probeTimeoutMinMs);
    }
    if (probe.linearizable) return this.#set(endpoint, 3 * tookMs);
    // The first call was answered and named a leader, but the timeout ended before the remaining calls.
    if (probe.leaderId !== undefined && !probe.isLearner && tookMs >= timeoutMs * usedUp) {
      this.#set(endpoint, 2 * timeoutMs);
    }
  }

  #set(endpoint: string, wantedMs: number): void {
    const timeoutMs = Math.min(Math.max(wantedMs, probeTimeoutMinMs), probeTimeoutMaxMs);
    this.#timeouts.delete(endpoint);
    if (timeoutMs === probeTimeoutMinMs) return;
    this.#timeouts.set(endpoint, timeoutMs);
    if (this.#timeouts.size > endpointsMax) this.#timeouts.delete(this.#timeouts.keys().next().value!);
  }
}
