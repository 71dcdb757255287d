/**
 * Owns the core's settings of one node: the fixed part from the configuration, and the two parts that change at run time
 * (seeds and hold). Delivers each change to the core as one `settings` event. It exists before the adapters, so that
 * discovery may deliver at any time.
 */
import type { HostPort } from "../../ports.ts";
import type { Event } from "../../core/facts/event.ts";
import type { Hold, Settings } from "../../core/facts/settings.ts";
import { hostText } from "../addresses.ts";
import { withoutUndefined } from "../../without_undefined.ts";
import type { OperatorStops } from "../data_dir/operator_stops.ts";
import type { NodeConfig } from "../node_config.ts";

/** A learner that makes no progress for longer than this is removed, so that another node can join. In milliseconds. */
const learnerStallTimeoutMs = 120_000;

export interface LiveSettingsOptions {
  readonly config: NodeConfig;
  readonly alone: boolean;
  /** Persists the hold. */
  readonly stops: Pick<OperatorStops, "hold" | "setHold">;
  readonly deliver: (event: Extract<Event, { kind: "settings" }>) => void;
}

export class LiveSettings {
  readonly #options: LiveSettingsOptions;
  #seeds: readonly HostPort[] = [];
  #onSeeds: () => void = () => {};

  constructor(options: LiveSettingsOptions) {
    this.#options = options;
  }

  get current(): Settings {
    const { config, alone, stops } = this.#options;
    const { snapshots } = config;
    return {
      requiredSize: config.requiredSize,
      gossip: !alone,
      seeds: this.#seeds.map(hostText),
      healthCheckTimeoutMs: config.healthCheckTimeoutMs,
      quorumLossTimeoutMs: config.quorumLossTimeoutMs,
      learnerStallTimeoutMs,
      restore: snapshots.restore,
      ...withoutUndefined({
        restoreMaxAgeMs: snapshots.restoreMaxAgeMs,
        newCluster: snapshots.newCluster,
        defrag: config.defrag,
        hold: stops.hold,
      }),
      approved: [],
      paused: false,
      snapshots: snapshots.url !== undefined,
      snapshotIntervalMs: snapshots.intervalMs,
    };
  }

  /** The last known gossip addresses of peers. */
  get seeds(): readonly HostPort[] {
    return this.#seeds;
  }

  setSeeds(seeds: readonly HostPort[]): void {
    this.#seeds = seeds;
    this.#onSeeds();
    this.#changed();
  }

  /** Calls `listener` at each change of the seeds, and immediately when they already differ from `before`. */
  watchSeeds(before: readonly HostPort[], listener: () => void): void {
    this.#onSeeds = listener;
    if (this.#seeds !== before) listener();
  }

  /** The hold is on disk and in effect when it resolves. Throws what Files throws; then nothing has changed. */
  async setHold(hold: Hold | undefined): Promise<void> {
    await this.#options.stops.setHold(hold);
    this.#changed();
  }

  #changed(): void {
    this.#options.deliver({ kind: "settings", settings: this.current });
  }
}
