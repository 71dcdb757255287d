/** grpc-js and a connection that is lost as soon as it is established; the workaround of lib/sys/grpc/disconnect.ts. */
import grpc from "@grpc/grpc-js";
import { Http2SubchannelConnector } from "@grpc/grpc-js/build/src/transport.js";
import { enableGrpcTls } from "../../lib/sys/grpc/tls.ts";
import { assertEquals } from "../support/assert.ts";
import { eventually, freePorts, temporaryDirectory } from "../support/fixtures.ts";
import { etcdDir } from "../support/parts.ts";

interface Transport {
  addDisconnectListener(listener: () => void): void;
  readonly session: { destroy(): void; destroyed: boolean };
  readonly disconnectHandled: boolean;
}

Deno.test(
  "enableGrpcTls() notifies a late listener of a connection that has already ended",
  { sanitizeResources: false, sanitizeOps: false },
  async () => {
    await enableGrpcTls();
    await using directory = await temporaryDirectory();
    const [port, peer] = freePorts(2);
    const etcd = new Deno.Command(`${etcdDir()}/etcd`, {
      args: [
        `--data-dir=${directory.path}/data`,
        `--listen-client-urls=http://127.0.0.1:${port}`,
        `--advertise-client-urls=http://127.0.0.1:${port}`,
        `--listen-peer-urls=http://127.0.0.1:${peer}`,
      ],
      stdout: "null",
      stderr: "null",
    }).spawn();
    try {
      const connect = async () => {
        const connector = new Http2SubchannelConnector({ scheme: "ipv4", path: `127.0.0.1:${port}` });
        const address = { host: "127.0.0.1", port };
        const dialled = connector.connect(address as never, grpc.credentials.createInsecure(), {});
        return await dialled as unknown as Transport;
      };
      const alive = await eventually("a connection", connect, { timeoutMs: 60_000 });
      let told = 0;
      alive.addDisconnectListener(() => told++);
      assertEquals(told, 0);
      alive.session.destroy();
      await eventually("its end", () => alive.disconnectHandled || undefined);
      assertEquals(told, 1);

      const lost = await connect();
      lost.session.destroy();
      await eventually("its end", () => lost.disconnectHandled || undefined);
      lost.addDisconnectListener(() => told++);
      assertEquals(told, 2);
    } finally {
      etcd.kill("SIGKILL");
      await etcd.status;
    }
  },
);
