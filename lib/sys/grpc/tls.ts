/** Applies all workarounds that @grpc/grpc-js needs on Deno: connections and TLS (lib/deno_grpc.ts), streams, disconnects. */
import { prepareGrpcOnDeno } from "../../deno_grpc.ts";
import { handleEarlyDisconnects } from "./disconnect.ts";
import { containStreamFailures } from "./streams.ts";

let enabled: Promise<void> | undefined;

/** Affects every channel that is opened later, also by libraries built on grpc-js. Idempotent. */
export function enableGrpcTls(): Promise<void> {
  enabled ??= enable();
  return enabled;
}

async function enable(): Promise<void> {
  await containStreamFailures();
  await handleEarlyDisconnects();
  await prepareGrpcOnDeno();
}
