import { E2dError } from "../errors.ts";

/**
 * Lines of a body as they come; a last one without its end is left out, for it may be cut. Throws E2dError `cloud_answer`
 * for one longer than `bytesMax`, and what the body throws.
 */
export async function* linesOf(
  body: ReadableStream<Uint8Array<ArrayBuffer>> | null,
  { bytesMax, what }: { bytesMax: number; what: string },
): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let bytes = 0;
  const keep = (part: Uint8Array<ArrayBuffer>) => {
    bytes += part.length;
    if (bytes > bytesMax) {
      throw new E2dError("cloud_answer", `Cannot read ${what}: it is longer than ${bytesMax} bytes`);
    }
    parts.push(part);
  };
  for await (const chunk of body ?? []) {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      keep(chunk.subarray(from, end));
      from = end + 1;
      const line = parts.map((part) => decoder.decode(part, { stream: true })).join("") + decoder.decode();
      parts.length = 0;
      bytes = 0;
      if (line.trim() !== "") yield line;
    }
    keep(chunk.subarray(from));
  }
}
