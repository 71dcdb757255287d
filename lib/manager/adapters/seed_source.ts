/** The gossip seeds: the bootstrap addresses, with their names resolved periodically, or the result of discovery. */
import { describeError } from "../../errors.ts";
import type { Clock, HostPort, Logger } from "../../ports.ts";
import type { DiscoveryPoll } from "../../discovery/poll.ts";
import { hostText } from "../addresses.ts";

export interface SeedSource {
  /** The present seeds. A name that was never resolved is returned as a name. */
  current(): readonly HostPort[];
  close(): Promise<void>;
}

export interface NamedSeedOptions {
  readonly addresses: readonly HostPort[];
  /** All addresses of a name. Throws when it has none, or when no name server answers. */
  readonly resolve: (host: string, signal: AbortSignal) => Promise<readonly string[]>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onChange: (seeds: readonly HostPort[]) => void;
}

/** A replaced machine keeps its name but not its address. */
const refreshMs = 15_000;
/** Interval while a name cannot be resolved: its machine may be booting. */
const retryMs = 2_000;

const isAddress = (host: string) => /^\d+\.\d+\.\d+\.\d+$/.test(host) || host.includes(":");

/** Resolves every name once before it returns, so that the first contact covers all seeds. */
export async function namedSeeds(options: NamedSeedOptions): Promise<SeedSource> {
  const { addresses, resolve, clock, log, onChange } = options;
  const closing = new AbortController();
  const { signal } = closing;
  const resolved = new Map<string, readonly string[]>();
  const failing = new Set<string>();
  const names = [...new Set(addresses.map(({ host }) => host).filter((host) => !isAddress(host)))];

  async function refresh(host: string): Promise<void> {
    try {
      const found = [...await resolve(host, signal)].sort();
      failing.delete(host);
      if (found.length > 0) resolved.set(host, found);
    } catch (error) {
      if (signal.aborted) return;
      // The last successful answer stays valid.
      if (!failing.has(host)) log.warn("cannot resolve a bootstrap address", { host, error: describeError(error) });
      failing.add(host);
    }
  }
  const current = (): HostPort[] => {
    const all = addresses.flatMap(({ host, port }) => (resolved.get(host) ?? [host]).map((host) => ({ host, port })));
    return [...new Map(all.map((each) => [hostText(each), each])).values()];
  };
  async function run(): Promise<void> {
    while (!signal.aborted && names.length > 0) {
      try {
        await clock.sleep(failing.size > 0 ? retryMs : refreshMs, signal);
      } catch {
        return;
      }
      const before = JSON.stringify(current());
      await Promise.all(names.map(refresh));
      if (JSON.stringify(current()) !== before) onChange(current());
    }
  }

  await Promise.all(names.map(refresh));
  const running = run();
  return {
    current,
    async close() {
      closing.abort();
      await running;
    },
  };
}

/** The result of a discovery method: empty before its first answer. Gossip reads the seeds repeatedly. */
export function discoveredSeeds(
  asking: DiscoveryPoll,
  gossipPort: number,
  onChange: (seeds: readonly HostPort[]) => void,
): SeedSource {
  const current = () => (asking.latest() ?? []).map(({ host, port }) => ({ host, port: port ?? gossipPort }));
  const stop = asking.onChange(() => onChange(current()));
  return {
    current,
    close() {
      stop();
      return Promise.resolve();
    },
  };
}
