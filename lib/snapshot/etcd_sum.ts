/** The SHA-256 that etcd appends to a database it hands out: checked on the way, never trusted for more than accident. */
import { createHash } from "node:crypto";
import { E2dError } from "../errors.ts";
import { concat } from "../streams/concat.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const sumBytes = 32;
/** Pages of the database are multiples of this, so a file with a sum is known by its size. */
const pageUnit = 512;

/** `sha256` is of the whole stream, etcd's sum at its end included. */
export type EtcdSum =
  /** It fits. */
  | { readonly kind: "checked"; readonly sum: string; readonly sha256: string }
  /** The Go original's own snapshots have none. */
  | { readonly kind: "none"; readonly sha256: string };

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
        // All but the last bytes of what has come so far: those may be the sum.
        const body = Math.max(0, chunk.length - sumBytes);
        const pending = concat(tail, chunk.subarray(body));
        const keep = Math.min(sumBytes, pending.length);
        if (body > 0) {
          hash.update(tail);
          hash.update(chunk.subarray(0, body));
        } else {
          hash.update(pending.subarray(0, pending.length - keep));
        }
        tail = pending.slice(pending.length - keep);
        controller.enqueue(chunk);
      },
      flush() {
        const whole = hash.copy();
        whole.update(tail);
        const sha256 = whole.digest("hex");
        if (total % pageUnit !== sumBytes) {
          if (total === 0 || total % pageUnit !== 0) throw failed(reject, `${total} bytes are no database of etcd`);
          return resolve({ kind: "none", sha256 });
        }
        const sum = tail.toHex();
        if (hash.digest("hex") !== sum) throw failed(reject, "it does not fit the sum that etcd gave it");
        resolve({ kind: "checked", sum, sha256 });
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
