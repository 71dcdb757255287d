/** Makes the data of a member differ, and raises alarms that etcd would raise itself later. */
import { EtcdChannels } from "../../lib/etcd/client/channel.ts";
import { methods } from "../../lib/etcd/client/messages.ts";
import { systemClock } from "../../lib/sys/clock.ts";

/** Overwrites a value in the database file of a stopped member with another one of the same length. */
export async function alterValue(path: string, from: string, to: string): Promise<void> {
  const file = await Deno.readFile(path);
  const text = new TextDecoder("latin1").decode(file);
  const bytes = new TextEncoder().encode(to);
  let found = 0;
  // Free pages contain former copies.
  for (let at = text.indexOf(from); at >= 0; at = text.indexOf(from, at + 1)) {
    file.set(bytes, at);
    found++;
  }
  if (found === 0 || from.length !== to.length) throw new Error(`no "${from}" to alter in "${path}"`);
  await Deno.writeFile(path, file);
}

/** `memberId` in hexadecimal; "0" is etcd's id for an unknown member. */
export async function raiseAlarm(endpoint: string, alarm: "NOSPACE" | "CORRUPT", memberId: string): Promise<void> {
  const { default: grpc } = await import("@grpc/grpc-js");
  const channels = new EtcdChannels(grpc, { clock: systemClock, callTimeoutMs: 30_000, tls: undefined });
  try {
    const request = { action: 1, memberId, alarm: alarm === "NOSPACE" ? 1 : 2 };
    await channels.unary(endpoint, methods.alarm, request, { action: "raise the alarm" });
  } finally {
    channels.close();
  }
}
