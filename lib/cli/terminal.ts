/** Where a command writes: results to `out`, all else to `err`. */
export interface Terminal {
  /** Throws {@link ReaderGone}. */
  out(text: string): void;
  err(text: string): void;
  /** Columns of the terminal behind `err`; undefined when it is none. */
  columns: number | undefined;
}

/** Whoever read the results has closed the pipe, as `head` does: there is nothing left to do, and nothing is wrong. */
export class ReaderGone extends Error {
  override readonly name = "ReaderGone";
}

/** 128 and the number of SIGPIPE, of which other tools end then: it is what shells know. */
export const readerGoneStatus = 141;

export const systemTerminal: Terminal = {
  out(text) {
    if (!writeAll(Deno.stdout, text)) throw new ReaderGone();
  },
  // What is said beside the results is no reason to leave the work.
  err: (text) => void writeAll(Deno.stderr, text),
  get columns() {
    return Deno.stderr.isTerminal() ? Deno.consoleSize().columns : undefined;
  },
};

/** False when nobody reads any more. */
function writeAll(to: { writeSync(data: Uint8Array): number }, text: string): boolean {
  const data = new TextEncoder().encode(text);
  try {
    for (let at = 0; at < data.length;) at += to.writeSync(data.subarray(at));
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) return false;
    throw error;
  }
}
