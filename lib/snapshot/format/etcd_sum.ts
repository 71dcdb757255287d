/** Verifies the SHA-256 that etcd appends to a database. It detects accidental damage and must not count as authentication. */
import { createHash } from "node:crypto";
import { E2dError } from "../../errors.ts";
import { concat } from "../../bytes.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const sumBytes = 32;
/** Database pages are multiples of this, so the size of a file shows whether it has a checksum. */
const pageUnit = 512;

/** `sha256` covers the whole stream including etcd's checksum at its end. */
export type EtcdSum =
  /** The checksum matches. */
  | { readonly kind: "checked"; readonly sum: string; readonly sha256: string }
  /** Snapshots of the Go original have no checksum. */
  | { readonly kind: "none"; readonly sha256: string };

/** Returns the unchanged stream; `done` resolves after its end. Both fail with E2dError `snapshot_corrupt`. */
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
        // The last 32 bytes so far may be the checksum and are held back.
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
          if (total === 0 || total % pageUnit !== 0) {
            throw failed(reject, `${total} bytes are not the size of an etcd database`);
          }
          return resolve({ kind: "none", sha256 });
        }
        const sum = tail.toHex();
        if (hash.digest("hex") !== sum) throw failed(reject, "its checksum of etcd does not match");
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
