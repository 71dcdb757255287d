/** The state of the watchdog of the node's own etcd. */

/** The progress of the own etcd since this process started. */
export interface EtcdProgress {
  /** The time of the last progress. */
  readonly atMs: number;
  /** etcd logged the begin of work during which it answers nothing (a defragmentation), and not its end. */
  readonly busy: boolean;
  /** The state is `ready`, and a new process behind it has not answered yet. */
  readonly startsAgain: boolean;
  /** The restarts by this watchdog since etcd last worked, and the time of the last one. */
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
