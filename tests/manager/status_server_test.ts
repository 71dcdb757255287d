import { serveStatus } from "../../lib/manager/status/server.ts";
import type { HandlerSources } from "../../lib/manager/status/handler.ts";
import type { Security } from "../../lib/manager/security/security.ts";
import { assertEquals } from "../support/assert.ts";
import { MemoryFiles } from "../pki/support.ts";
import { TestLog } from "../support/test_log.ts";

const pair = (role: string) => ({ cert: `/p/${role}.crt`, key: `/p/${role}.key` });
const set = {
  kind: "mutual",
  caCert: "/p/ca.crt",
  server: pair("server"),
  peer: pair("peer"),
  client: pair("client"),
} as unknown as Security["set"];

async function served(host: string) {
  const files = new MemoryFiles();
  const write = async (text: string) => {
    await files.writeAtomic("/p/server.crt", `${text}.crt`);
    await files.writeAtomic("/p/server.key", `${text}.key`);
  };
  await write("first");
  const events: string[] = [];
  const log = new TestLog();
  const server = await serveStatus({ host, port: 7981 }, { set, scheme: "https", keys: undefined }, {
    files,
    log,
    serveHttp: (at, _handler, tls) => {
      events.push(`open ${tls?.certificate ?? "plain"}`);
      return {
        local: at,
        close: () => {
          events.push("close");
          return Promise.resolve();
        },
      };
    },
  }, {} as HandlerSources);
  return { files, write, events, log, server: server! };
}

Deno.test("serveStatus() serves a renewed certificate without a restart, and the previous one while it cannot read the new one", async () => {
  const { files, write, events, log, server } = await served("10.0.0.1");
  await server.renew();
  assertEquals(events, ["open first.crt"]);
  await write("second");
  await server.renew();
  assertEquals(events, ["open first.crt", "close", "open second.crt"]);
  await files.remove("/p/server.key");
  await server.renew();
  assertEquals([events.length, log.lines.length], [3, 1]);
});

Deno.test("serveStatus() on a loopback address uses plaintext HTTP and renews nothing", async () => {
  const { write, events, server } = await served("127.0.0.1");
  await write("second");
  await server.renew();
  assertEquals(events, ["open plain"]);
});
