/** Clients that write continuously and record the acknowledged writes. */
import { assertEquals } from "../support/assert.ts";
import { lost as lostMark } from "../support/second_look.ts";
import type { EtcdClient } from "../../lib/etcd/client/client.ts";

export interface Clients {
  node(name: string): { client(): Promise<EtcdClient> };
}

export class Writers {
  readonly #acknowledged = new Map<string, string>();
  readonly #stop = new AbortController();
  readonly #running: Promise<void>[];
  failures = 0;

  /** Each writer tries the next node when a write fails. */
  constructor(cluster: Clients, names: readonly string[], count = 8) {
    this.#running = Array.from({ length: count }, (_, id) => this.#write(cluster, names, id));
  }

  get acknowledged(): number {
    return this.#acknowledged.size;
  }

  /** Stops the writers and asserts that one node reads every acknowledged write. */
  async check(cluster: Clients, through: string): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
    const client = await cluster.node(through).client();
    const { kvs } = await client.range("w/", { end: "w0" });
    const decoder = new TextDecoder();
    const found = new Map(kvs.map(({ key, value }) => [decoder.decode(key), decoder.decode(value)]));
    const lost = [...this.#acknowledged].filter(([key, value]) => found.get(key) !== value);
    assertEquals(lost, [], `${lostMark}${lost.length} acknowledged writes: ${JSON.stringify(lost.slice(0, 10))}`);
  }

  async #write(cluster: Clients, names: readonly string[], id: number): Promise<void> {
    for (let count = 0, at = id; !this.#stop.signal.aborted; count++) {
      const key = `w/${id}/${count}`;
      try {
        const node = cluster.node(names[at % names.length]!);
        await (await node.client()).put(key, `${count}`, { timeoutMs: 2_000 });
        this.#acknowledged.set(key, `${count}`);
      } catch {
        this.failures++;
        at++;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
