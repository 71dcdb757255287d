/** Draws the progress of a transfer: a bar on a terminal, otherwise one line per tenth. */
import { bytesText } from "../units.ts";

export interface ProgressOutput {
  /** Columns of the terminal; undefined when the output is not one. */
  columns: number | undefined;
  write(text: string): void;
}

export interface Progress {
  receivedBytes: number;
  totalBytes: number | undefined;
}

/** Shortest time between two redraws of the bar. */
const redrawMs = 100;

/** One line of at most `columns`: `etcd 3.6.14 [=====>     ]  45 %  10.3 MiB of 22.9 MiB`. */
export function progressLine(title: string, { receivedBytes, totalBytes }: Progress, columns: number): string {
  if (totalBytes === undefined || totalBytes === 0) return `${title}  ${bytesText(receivedBytes)}`.slice(0, columns);
  const share = Math.min(1, receivedBytes / totalBytes);
  const percent = `${Math.floor(share * 100)}`.padStart(3);
  const tail = `${percent} %  ${bytesText(receivedBytes)} of ${bytesText(totalBytes)}`;
  const width = Math.min(40, columns - title.length - tail.length - 5);
  if (width < 10) return `${title} ${tail}`.slice(0, columns);
  const full = Math.floor(share * width);
  const bar = `${"=".repeat(full)}${full < width ? ">" : ""}`.slice(0, width).padEnd(width);
  return `${title} [${bar}] ${tail}`;
}

/** Call `update` at every step, and `end` before any other output. */
export class ProgressBar {
  readonly #title: string;
  readonly #output: ProgressOutput;
  readonly #nowMs: () => number;
  #drawnMs = -Infinity;
  #drawnTenth = -1;
  #onScreen = false;

  constructor(title: string, output: ProgressOutput, nowMs: () => number) {
    this.#title = title;
    this.#output = output;
    this.#nowMs = nowMs;
  }

  update(progress: Progress): void {
    const { columns } = this.#output;
    const done = progress.receivedBytes === progress.totalBytes;
    if (columns === undefined) {
      const tenth = progress.totalBytes ? Math.floor(progress.receivedBytes * 10 / progress.totalBytes) : 0;
      if (tenth <= this.#drawnTenth) return;
      this.#drawnTenth = tenth;
      this.#output.write(`${progressLine(this.#title, progress, 0x7fff_ffff)}\n`);
      return;
    }
    if (!done && this.#nowMs() - this.#drawnMs < redrawMs) return;
    this.#drawnMs = this.#nowMs();
    this.#onScreen = true;
    this.#output.write(`\r\x1b[K${progressLine(this.#title, progress, columns - 1)}`);
  }

  end(): void {
    if (this.#onScreen) this.#output.write("\n");
    this.#onScreen = false;
  }
}
