/**
 * Lets grpc-js (1.12) hear of a connection that broke in the moment it was made.
 *
 * The subchannel listens for the end of its connection a few turns after that was made. When the server dies in between,
 * as Deno lets it, nobody tells the subchannel any more: it stays "ready" on a dead connection, and every call on it fails
 * before it begins and is begun again at once, for ever, without a turn for anything else. The process stands still at
 * full load and its memory grows. Found by `deno task torture`: `--only restart-all`.
 */
interface Transport {
  addDisconnectListener(listener: (tooManyPings: boolean) => void): void;
  readonly disconnectHandled?: boolean;
}

interface Connector {
  connect(...args: unknown[]): Promise<Transport>;
}

let mended = false;

/** For the whole process. May be called again. */
export async function mendGrpcDisconnects(): Promise<void> {
  if (mended) return;
  mended = true;
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
