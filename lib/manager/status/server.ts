/** Serves the status address, with TLS where it is reachable from other machines and certificates are configured. */
import { describeError } from "../../errors.ts";
import type { HostPort } from "../../ports.ts";
import { isLoopback } from "../addresses.ts";
import { readPair, type Security } from "../security/security.ts";
import { handleLocalStatus, type HandlerSources, handleStatus } from "./handler.ts";
import type { System } from "../system.ts";

export interface StatusServer {
  /** Loads a renewed certificate from disk. Never rejects: on a failure the previous one stays in use. */
  renew(): Promise<void>;
  close(): Promise<void>;
}

/** Undefined when no address is configured, or it cannot be used: the node runs without a status page then. */
export async function serveStatus(
  at: HostPort | undefined,
  { set }: Security,
  { serveHttp, files, log }: Pick<System, "serveHttp" | "files" | "log">,
  sources: HandlerSources,
): Promise<StatusServer | undefined> {
  if (at === undefined) return undefined;
  const handle = isLoopback(at.host) ? handleLocalStatus : handleStatus;
  // Plaintext HTTP only on loopback addresses, or without certificates.
  const pair = set.kind === "mutual" && !isLoopback(at.host) ? set.server : undefined;
  const open = (tls: Awaited<ReturnType<typeof readPair>> | undefined) =>
    serveHttp(at, (request) => handle(request, sources), tls);
  try {
    let served = pair && await readPair(files, pair);
    let server = open(served);
    return {
      async renew() {
        if (pair === undefined) return;
        try {
          const now = await readPair(files, pair);
          if (now.certificate === served?.certificate && now.key === served.key) return;
          served = now;
          await server.close();
          server = open(now);
        } catch (error) {
          log.error("cannot reload the certificate of the status address", { error: describeError(error) });
        }
      },
      close: () => server.close(),
    };
  } catch (error) {
    log.warn("cannot serve the status page: this node has no status address", { error: describeError(error) });
    return undefined;
  }
}
