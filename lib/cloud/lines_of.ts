import { E2dError } from "../errors.ts";

/**
 * The lines of a body as they arrive, without a last line that has no line feed: it may be truncated. Throws E2dError
 * `cloud_answer` for a line longer than `bytesMax`, and the errors of the body. `what` names the line in the error.
 */
export async function* linesOf(
  body: ReadableStream<Uint8Array<ArrayBuffer>> | null,
  { bytesMax, what }: { bytesMax: number; what: string },
): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let bytes = 0;
  const append = (part: Uint8Array<ArrayBuffer>) => {
    bytes += part.length;
    if (bytes > bytesMax) {
      throw new E2dError("cloud_answer", `Cannot read ${what}: it is longer than ${bytesMax} bytes`);
    }
    parts.push(part);
  };
  for await (const chunk of body ?? []) {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      append(chunk.subarray(from, end));
      from = end + 1;
      const line = parts.map((part) => decoder.decode(part, { stream: true })).join("") + decoder.decode();
      parts.length = 0;
      bytes = 0;
      if (line.trim() !== "") yield line;
    }
    append(chunk.subarray(from));
  }
}
