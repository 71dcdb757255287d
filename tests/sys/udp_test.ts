import { bindDatagrams } from "../../lib/sys/udp.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";

Deno.test("bindDatagrams() transfers packets with their sender between loopback addresses", async () => {
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

Deno.test("bindDatagrams() reports a port that is in use", async () => {
  const first = await bindDatagrams({ host: "127.0.0.41", port: 0 });
  const error = await assertE2dError("address_in_use", () => bindDatagrams(first.local));
  assert(error.message.includes(`127.0.0.41:${first.local.port}`), error.message);
  first.close();
});

Deno.test("Datagrams.send() throws udp_send when the kernel refuses a packet, and after close()", async () => {
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

Deno.test("Datagrams keep packets for a busy reader", async () => {
  const socket = await bindDatagrams({ host: "127.0.0.41", port: 0 });
  const sender = await bindDatagrams({ host: "127.0.0.42", port: 0 });
  // They fit into the smallest buffer of a kernel, and keep their order on loopback.
  const sent = [1, 2, 3, 4];
  for (const number of sent) await sender.send(Uint8Array.of(number), socket.local);
  const received: number[] = [];
  for await (const { data } of socket.receive()) {
    if (received.push(data[0]!) === sent.length) break;
  }
  assertEquals([received, socket.overflowed], [sent, 0]);
  socket.close();
  sender.close();
});
