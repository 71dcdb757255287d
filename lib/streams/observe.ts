/** Returns the stream unchanged. Calls `onChunk` for each chunk and `onEnd` at the end. */
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
      // An error that it throws becomes the error of the stream.
      flush: onEnd,
    }),
  );
}
