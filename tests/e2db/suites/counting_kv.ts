import type { Kv, RangeRequest, RangeResponse, TxnRequest } from "../../../lib/e2db/mod.ts";

/** Counts the round trips of its users. */
export class CountingKv {
  calls = 0;
  /** The largest number of keys that etcd counted for one range. */
  countedMost = 0;
  readonly kv: Kv;

  constructor(inner: Kv) {
    this.kv = {
      range: async (request: RangeRequest) => {
        this.calls++;
        const response = await inner.range(request);
        this.#note([response]);
        return response;
      },
      txn: async (request: TxnRequest) => {
        this.calls++;
        const response = await inner.txn(request);
        this.#note(response.ranges);
        return response;
      },
      watch: (request) => inner.watch(request),
      grantLease: (ttl) => inner.grantLease(ttl),
      keepLease: (id) => inner.keepLease(id),
      revokeLease: (id) => inner.revokeLease(id),
      close: () => inner.close(),
    };
  }

  #note(ranges: readonly (RangeResponse | undefined)[]): void {
    for (const range of ranges) this.countedMost = Math.max(this.countedMost, range?.count ?? 0);
  }

  async during(action: () => Promise<unknown>): Promise<number> {
    const before = this.calls;
    await action();
    return this.calls - before;
  }
}
