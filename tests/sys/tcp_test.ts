import { systemConnections } from "../../lib/sys/tcp.ts";
import { assertE2dError, assertEquals } from "../support/assert.ts";

Deno.test("systemConnections: listen, dial, a round trip, and the errors' codes", async () => {
  const listener = await systemConnections.listen({ host: "127.0.0.41", port: 0 });
  await assertE2dError("address_in_use", () => systemConnections.listen(listener.local));
  const served = (async () => {
    for await (const connection of listener.accept()) {
      await connection.readable.pipeTo(connection.writable);
      connection.close();
      connection.close();
    }
  })();
  const connection = await systemConnections.dial(listener.local, AbortSignal.timeout(5000));
  const writer = connection.writable.getWriter();
  await writer.write(Uint8Array.of(7, 8));
  await writer.close();
  assertEquals((await Array.fromAsync(connection.readable)).flatMap((chunk) => [...chunk]), [7, 8]);
  connection.close();
  listener.close();
  await served;
  await assertE2dError("tcp_dial", () => systemConnections.dial(listener.local, AbortSignal.timeout(5000)));
  await assertE2dError("tcp_dial", () => systemConnections.dial(listener.local, AbortSignal.abort()));
});
