/** A node of e2d in this process, on real sockets, which records its messages and changes. */
import { isE2dError } from "../../lib/errors.ts";
import { type Gossip, type GossipOptions, startGossip } from "../../lib/gossip/gossip.ts";
import type { Member, MemberChange } from "../../lib/gossip/swim/types.ts";
import type { LogFields, Logger } from "../../lib/ports.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { systemRandom } from "../../lib/sys/random.ts";
import { systemConnections } from "../../lib/sys/tcp.ts";
import { bindDatagrams } from "../../lib/sys/udp.ts";

export class MemoryLog implements Logger {
  readonly lines: string[] = [];
  #line(level: string) {
    return (message: string, fields: LogFields = {}) =>
      void this.lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
  }
  debug = this.#line("debug");
  info = this.#line("info");
  warn = this.#line("warn");
  error = this.#line("error");
  with = () => this;
}

export const systemParts = { bindDatagrams, connections: systemConnections, clock: systemClock, random: systemRandom };

export interface OurNode extends AsyncDisposable {
  gossip: Gossip;
  log: MemoryLog;
  changes: { change: MemberChange; member: Member }[];
  messages: string[];
}

export async function ourNode(
  options: Pick<GossipOptions, "name" | "keys" | "label" | "versions" | "compress"> & {
    host: string;
    port?: number;
    meta?: Uint8Array<ArrayBuffer>;
    seeds?: string[];
  },
): Promise<OurNode> {
  const { host, port = 7980, meta = new Uint8Array(0), seeds = [], ...rest } = options;
  const log = new MemoryLog();
  const changes: OurNode["changes"] = [];
  const messages: string[] = [];
  const gossip = await onceFree(() =>
    startGossip({
      ...rest,
      bind: { host, port },
      advertise: { host, port },
      meta,
      seeds: () => seeds.map((seed) => ({ host: seed, port })),
      ...systemParts,
      log,
      onMember: (change, member) => changes.push({ change, member }),
      onMessage: (data) => messages.push(new TextDecoder().decode(data)),
    })
  );
  return { gossip, log, changes, messages, [Symbol.asyncDispose]: () => gossip.close() };
}

/** A port that this process has just closed may stay bound for a moment, until the runtime releases it. */
async function onceFree<T>(start: () => Promise<T>): Promise<T> {
  for (let left = 50;; left--) {
    try {
      return await start();
    } catch (error) {
      if (!isE2dError(error, "address_in_use") || left === 0) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
