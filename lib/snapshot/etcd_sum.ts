/** The SHA-256 that etcd appends to a database it hands out: checked on the way, never trusted for more than accident. */
import { createHash } from "node:crypto";
import { E2dError } from "../errors.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const sumBytes = 32;
/** Pages of the database are multiples of this, so a file with a sum is known by its size. */
const pageUnit = 512;

export type EtcdSum =
  /** It fits. */
  | { readonly kind: "checked"; readonly sum: string }
  /** The Go original's own snapshots have none. */
  | { readonly kind: "none" };

/** The stream as it is; `done` says what was found once it has ended. It errors with E2dError `snapshot_corrupt`. */
export function checkEtcdSum(stream: ReadableStream<Bytes>): { stream: ReadableStream<Bytes>; done: Promise<EtcdSum> } {
  const hash = createHash("sha256");
  let tail: Bytes = new Uint8Array(0);
  let total = 0;
  const { promise, resolve, reject } = Promise.withResolvers<EtcdSum>();
  promise.catch(() => {});
  const checked = stream.pipeThrough(
    new TransformStream<Bytes, Bytes>({
      transform(chunk, controller) {
        total += chunk.length;
        const joined = new Uint8Array(tail.length + chunk.length);
        joined.set(tail);
        joined.set(chunk, tail.length);
        const keep = Math.min(sumBytes, joined.length);
        hash.update(joined.subarray(0, joined.length - keep));
        tail = joined.slice(joined.length - keep);
        controller.enqueue(chunk);
      },
      flush() {
        if (total % pageUnit !== sumBytes) {
          if (total === 0 || total % pageUnit !== 0) throw failed(reject, `${total} bytes are no database of etcd`);
          return resolve({ kind: "none" });
        }
        const sum = tail.toHex();
        if (hash.digest("hex") !== sum) throw failed(reject, "it does not fit the sum that etcd gave it");
        resolve({ kind: "checked", sum });
      },
    }),
  );
  return { stream: checked, done: promise };
}

function failed(reject: (error: E2dError) => void, why: string): E2dError {
  const error = new E2dError("snapshot_corrupt", `Cannot use the snapshot: ${why}`, {
    hint: "take another copy of it, or an older one",
  });
  reject(error);
  return error;
}
