/** One gossip node in a separate process, for bench/gossip.ts: reports failed members on stdout, one JSON a line. */
import { startGossip } from "../lib/gossip/gossip.ts";
import type { Logger } from "../lib/ports.ts";
import { systemClock } from "../lib/sys/clock.ts";
import { systemRandom } from "../lib/sys/random.ts";
import { systemConnections } from "../lib/sys/tcp.ts";
import { bindDatagrams } from "../lib/sys/udp.ts";

const [name, host, seed, key] = Deno.args as [string, string, string, string];
const silent: Logger = { debug() {}, info() {}, warn() {}, error() {}, with: () => silent };
const emit = (value: unknown) => console.log(JSON.stringify(value));

const gossip = await startGossip({
  name,
  bind: { host, port: 7980 },
  advertise: { host, port: 7980 },
  meta: new Uint8Array(240),
  keys: [Uint8Array.fromHex(key)],
  seeds: () => [{ host: seed, port: 7980 }],
  bindDatagrams,
  connections: systemConnections,
  clock: systemClock,
  random: systemRandom,
  log: silent,
  onMember(change, member) {
    if (change === "failed") emit({ event: "leave", name: member.name });
    emit({ event: "count", alive: gossip.metrics().members.alive });
  },
});
emit({ event: "ready" });
// Runs until the benchmark ends.
for await (const _ of Deno.stdin.readable);
Deno.exit();
