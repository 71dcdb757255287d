import type { Kv, RangeRequest, TxnRequest } from "../../../lib/e2db/mod.ts";

/** Counts the round trips of whatever runs over it. */
export class CountingKv {
  calls = 0;
  readonly kv: Kv;

  constructor(inner: Kv) {
    this.kv = {
      range: (request: RangeRequest) => {
        this.calls++;
        return inner.range(request);
      },
      txn: (request: TxnRequest) => {
        this.calls++;
        return inner.txn(request);
      },
      watch: (request) => inner.watch(request),
      grantLease: (ttl) => inner.grantLease(ttl),
      keepLease: (id) => inner.keepLease(id),
      revokeLease: (id) => inner.revokeLease(id),
      close: () => inner.close(),
    };
  }

  async during(action: () => Promise<unknown>): Promise<number> {
    const before = this.calls;
    await action();
    return this.calls - before;
  }
}
