import { bindDatagrams } from "../../lib/sys/udp.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { eventually } from "../support/fixtures.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";

Deno.test("bindDatagrams() carries packets with their sender between loopback addresses", async () => {
  const a = await bindDatagrams({ host: "127.0.0.41", port: 0 });
  const b = await bindDatagrams({ host: "127.0.0.42", port: 0 });
  assertEquals(a.local.host, "127.0.0.41");
  await a.send(Uint8Array.of(1, 2, 3), b.local);
  for await (const { data, from } of b.receive()) {
    assertEquals([...data], [1, 2, 3]);
    assertEquals(from, a.local);
    break;
  }
  a.close();
  b.close();
  b.close();
});

Deno.test("bindDatagrams() names the port that is in use", async () => {
  const first = await bindDatagrams({ host: "127.0.0.41", port: 0 });
  const error = await assertE2dError("address_in_use", () => bindDatagrams(first.local));
  assert(error.message.includes(`127.0.0.41:${first.local.port}`), error.message);
  first.close();
});

Deno.test("Datagrams.send() throws udp_send for what the kernel refuses, and after close()", async () => {
  const socket = await bindDatagrams({ host: "127.0.0.41", port: 0 });
  await assertE2dError("udp_send", () => socket.send(new Uint8Array(70_000), socket.local));
  socket.close();
  await assertE2dError("udp_send", () => socket.send(Uint8Array.of(1), { host: "127.0.0.1", port: 9 }));
});

Deno.test("Datagrams.receive() ends when the socket is closed while it waits", async () => {
  const socket = await bindDatagrams({ host: "127.0.0.41", port: 0 });
  const received = Array.fromAsync(socket.receive());
  socket.close();
  assertEquals(await received, []);
});

Deno.test("Datagrams keep 512 packets for a reader that is busy, the newest, and count what they drop", async () => {
  const socket = await bindDatagrams({ host: "127.0.0.41", port: 0 });
  const sender = await bindDatagrams({ host: "127.0.0.42", port: 0 });
  // Bursts that the kernel's buffer takes whole; then a turn of the event loop moves them into the queue.
  const sent = 1_000;
  for (let number = 0; number < sent; number++) {
    await sender.send(Uint8Array.of(number >> 8, number & 255), socket.local);
    if (number % 50 === 49) await systemClock.sleep(1);
  }
  await eventually("all packets to be read or dropped", () => (socket.overflowed ?? 0) >= sent - 512);
  socket.close();
  const kept = await Array.fromAsync(socket.receive(), ({ data }) => data[0]! << 8 | data[1]!);
  assertEquals(kept.length, 512);
  assertEquals([kept[0], kept.at(-1)], [sent - 512, sent - 1]);
  sender.close();
});
