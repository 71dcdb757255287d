/** What the watchdog of the node's own etcd remembers. */

/** What the own etcd showed of itself since this process started. */
export interface EtcdProgress {
  /** The last progress. */
  readonly atMs: number;
  /** Until it logs the end of it: something during which it answers nothing, such as a defragmentation. */
  readonly busy: boolean;
  /** A new process runs behind the state `ready`, and has not answered yet. */
  readonly startsAgain: boolean;
  /** Restarts by this watchdog since it last worked well, and the time of the last. */
  readonly restarts: number;
  readonly restartedAtMs: number;
}

export const noProgress: EtcdProgress = {
  atMs: -Infinity,
  busy: false,
  startsAgain: false,
  restarts: 0,
  restartedAtMs: -Infinity,
};
