/** Where peers are looked for: the bootstrap addresses, their names resolved again and again, or what discovery finds. */
import { describeError } from "../errors.ts";
import type { Clock, HostPort, Logger } from "../ports.ts";
import type { Asking } from "../discovery/keep_asking.ts";
import { hostText } from "./addresses.ts";

export interface SeedSource {
  /** What is known now; names that could not be resolved stay as they are. */
  current(): readonly HostPort[];
  close(): Promise<void>;
}

export interface NamedSeedOptions {
  readonly addresses: readonly HostPort[];
  /** All addresses of a name. Throws when it has none, or when nobody answers. */
  readonly resolve: (host: string, signal: AbortSignal) => Promise<readonly string[]>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onChange: () => void;
}

/** A replaced machine keeps its name and not its address. */
const againMs = 15_000;
/** While a name has never been resolved: its machine may be booting. */
const soonMs = 2_000;

const isAddress = (host: string) => /^\d+\.\d+\.\d+\.\d+$/.test(host) || host.includes(":");

/** Resolves once before it returns, so that the first look around is a whole one. */
export async function namedSeeds(options: NamedSeedOptions): Promise<SeedSource> {
  const { addresses, resolve, clock, log, onChange } = options;
  const closing = new AbortController();
  const { signal } = closing;
  const resolved = new Map<string, readonly string[]>();
  const failing = new Set<string>();
  const names = [...new Set(addresses.map(({ host }) => host).filter((host) => !isAddress(host)))];

  async function look(host: string): Promise<void> {
    try {
      const found = [...await resolve(host, signal)].sort();
      failing.delete(host);
      if (found.length > 0) resolved.set(host, found);
    } catch (error) {
      if (signal.aborted) return;
      // The last good answer stands.
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
        await clock.sleep(failing.size > 0 ? soonMs : againMs, signal);
      } catch {
        return;
      }
      const before = JSON.stringify(current());
      await Promise.all(names.map(look));
      if (JSON.stringify(current()) !== before) onChange();
    }
  }

  await Promise.all(names.map(look));
  const running = run();
  return {
    current,
    async close() {
      closing.abort();
      await running;
    },
  };
}

/** What a discovery method finds. An answer that has not come yet is no address; gossip asks again and again. */
export function discoveredSeeds(asking: Asking, gossipPort: number, onChange: () => void): SeedSource {
  const stop = asking.onChange(onChange);
  return {
    current: () => (asking.latest() ?? []).map(({ host, port }) => ({ host, port: port ?? gossipPort })),
    close() {
      stop();
      return Promise.resolve();
    },
  };
}
