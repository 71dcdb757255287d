/**
 * Keeps this node's hold (`e2d hold`) and the last known pause of the cluster in `<data-dir>.e2d.stops.json` beside the
 * data-dir. The file is read before the first decision, written atomically, and stays when the data-dir is quarantined.
 * An unreadable file counts as a hold, never as an absent file.
 */
import { describeError, E2dError } from "../../errors.ts";
import type { Clock, Files, Logger } from "../../ports.ts";
import { count, object, optional } from "./json.ts";
import { readHold, readPauseMark } from "./read_facts.ts";
import type { Hold } from "../../core/facts/settings.ts";
import type { PauseMark } from "../../core/facts/node_record.ts";

const formatVersion = 1;
const fileMaxBytes = 65_536;
/** A failed write of the pause may succeed later, for instance when the disk has space again. */
const retryMs = 5_000;

export const stopsPath = (dataDir: string) => `${dataDir}.e2d.stops.json`;

export interface StopsPorts {
  readonly files: Files;
  readonly clock: Clock;
  readonly log: Logger;
  /** Ends the retries of a failed write. */
  readonly signal: AbortSignal;
}

interface Stops {
  readonly hold?: Hold;
  readonly pause?: PauseMark;
}

export class OperatorStops {
  readonly #path: string;
  readonly #ports: StopsPorts;
  #stops: Stops;
  /** Writes are sequential, so that the last one is on disk in the end. */
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string, stops: Stops, ports: StopsPorts) {
    this.#path = path;
    this.#stops = stops;
    this.#ports = ports;
  }

  static async open(dataDir: string, ports: StopsPorts): Promise<OperatorStops> {
    const path = stopsPath(dataDir);
    try {
      const content = await ports.files.readText(path);
      return new OperatorStops(path, content === undefined ? {} : decodeStops(content), ports);
    } catch (error) {
      const why = `"${path}" cannot be read: ${describeError(error)}`;
      ports.log.error("cannot read whether an operator set a hold: this node counts as held", {
        path,
        error: describeError(error),
        hint: "restore the file, or run: e2d hold --release",
      });
      return new OperatorStops(path, { hold: { sinceWallMs: ports.clock.wallMs(), why } }, ports);
    }
  }

  get hold(): Hold | undefined {
    return this.#stops.hold;
  }

  get pause(): PauseMark | undefined {
    return this.#stops.pause;
  }

  /** The hold is on disk and in effect when it resolves. Throws what Files throws; then nothing has changed. */
  async setHold(hold: Hold | undefined): Promise<void> {
    const { hold: _, ...rest } = this.#stops;
    const stops = hold === undefined ? rest : { ...rest, hold };
    await this.#write(stops);
    this.#stops = stops;
  }

  /** Takes effect immediately; retries the write every 5 s until it succeeds. */
  async keepPause(mark: PauseMark): Promise<void> {
    this.#stops = { ...this.#stops, pause: mark };
    const { clock, log, signal } = this.#ports;
    while (!signal.aborted && this.#stops.pause === mark) {
      try {
        return await this.#write(this.#stops);
      } catch (error) {
        log.error("cannot write the pause to disk: this node may not know it after a restart", {
          path: this.#path,
          error: describeError(error),
        });
      }
      await clock.sleep(retryMs, signal).catch(() => {});
    }
  }

  #write(stops: Stops): Promise<void> {
    const content = `${JSON.stringify({ version: formatVersion, ...stops }, null, 2)}\n`;
    const written = this.#writing.then(() => this.#ports.files.writeAtomic(this.#path, content, { mode: 0o600 }));
    this.#writing = written.catch(() => {});
    return written;
  }
}

function decodeStops(content: string): Stops {
  try {
    if (content.length > fileMaxBytes) throw new TypeError("it is too long");
    const value = object(JSON.parse(content));
    if (count(value.version) !== formatVersion) throw new TypeError(`it has version ${value.version}`);
    return {
      ...optional(value, "hold", readHold),
      ...optional(value, "pause", readPauseMark),
    };
  } catch (cause) {
    throw new E2dError("stops_unreadable", cause instanceof TypeError ? cause.message : "it is damaged", { cause });
  }
}
