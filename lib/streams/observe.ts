/** A stream as it is, with a look at each chunk on its way and a last word at its end. */
export function observe(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onChunk: (chunk: Uint8Array<ArrayBuffer>) => void,
  onEnd: () => void = () => {},
): ReadableStream<Uint8Array<ArrayBuffer>> {
  return stream.pipeThrough(
    new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(chunk, controller) {
        onChunk(chunk);
        controller.enqueue(chunk);
      },
      // What it throws is the stream's error.
      flush: onEnd,
    }),
  );
}
