/** Clients that read and write registers continuously and record the history. */
import { type EtcdClient, openEtcd } from "../../lib/etcd/client/client.ts";
import { wasNeverSent } from "../../lib/etcd/client/errors.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import type { Prng } from "../sim/prng.ts";
import type { Operation } from "./history.ts";

/** Few, so that clients compete. */
const registers = 5;
const callTimeoutMs = 2_000;
const pauseMs = 25;
/** Pause after a failure: real clients query a dead server less often than a living one. */
const failedPauseMs = 100;
/** Unknown outcomes make the check exponentially slower: a register with so many is not used any more. */
const unknownMax = 4;

export class Clients {
  readonly history: Operation[] = [];
  readonly #stop = new AbortController();
  readonly #sinceMs = performance.now();
  readonly #running: Promise<void>[];
  readonly #unknown = new Map<string, number>();
  #epoch = 0;
  sent = 0;
  failed = 0;

  constructor(urls: readonly string[], { count = 8, random }: { count?: number; random: Prng }) {
    this.#running = Array.from({ length: count }, (_, id) => this.#run(id, urls, random));
  }

  /** Changes to new registers, so that each register has few unknown outcomes. */
  nextEpoch(): void {
    this.#epoch++;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
  }

  /** Stops the clients, reads all registers once more, and adds the reads to the history. */
  async finish(url: string): Promise<Map<string, string>> {
    await this.stop();
    const client = await openEtcd({ endpoints: [url], clock: systemClock });
    try {
      const found = new Map<string, string>();
      const call = this.#now();
      const decoder = new TextDecoder();
      const { kvs } = await client.range("t/", { end: "t0" }, { timeoutMs: 30_000 });
      for (const { key, value } of kvs) found.set(decoder.decode(key), decoder.decode(value));
      for (const key of new Set(this.history.map(({ key }) => key))) {
        const value = found.get(key) ?? "";
        this.history.push({ client: -1, key, kind: "get", value, call, return: this.#now() });
      }
      return found;
    } finally {
      client.close();
    }
  }

  #register(number: number): string {
    for (let turn = 0;; turn++) {
      const key = `t/${this.#epoch}/${number}.${turn}`;
      if ((this.#unknown.get(key) ?? 0) < unknownMax) return key;
    }
  }

  #now(): number {
    return Math.round((performance.now() - this.#sinceMs) * 1_000);
  }

  async #run(id: number, urls: readonly string[], random: Prng): Promise<void> {
    const client = await openEtcd({ endpoints: urls, clock: systemClock });
    /** The last value that this client saw, so that swaps can succeed. */
    const seen = new Map<string, string>();
    let at = id;
    try {
      for (let count = 0; !this.#stop.signal.aborted; count++) {
        const key = this.#register(random.below(registers));
        const dice = random.float();
        const kind = dice < 0.4 ? "get" : dice < 0.75 ? "put" : "swap";
        const value = `${id}.${count}`;
        const expect = seen.get(key) ?? "";
        const call = this.#now();
        this.sent++;
        const told = { client: id, key, kind, ...(kind === "swap" ? { expect } : {}), call } as const;
        try {
          const answer = await this.#ask(client, urls[at % urls.length]!, { kind, key, value, expect });
          this.history.push({ ...told, ...answer, return: this.#now() });
          if (kind !== "swap" || answer.swapped) seen.set(key, answer.value);
          else seen.delete(key);
          await pause(pauseMs);
        } catch (error) {
          this.failed++;
          // A request that was never sent has no unknown outcome, which also checks the error codes of e2d's client.
          if (kind !== "get" && !wasNeverSent(error)) {
            this.#unknown.set(key, (this.#unknown.get(key) ?? 0) + 1);
            this.history.push({ ...told, value, unknown: true, return: this.#now() });
          }
          // The next endpoint may answer.
          at++;
          await pause(failedPauseMs);
        }
      }
    } finally {
      client.close();
    }
  }

  async #ask(
    client: EtcdClient,
    url: string,
    { kind, key, value, expect }: { kind: Operation["kind"]; key: string; value: string; expect: string },
  ): Promise<{ value: string; swapped?: boolean }> {
    const options = { via: [url], timeoutMs: callTimeoutMs };
    switch (kind) {
      case "get": {
        const found = await client.get(key, options);
        return { value: found === undefined ? "" : new TextDecoder().decode(found.value) };
      }
      case "put":
        await client.put(key, value, options);
        return { value };
      case "swap": {
        const compare = expect === ""
          ? [{ key, target: "createRevision", value: 0, result: "=" } as const]
          : [{ key, target: "value", value: expect, result: "=" } as const];
        const { succeeded } = await client.txn({ compare, success: [{ kind: "put", key, value }] }, options);
        return { value, swapped: succeeded };
      }
      default:
        return kind satisfies never;
    }
  }
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
