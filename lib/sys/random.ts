import type { Random } from "../ports.ts";

/** `bytes` comes from the system's cryptographic generator. */
export const systemRandom: Random = {
  float: () => Math.random(),
  bytes(length) {
    const out = new Uint8Array(length);
    // getRandomValues fills at most 65,536 bytes per call.
    for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(out.subarray(at, at + 65_536));
    return out;
  },
};
