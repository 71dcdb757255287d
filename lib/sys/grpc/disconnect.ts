/**
 * Makes grpc-js (1.12) notice a connection that is lost right after it was established.
 *
 * The subchannel adds its disconnect listener a few turns of the event loop after the connection is established. When
 * the server dies in between, which can happen on Deno, the listener is never called: the subchannel stays "ready" on a
 * dead connection, and grpc-js fails and restarts every call on it endlessly in one turn. The process blocks at full
 * load and its memory grows. Detected by `deno task torture`: `--only restart-all`.
 */
interface Transport {
  addDisconnectListener(listener: (tooManyPings: boolean) => void): void;
  readonly disconnectHandled?: boolean;
}

interface Connector {
  connect(...args: unknown[]): Promise<Transport>;
}

let applied = false;

/** For the whole process. Idempotent. */
export async function handleEarlyDisconnects(): Promise<void> {
  if (applied) return;
  applied = true;
  const { Http2SubchannelConnector } = await import("@grpc/grpc-js/build/src/transport.js") as unknown as {
    Http2SubchannelConnector: { prototype: Connector };
  };
  const connect = Http2SubchannelConnector.prototype.connect;
  Http2SubchannelConnector.prototype.connect = async function (...args) {
    const transport = await connect.apply(this, args);
    const add = transport.addDisconnectListener;
    transport.addDisconnectListener = function (listener) {
      if (this.disconnectHandled) listener(false);
      else add.call(this, listener);
    };
    return transport;
  };
}
