/** Seeded random numbers for simulations: the same seed gives the same numbers on every machine. Not for keys. */
import type { Random } from "../../lib/ports.ts";

export class Prng implements Random {
  #state: number;

  constructor(seed: number) {
    // Neighbouring seeds must not give neighbouring streams.
    this.#state = (Math.imul(seed | 0, 0x9e3779b1) ^ 0x5bd1e995) | 0;
    this.float();
  }

  /** Uniform in [0, 1): mulberry32. */
  float(): number {
    let t = this.#state = (this.#state + 0x6d2b79f5) | 0;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length }, () => this.below(256));
  }

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    return Math.floor(this.float() * limit);
  }

  between(min: number, max: number): number {
    return min + this.float() * (max - min);
  }

  chance(probability: number): boolean {
    return this.float() < probability;
  }

  pick<T>(from: readonly T[]): T {
    if (from.length === 0) throw new Error("Cannot pick from nothing");
    return from[this.below(from.length)]!;
  }

  /** A separate generator, so that additional draws here do not change results elsewhere. */
  fork(): Prng {
    return new Prng(this.below(0x7fffffff));
  }
}
