/** The output of a command: results go to `out`, everything else to `err`. */
export interface Terminal {
  /** Throws {@link ReaderGone}. */
  out(text: string): void;
  err(text: string): void;
  /** Columns of the terminal that `err` is connected to; undefined if it is not a terminal. */
  columns: number | undefined;
}

/** The reader of the results closed the pipe, as `head` does: the command ends without an error message. */
export class ReaderGone extends Error {
  override readonly name = "ReaderGone";
}

/** 128 + SIGPIPE: the status that shells report for a process that SIGPIPE ended. */
export const readerGoneStatus = 141;

export const systemTerminal: Terminal = {
  out(text) {
    if (!writeAll(Deno.stdout, text)) throw new ReaderGone();
  },
  // A closed stderr must not end the command.
  err: (text) => void writeAll(Deno.stderr, text),
  get columns() {
    return Deno.stderr.isTerminal() ? Deno.consoleSize().columns : undefined;
  },
};

/** Returns false if the reader closed the pipe. */
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
