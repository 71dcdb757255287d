import { namesThisMachine } from "../../lib/manager/status/handler.ts";
import { assertEquals } from "../support/assert.ts";

Deno.test("namesThisMachine() is true for loopback addresses and localhost on any port, and false for similar names", () => {
  const asked = (host: string) => namesThisMachine(new Request(`http://${host}/status`));
  for (const host of ["127.0.0.1:7981", "127.3.2.1", "localhost:9", "LOCALHOST", "[::1]:7981"]) {
    assertEquals([host, asked(host)], [host, true]);
  }
  for (const host of ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "[::2]"]) {
    assertEquals([host, asked(host)], [host, false]);
  }
});
